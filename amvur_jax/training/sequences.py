"""What samples of one sequence should agree in: a hand's shape, and for a while the bending of its fingers.

Neither is changed by the turn of the hand or of the crop, so that samples may be augmented each in its own
way. The wrist's rotation is, and is not compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from amvur_jax.models.outputs import Outputs
from amvur_jax.training import losses

SEQUENCE_TERMS = ("same_shape", "smooth_pose")


def sequence_terms(
    outputs: Outputs, batch: Mapping[str, jax.Array], count: jax.Array
) -> dict[str, jax.Array]:
    """The terms of SEQUENCE_TERMS, by name, means over the samples with a hand to learn from.

    Args:
      outputs: of the network.
      batch: of amvur_jax.data.batches, with a Grouping.
      count: of those samples.
    """
    beside = losses.companions(batch["sequence"], batch["has_image"])
    time = batch["time"]
    close = jnp.exp(-jnp.abs(time[:, None] - time))
    return {
        "same_shape": losses.differences(outputs.betas, beside, 1.0, count),
        "smooth_pose": losses.differences(outputs.tsa_poses[:, 1:], beside, close, count),
    }
