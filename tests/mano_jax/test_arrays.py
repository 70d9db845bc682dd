"""Archives of arrays: what is damaged or none is a ValueError, whatever numpy and zipfile make of it."""

import io
import zipfile

import numpy as np
import pytest

from mano_jax.arrays import read_arrays


def packed(content, name="a.npy"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def npy(head="{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", data=bytes(8)):
    """A file of numpy's format 1.0 with this text for its head."""
    text = head.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def locked():
    """An archive that says that it has a password."""
    data = bytearray(packed(npy()))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


def test_the_arrays_come_by_their_names(tmp_path):
    (tmp_path / "a.npz").write_bytes(packed(npy()))
    assert list(read_arrays(tmp_path / "a.npz", 1000)) == ["a"]
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz", 1000)["a"], np.zeros(2))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        packed(npy())[:200],
        locked(),
        packed(b"words", "a.txt"),  # numpy gives the bytes of what is no array
        packed(npy("{'descr': '<f4', ")),
        packed(npy("\0\0")),
        packed(npy("'")),
        packed(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }")),
        packed(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (10**99,), }")),
        packed(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9" + "0" * 13 + ",), }")),
        packed(npy("{'descr': 'O', 'fortran_order': False, 'shape': (1,), }", b"cos\nsystem\n.")),
    ],
)
def test_what_is_no_archive_of_arrays_is_refused(tmp_path, data):
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"\S"):
        read_arrays(tmp_path / "a.npz", 1000)


def test_what_unpacks_to_more_is_refused_before_it_is_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(10**6))
    assert (tmp_path / "a.npz").stat().st_size < 10**5
    with pytest.raises(ValueError, match="more than 100000 bytes"):
        read_arrays(tmp_path / "a.npz", 10**5)


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "a.npz", 1000)
