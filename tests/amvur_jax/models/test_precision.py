"""Products of geometry are in full float32 on every device; an accelerator's default is TF32.

Seen in what is traced, since a CPU computes in float32 either way.
"""

import jax
import jax.numpy as jnp
import pytest
from tiny import supervised_tiny_config, tiny_config

from amvur_jax import configuration
from amvur_jax.models import cameras
from amvur_jax.models.colors import normalize
from amvur_jax.models.initial import Draws
from amvur_jax.models.keypoints import KeypointHead
from amvur_jax.training.objective import objective

HIGHEST = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)


def products(jaxpr):
    """(shapes of the operands, precision) of every matrix product, also of inner functions."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            shapes = tuple(v.aval.shape for v in equation.invars)
            yield shapes, equation.params["precision"]
        for value in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from products(inner)


@pytest.mark.parametrize("make", [tiny_config, supervised_tiny_config])
def test_products_with_vertices_are_in_full_precision(make):
    config = make("")
    network, loss, hand = (
        part(config) for part in (configuration.network, configuration.loss, configuration.hand)
    )
    labels = {"K": (3, 3), "joints_2d": (21, 2), "joints_cam": (21, 3), "pose": (48,)}
    labels |= {"betas": (10,), "joints_valid": (21,), "has_mesh": (), "has_3d": (), "has_image": ()}
    batch = {name: jnp.ones((2, *shape)) for name, shape in labels.items()}
    image = normalize(jnp.zeros((2, 32, 32, 3), jnp.uint8))
    regressor = hand.joint_regressor_21("ho3d")

    def total(state):
        outputs, _ = network.apply(state, image, hand, train=batch["has_image"], paint=1)
        return objective(outputs, batch, image, regressor, hand, loss, 32)[0]

    state = network.shapes
    found = list(products(jax.make_jaxpr(total)(state).jaxpr))
    # (1, 778, channels) is the texture's, which is no geometry
    of_vertices = [
        (shapes, precision)
        for shapes, precision in found
        if any(778 in shape and shape[:2] != (1, 778) for shape in shapes)
    ]
    assert len(of_vertices) > 8
    assert {shapes for shapes, precision in of_vertices if precision != HIGHEST} == set()
    assert any(precision != HIGHEST for _, precision in found)  # the network's own layers


def test_projections_and_soft_argmax_are_in_full_precision():
    points, K = jnp.ones((2, 21, 3)), jnp.ones((2, 3, 3))
    for function in (
        lambda: cameras.project(points, K),
        lambda: cameras.project_log_var(points, points, K, quirks=True),
        lambda: cameras.regressed_log_var(jnp.ones((21, 5)), jnp.ones((2, 5, 3))),
    ):
        found = [p for _, p in products(jax.make_jaxpr(function)().jaxpr)]
        assert found and all(precision == HIGHEST for precision in found)
    head = KeypointHead(4, 8, rngs=Draws(0))
    found = dict(products(jax.make_jaxpr(head)(jnp.ones((2, 6, 5, 4))).jaxpr))
    assert [p for (a, b), p in found.items() if (30, 2) in (a, b)] == [HIGHEST]
