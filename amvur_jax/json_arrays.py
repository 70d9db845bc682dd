"""Nested JSON lists of numbers, read a sample at a time: the files reach a gigabyte."""

import io
import json

import numpy as np

from amvur_jax.errors import UserError

_CHUNK = 1 << 20
# A sample of 778 vertices at full precision is 50 kB: far more than this is no sample.
_MAX_PENDING = 16 << 20


class JsonArrays:
    """A reader of nested JSON lists of points, in bounded memory.

    Args:
      file: an open binary file.
      name: what an error calls the file.
    """

    def __init__(self, file, name):
        self._text = io.TextIOWrapper(file, encoding="utf-8")
        self._name = name
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._position = 0

    def expect(self, wanted):
        """Consume one structural character.

        Args:
          wanted: the characters that may come next, e.g. ",]".

        Returns:
          The one that came.

        Raises:
          UserError: something else came.
        """
        self._skip_space()
        found = self._buffer[self._position : self._position + 1]
        if not found or found not in wanted:
            raise self._error(
                f"has {found!r} where one of {wanted!r} belongs" if found else "is cut"
            )
        self._position += 1
        return found

    def end(self):
        """Check that nothing but white space is left.

        Raises:
          UserError: something is left.
        """
        self._skip_space()
        if self._position < len(self._buffer):
            raise self._error("goes on after its last list")

    def samples(self, shape, finite=True):
        """Read a list of samples of one shape.

        Args:
          shape: the shape of one sample, such as (21, 3).
          finite: refuse NaN and infinity; False leaves them for whoever uses the sample.

        Returns:
          (N, *shape) float64.

        Raises:
          UserError: the list is malformed, a sample has another shape or is not as finite as asked.
        """
        rows = []
        self.expect("[")
        self._skip_space()
        if self._buffer[self._position : self._position + 1] == "]":
            self.expect("]")
            return np.zeros((0, *shape))
        while True:
            rows.append(self._sample(shape, len(rows), finite))
            if self.expect(",]") == "]":
                return np.stack(rows)

    def _sample(self, shape, number, finite):
        try:
            sample = np.asarray(self._value(), dtype=np.float64)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._error(f"entry {number} is no {shape} list of numbers") from error
        if sample.shape != shape:
            raise self._error(f"entry {number} has shape {sample.shape}, expected {shape}")
        if finite and not np.isfinite(sample).all():
            raise self._error(f"entry {number} holds NaN or infinity")
        return sample

    def _value(self):
        self._skip_space()
        while True:
            try:
                value, self._position = self._decoder.raw_decode(self._buffer, self._position)
                return value
            except json.JSONDecodeError:
                # Damaged, or only cut by the end of the buffer: the next chunk tells.
                if len(self._buffer) - self._position > _MAX_PENDING or not self._read():
                    raise

    def _read(self):
        try:
            chunk = self._text.read(_CHUNK)
        except UnicodeDecodeError as error:
            raise self._error("is no text file") from error
        self._buffer = self._buffer[self._position :] + chunk
        self._position = 0
        return bool(chunk)

    def _skip_space(self):
        while True:
            rest = self._buffer[self._position : self._position + 64]
            stripped = rest.lstrip(" \t\r\n")
            self._position += len(rest) - len(stripped)
            if stripped or (not rest and not self._read()):
                return

    def _error(self, what):
        return UserError(f"{self._name}: {what}; write or download the file again")
