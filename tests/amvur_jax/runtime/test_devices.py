"""One step on one device and on eight simulated ones; how state and batches are laid out."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from amvur_jax.errors import UserError
from amvur_jax.runtime import devices

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures"


def on_eight_devices():
    environment = os.environ | {"PYTHONPATH": str(FIXTURES)}
    result = subprocess.run(
        [sys.executable, str(FIXTURES / "eight_devices.py")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.slow
def test_eight_devices_train_as_one_does():
    found = on_eight_devices()
    # a step of plain gradient descent in float32: equal to rounding, batch statistics too
    assert found["params"] < 1e-4 * found["moved"]
    assert found["batch_stats"] < 1e-5 * found["stats_moved"]
    # twenty of Adam, the parameters in eight parts: rounding grows, the curves stay together
    np.testing.assert_allclose(found["eight"], found["one"], rtol=5e-3)
    # and they are curves of training: they leave what the first parameters give by far more than that
    assert abs(found["one"][-1] / found["untrained"] - 1) > 0.05
    whole, part = found["kernel"]
    assert np.prod(whole) == 8 * np.prod(part)
    assert (found["restored"], found["restored_devices"]) == (0, 3)


def test_a_batch_that_does_not_divide_is_refused():
    mesh = devices.make_mesh(jax.devices()[:1])
    devices.check_batch(6, 3, mesh)
    with pytest.raises(UserError, match=r"batch_size: 6 does not divide into 4 .*; use 4 or 8"):
        devices.check_batch(6, 4, mesh)
    with pytest.raises(UserError, match="use 8"):
        devices.check_batch(6, 8, mesh)
