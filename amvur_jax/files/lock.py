"""A folder for one program at a time."""

import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

from amvur_jax.errors import UserError
from amvur_jax.files.whole import explained


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` during the block; it names host and process, and is removed at the end.

    One that a process of this host left that is no longer there is taken over.

    Raises:
      UserError: another process holds it, or it cannot be written.
    """
    mine = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(8)}"
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _made(path, mine):
            holder = _read(path)
            if _is_gone(holder):
                _remove(path, holder)
            if not (_is_gone(holder) and _made(path, mine)):
                host, process = (*holder.split(), "?", "?")[:2]
                raise UserError(
                    f"{path}: {path.parent} is in use by process {process} on {host}; wait for it, give "
                    "another folder, or delete this file if that process is gone"
                )
    try:
        yield
    finally:
        _remove(path, mine)


def _made(path: Path, content: str) -> bool:
    """Whether the file was not there and is now; no two processes make it."""
    try:
        with open(path, "x") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> str:
    """What the file holds; "" where it has just been removed."""
    try:
        return path.read_bytes()[:1000].decode(errors="replace")
    except FileNotFoundError:
        return ""


def _is_gone(holder: str) -> bool:
    """Whether a lock's content names a process of this host that is no longer there."""
    match holder.split():
        case [host, process, _] if host == socket.gethostname() and process.isdecimal():
            try:
                os.kill(int(process), 0)
            except (ProcessLookupError, OverflowError):
                return True
            except PermissionError:
                return False
    return False


def _remove(path: Path, content: str) -> None:
    """Remove the file where it still holds this: another process may have taken it over meanwhile."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)  # one process alone can
        if _read(aside) == content:
            aside.unlink()
        else:
            os.rename(aside, path)
