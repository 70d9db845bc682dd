"""Where files are: on this machine, or behind a URL that fsspec opens, as gs://, s3:// and memory://."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from amvur_jax.errors import UserError

_URL = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def is_url(path: object) -> bool:
    """Whether a path, of any kind, is a URL."""
    return bool(_URL.match(str(path)))


def place(path: str | Path) -> Path:
    """The path, or what has pathlib's methods and reads and writes behind the URL; it is not asked yet.

    Raises:
      UserError: a library that this kind of URL takes is not installed.
    """
    if not is_url(path):
        return Path(path)
    try:
        from upath import UPath

        found = UPath(path)
        _ = found.fs  # imports what the kind of URL takes
    except ImportError as error:
        raise UserError(
            f"{path}: {error.name or error} is not installed, which this kind of URL takes: "
            "pip install 'amvur-jax[remote]'"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: is no URL that fsspec knows ({error})") from None
    return found  # type: ignore[return-value]


@contextlib.contextmanager
def store_errors(path: object) -> Iterator[None]:
    """Let what a store behind a URL raises, each its own, be the OSError that a disk would raise."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if not is_url(path):
            raise
        raise OSError(" ".join(str(error).split())[:200] or type(error).__name__) from error


def reached(path: str | Path) -> Path:
    """`place` of a folder, asked whether it answers where it is behind a URL.

    Raises:
      UserError: it does not, for want of a network, of rights or of the folder's bucket.
    """
    found = place(path)
    if is_url(path):
        try:
            with store_errors(path):
                found.exists()
        except OSError as error:
            raise UserError(
                f"{path}: cannot be reached ({error}); check the name, the network and the credentials"
            ) from error
    return found
