"""Files are there whole or not at all, and all of the project's go that way."""

import ast
import pathlib
import re
import resource
import signal

import numpy as np
import PIL.Image
import pytest

from amvur_jax.errors import UserError
from amvur_jax.files.whole import append_whole, save_picture, write_json, write_whole, writing

ROOT = pathlib.Path(__file__).parents[3]
PIXELS = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)


def test_a_picture_is_what_another_library_reads(tmp_path):
    path = tmp_path / "new" / "picture.png"
    save_picture(path, PIXELS)
    save_picture(tmp_path / "grey.PNG", PIXELS[..., 0])
    np.testing.assert_array_equal(PIL.Image.open(path), PIXELS)
    np.testing.assert_array_equal(PIL.Image.open(tmp_path / "grey.PNG"), PIXELS[..., 0])


@pytest.mark.parametrize("name", ["picture.docx", "picture", "file/picture.png", "folder.png"])
def test_a_picture_that_cannot_be_written_is_named_and_nothing_is_left_of_it(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError) as error:
        save_picture(tmp_path / name, PIXELS)
    assert str(error.value).startswith(f"{tmp_path / name}: cannot be written (")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_there_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "values.json"
    write_json(path, [1])

    def half():
        with writing(path) as file:
            file.write(b"[2")
            assert path.read_text() == "[\n  1\n]\n"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert [p.name for p in tmp_path.iterdir()] == ["values.json"]
    assert path.read_text() == "[\n  1\n]\n"
    write_whole(path, b"[2]")
    assert path.read_text() == "[2]"


def writes(call):
    """Whether a call opens or writes a file itself; what gets an open one, called `file`, does not."""
    function, arguments = call.func, [*call.args, *(k.value for k in call.keywords)]
    name = getattr(function, "attr", getattr(function, "id", ""))
    if name == "open":
        # open(path, mode), path.open(mode); a member of an open archive is archive.open(member, mode)
        modes = arguments[1:2] if isinstance(function, ast.Name) else arguments[:1]
        return any(re.fullmatch(r"'[wax][bt+]*'", ast.unparse(mode)) for mode in modes)
    if name in ("savez", "savez_compressed", "savefig") or ast.unparse(function) == "np.save":
        return "file" not in map(ast.unparse, arguments)
    return name in ("imwrite", "write_text", "write_bytes", "tofile", "savetxt")


def test_no_other_module_writes_files_itself():
    # the one writer; records that several processes append to for hours; a lock, which must not be replaced;
    # temporary files that OpenCV wants; notes that outlive a worker; inputs that are damaged on purpose;
    # files in memory
    own = {
        "amvur_jax/files/whole.py",
        "amvur_jax/predictions/spool.py",
        "amvur_jax/files/lock.py",
        "amvur_jax/detect/networks.py",
        "amvur_jax/files/video.py",
        "amvur_jax/bulk/notes.py",
        "benchmarks/fuzz.py",
        "benchmarks/soak.py",
        "amvur_jax/data/readers/records.py",
    }
    found, scanned = set(), 0
    for folder in ("amvur_jax", "scripts", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            scanned += 1
            calls = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call))
            if any(map(writes, calls)):
                found.add(path.relative_to(ROOT).as_posix())
    assert scanned > 100
    assert found == own


def test_what_cannot_be_appended_whole_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "lines"
    append_whole(path, b"one\n")
    append_whole(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:  # a disk that is full after 10 bytes
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        with pytest.raises(OSError):
            append_whole(path, b"three\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b"one\ntwo\n"
