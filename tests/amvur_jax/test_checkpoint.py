"""Which of a checkpoint's parameters inference and other runs take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amvur_jax import checkpoint


@pytest.mark.parametrize("averaged", [True, False])
def test_inference_and_other_runs_take_the_averaged_parameters_where_there_are_some(
    tmp_path, averaged
):
    model = {"params": {"a": {"w": jnp.ones(3)}}, "batch_stats": {"a": {"mean": jnp.ones(2)}}}
    state = {"model": model, "step": jnp.int32(1)}
    if averaged:
        state["average"] = {"a": {"w": jnp.full(3, 5.0)}}
    saver = checkpoint.Saver(checkpoint.manager(tmp_path), {})
    saver.save(1, state, {})
    saver.finish()
    saver.close()
    fresh = {
        "params": {"a": {"w": jnp.zeros(3)}, "head": {"w": jnp.full(2, 7.0)}},
        "batch_stats": {"a": {"mean": jnp.zeros(2)}},
    }
    shapes = jax.tree.map(checkpoint.as_shape, model)
    inferred = checkpoint.restore_model(tmp_path, shapes, averaged=True)
    np.testing.assert_array_equal(inferred["params"]["a"]["w"], 5.0 if averaged else 1.0)
    found = checkpoint.restore_part(tmp_path, fresh)
    np.testing.assert_array_equal(found["params"]["a"]["w"], 5.0 if averaged else 1.0)
    np.testing.assert_array_equal(found["params"]["head"]["w"], 7.0)
    np.testing.assert_array_equal(found["batch_stats"]["a"]["mean"], 1.0)
