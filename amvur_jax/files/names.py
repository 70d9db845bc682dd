"""Names of files as text."""

from pathlib import Path


def text_of(path: str | Path) -> str:
    r"""A path as UTF-8 can have it, and so JSON: a byte of it that is no UTF-8 becomes \xHH."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
