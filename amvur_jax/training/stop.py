"""A run that is asked to end: SIGTERM, as schedulers send it before they take a machine away."""

import signal
import threading
from types import FrameType

import jax
from jax.experimental import multihost_utils


class Stop:
    """Whether SIGTERM has asked for the end; with several processes all learn of it at the same step."""

    def __init__(self) -> None:
        self._asked, self._several = False, jax.process_count() > 1
        # JAX listens itself where there are several processes; only a main thread may.
        listens = not self._several and threading.current_thread() is threading.main_thread()
        self._before = signal.signal(signal.SIGTERM, self._note) if listens else None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def asked(self, step: int) -> bool:
        """Whether to end after this step; every process has to ask."""
        if self._several:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._asked

    def forget(self) -> None:
        """Give the signal back to who had it."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
