"""What a worker has in hand, on disk, so that the next one knows at what the last one died."""

from __future__ import annotations

import collections
import itertools
import os
import socket
from pathlib import Path
from types import TracebackType

TRIES = 2
_TRY, _END = "try", "end"


class Notes:
    """The steps of a piece of work; a step at which TRIES workers have died is not to be begun again.

        with Notes(path) as notes:
            for step in range(3):
                if notes.begin(step):
                    ...  # may kill the process

    Args:
      path: a file of this piece of work alone, where the next worker will see it too.
    """

    def __init__(self, path: Path) -> None:
        earlier = path.read_text().splitlines() if path.exists() else []
        # What stands before the next try, or last, is what a worker died at, or _END.
        ends = [a for a, b in itertools.pairwise([*earlier, _TRY]) if b.startswith(_TRY)]
        self._died = collections.Counter(ends)
        self._file = open(path, "a", buffering=1)  # noqa: SIM115
        self._file.write(f"{_TRY} {socket.gethostname()} {os.getpid()}\n")

    def begin(self, step: int) -> bool:
        """Whether a step may be begun; it is noted."""
        if self._died[str(step)] >= TRIES:
            return False
        self._file.write(f"{step}\n")
        return True

    def __enter__(self) -> Notes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.write(f"{_END}\n")
        self._file.close()
