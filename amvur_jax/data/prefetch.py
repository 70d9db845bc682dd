"""Batches on their way to the device while it still computes on the one before."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import jax

if TYPE_CHECKING:
    import numpy as np

    from amvur_jax.data.batches import TrainBatches


class DevicePrefetch:
    """An iterator of batches on the device, a few ahead of the one that it returns.

    Args:
      batches: an endless iterator of dicts of arrays, a TrainBatches; images stay uint8 until they
        are there (amvur_jax.models.colors.normalize).
      sharding: a jax.sharding.Sharding of each array over its first axis, every process giving its
        share; None = the default device.
      ahead: batches that are on their way; 0 = none.
    """

    def __init__(
        self, batches: TrainBatches, sharding: jax.sharding.Sharding | None = None, ahead: int = 2
    ) -> None:
        self._batches, self._sharding, self._ahead = batches, sharding, ahead
        self._waiting: collections.deque[tuple[dict[str, Any], dict[str, jax.Array]]] = (
            collections.deque()
        )

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, jax.Array]:
        while len(self._waiting) <= self._ahead:
            state = self._batches.get_state()
            self._waiting.append((state, self._put(next(self._batches))))
        return self._waiting.popleft()[1]

    def get_state(self) -> dict[str, Any]:
        """The state of `batches` before the batch that comes next here."""
        return self._waiting[0][0] if self._waiting else self._batches.get_state()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to a state of get_state; what was on its way is dropped."""
        self._waiting.clear()
        self._batches.set_state(state)

    def names(self, batch: Mapping[str, np.ndarray | jax.Array]) -> list[str]:
        """What the frames of a batch are called; see TrainBatches."""
        return self._batches.names(batch)

    def _put(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
        if self._sharding is None:
            return jax.device_put(batch)
        return {
            name: jax.make_array_from_process_local_data(self._sharding, array)
            for name, array in batch.items()
        }
