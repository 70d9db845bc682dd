"""Nested JSON lists of numbers, read a sample at a time: the files reach a gigabyte."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from amvur_jax.errors import UserError
from mano_jax.errors import MALFORMED

_CHUNK = 1 << 20
# A sample of 778 vertices at full precision is 50 kB: far more than this is no sample.
_MAX_PENDING = 16 << 20
# A sample is a list of points: it ends where two lists end.
_END = re.compile(rb"\][ \t\r\n]*\]")
_SPACE = b" \t\r\n"


class JsonArrays:
    """A reader of nested JSON lists of points, in bounded memory.

    Args:
      file: an open binary file.
      name: what an error calls the file.
    """

    def __init__(self, file: IO[bytes], name: str | Path) -> None:
        self._file = file
        self._name = name
        start = file.read(len(codecs.BOM_UTF8))
        self._buffer = b"" if start == codecs.BOM_UTF8 else start
        self._position = 0

    def expect(self, wanted: str) -> str:
        """Consume one structural character.

        Args:
          wanted: the characters that may come next, e.g. ",]".

        Returns:
          The one that came.

        Raises:
          UserError: something else came.
        """
        found = self._peek()
        if not found:
            raise self._error("is cut")
        if found not in wanted:
            raise self._error(f"has {found!r} where one of {wanted!r} belongs")
        self._position += 1
        return found

    def end(self) -> None:
        """Check that nothing but white space is left.

        Raises:
          UserError: something is left.
        """
        if self._peek():
            raise self._error("goes on after its last list")

    def stream(self, shape: tuple[int, ...], finite: bool = True) -> Iterator[np.ndarray]:
        """Read a list of samples of one shape, one after another.

        Args:
          shape: the shape of one sample, such as (21, 3).
          finite: refuse infinity; False leaves it for whoever uses the sample.

        Yields:
          (*shape) float64.

        Raises:
          UserError: the list is malformed, a sample has another shape or is not as finite as asked.
        """
        self.expect("[")
        if self._peek() == "]":
            self.expect("]")
            return
        number = 0
        while True:
            yield self._sample(shape, number, finite)
            number += 1
            if self.expect(",]") == "]":
                return

    def samples(self, shape: tuple[int, ...], finite: bool = True) -> np.ndarray:
        """Read a whole list of samples: (N, *shape) float64; arguments and errors as `stream`."""
        rows = list(self.stream(shape, finite))
        return np.stack(rows) if rows else np.zeros((0, *shape))

    def _sample(self, shape: tuple[int, ...], number: int, finite: bool) -> np.ndarray:
        self._peek()
        text = self._text_of_sample()
        try:
            sample = np.array(_parse(text), dtype=np.float64)
        except MALFORMED as error:
            raise self._error(f"entry {number} is no {shape} list of numbers") from error
        if sample.shape != shape:
            raise self._error(f"entry {number} has shape {sample.shape}, expected {shape}")
        if finite and not np.isfinite(sample).all():
            raise self._error(f"entry {number} holds NaN or infinity")
        return sample

    def _text_of_sample(self) -> bytes:
        start = self._position
        while not (end := _END.search(self._buffer, start)):
            # From the last "]" on: its partner may stand in the next chunk.
            start = max(self._buffer.rfind(b"]"), self._position) - self._position
            if len(self._buffer) - self._position > _MAX_PENDING or not self._read():
                return self._buffer[self._position :]
        text = self._buffer[self._position : end.end()]
        self._position = end.end()
        return text

    def _read(self) -> bool:
        chunk = self._file.read(_CHUNK)
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        return bool(chunk)

    def _peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            rest = self._buffer[self._position : self._position + 64]
            stripped = rest.lstrip(_SPACE)
            self._position += len(rest) - len(stripped)
            if stripped:
                return chr(stripped[0])
            if not rest and not self._read():
                return ""

    def _error(self, what: str) -> UserError:
        return UserError(f"{self._name}: {what}; write or download the file again")


def _parse(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # slower; it takes the NaN and Infinity that Python writes
