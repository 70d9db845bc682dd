"""Locks: one holder at a time, none left behind, a dead one's taken over."""

import os
import socket
import subprocess
import sys

import pytest

from amvur_jax.errors import UserError
from amvur_jax.evaluate import alone_in
from amvur_jax.files.lock import locked


def test_a_second_holder_is_refused_until_the_first_is_done(tmp_path):
    path = tmp_path / "new" / "a.lock"
    with locked(path):
        says = rf"a.lock: .* process {os.getpid()} on .* delete"
        with pytest.raises(UserError, match=says), locked(path):
            pass
        assert path.exists()
    assert not path.exists()
    with pytest.raises(KeyError), locked(path):
        raise KeyError
    assert [*path.parent.iterdir()] == []


@pytest.mark.parametrize("host, taken", [(socket.gethostname(), True), ("elsewhere", False)])
def test_the_lock_of_a_process_that_died_here_is_taken_over(tmp_path, host, taken):
    path = tmp_path / "a.lock"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path.write_text(f"{host} {dead.pid} 0")
    if taken:
        with locked(path):
            assert path.read_text().split()[1] == str(os.getpid())
        assert not path.exists()
    else:
        with pytest.raises(UserError, match=rf"process {dead.pid} on elsewhere"), locked(path):
            pass
        assert path.read_text() == f"elsewhere {dead.pid} 0"


@pytest.mark.parametrize("content", ["", "half", f"{socket.gethostname()} x 0", "\0\udcff" * 9])
def test_a_lock_that_says_nothing_is_somebodys(tmp_path, content):
    path = tmp_path / "a.lock"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"a.lock: .* in use"), locked(path):
        pass


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path / "file" / "a.lock"):
        pass


def test_two_evaluations_do_not_write_into_one_folder(tmp_path):
    with alone_in(tmp_path), pytest.raises(UserError, match="in use"), alone_in(tmp_path):
        pass
    assert not [*tmp_path.iterdir()]
