"""The restricted pickle reader: reads what the files hold, runs nothing, names the culprit."""

import pickle

import mano_files
import numpy as np
import pytest

from mano_jax import FileFormatError
from mano_jax.pickle_reader import StandIn, read_pickle, read_pickle_bytes

META = {
    "camMat": np.array([[614.6, 0, 320.0], [0, 614.0, 240.0], [0, 0, 1]]),
    "handPose": np.arange(48, dtype=np.float32),
    "handJoints3D": np.asfortranarray(np.arange(63.0).reshape(21, 3)),
    "objName": "003_cracker_box",
    "objLabel": np.int64(2),
    "scale": np.float32(0.5),
    "camIDList": ["0", "1"],
    "nothing": None,
    "big": np.arange(3, dtype=">i4"),
}


def _assert_is_meta(value):
    assert value.keys() == META.keys()
    for key, expected in META.items():
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(value[key], expected)
            assert value[key].dtype == expected.dtype.newbyteorder("=")
        else:
            assert value[key] == expected


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_meta_of_every_protocol_reads_back(tmp_path, protocol):
    if protocol < 2:
        # Text protocols rebuild objects through other globals: only plain values there.
        plain = {k: v for k, v in META.items() if not isinstance(v, (np.ndarray, np.generic))}
        assert read_pickle_bytes(pickle.dumps(plain, protocol), "ho3d_meta", "x") == plain
        return
    path = tmp_path / "0000.pkl"
    path.write_bytes(pickle.dumps(META, protocol))
    _assert_is_meta(read_pickle(path, "ho3d_meta"))


def test_python2_meta_reads_back():
    _assert_is_meta(read_pickle_bytes(mano_files.python2_bytes(META), "ho3d_meta", "x"))


def test_array_is_writable_and_its_own():
    a = read_pickle_bytes(pickle.dumps(META, 2), "ho3d_meta", "x")["handPose"]
    a += 1
    assert a[0] == 1


def _text(s):
    return b"X" + len(s).to_bytes(4, "little") + s.encode()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
DTYPE = b"cnumpy\ndtype\n(U\x02f8I0\nI1\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntb"

ATTACKS = {
    "os.system": b"cos\nsystem\n(S'touch %s'\ntR.",
    "posix.system": b"cposix\nsystem\n(S'touch %s'\ntR.",
    "builtins.eval": b'cbuiltins\neval\n(S\'open("%s","w")\'\ntR.',
    "__builtin__.getattr": b"c__builtin__\ngetattr\n(cnumpy\ndtype\nS'x'\ntR.",
    "builtins.getattr": b"\x80\x04" + _text("builtins") + _text("getattr") + b"\x93)R.",
    "numpy.core.multiarray.os.system": (
        b"\x80\x04" + _text("numpy.core.multiarray") + _text("os.system") + b"\x93)R."
    ),
    "numpy.core.multiarray.os": b"cnumpy.core.multiarray.os\nsystem\n.",
    "numpy.load": b"cnumpy\nload\n(S'%s'\ntR.",
    "numpy.ndarray.tofile": b"\x80\x04" + _text("numpy") + _text("ndarray.tofile") + b"\x93.",
    "INST": b"(S'touch %s'\nios\nsystem\n.",
    "OBJ": b"(cnumpy\ndtype\nS'f8'\no.",
    "EXT1": b"\x80\x02\x82\x01.",
    "PERSID": b"Psomewhere\n.",
    "BINPERSID": b"N\x51.",
    "NEWOBJ_EX": b"\x80\x04cnumpy\nndarray\n)}\x92.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "calls ndarray": b"cnumpy\nndarray\n(I1000000000\ntR.",
    "no such file holds": b"\x80\x02cnumpy\nndarray\n(I1000000000\nt\x81.",
    "sets the state": b"cnumpy\ndtype\n}S'x'\nI1\nsb.",
    "is no function": b"S'text'\n(tR.",
    "structured": (
        RECONSTRUCT
        + b"(I1\n(I1\nt"
        + DTYPE.replace(b"NNNI", b"N(S'a'\nt}I")
        + b"I00\nU\x08\x00\x00\x00\x00\x00\x00\x00\x00tb."
    ),
    "bytes of data": RECONSTRUCT + b"(I1\n(I99999999\nt" + DTYPE + b"I00\nU\x00tb.",
    "malformed array": RECONSTRUCT + b"(I1\n(I-1\nt" + DTYPE + b"I00\nU\x00tb.",
    "dtype 'V8'": RECONSTRUCT + b"(I1\n(I1\nt" + DTYPE.replace(b"f8", b"V8") + b"I00\nU\x00tb.",
    "nested": b"]" * 2000 + b"a" * 1999 + b".",
}


@pytest.mark.parametrize("kind", ["mano", "ho3d_meta"])
@pytest.mark.parametrize("reason", ATTACKS)
def test_attack_is_refused_by_name(tmp_path, reason, kind):
    trap, path = tmp_path / "trap", tmp_path / "evil.pkl"
    path.write_bytes(ATTACKS[reason].replace(b"%s", str(trap).encode()))
    with pytest.raises(FileFormatError) as caught:
        read_pickle(path, kind)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert not trap.exists()


def test_meta_reader_knows_no_scipy_and_mano_reader_no_codecs():
    csc = b"cscipy.sparse.csc\ncsc_matrix\n)\x81."
    assert read_pickle_bytes(csc, "mano", "x").kind == "csc_matrix"
    with pytest.raises(FileFormatError, match="csc_matrix"):
        read_pickle_bytes(csc, "ho3d_meta", "x")
    encode = b"c_codecs\nencode\n(X\x01\x00\x00\x00\xc3\xbfX\x06\x00\x00\x00latin1tR."
    with pytest.raises(FileFormatError, match=r"_codecs\.encode"):
        read_pickle_bytes(encode, "mano", "x")


def test_codecs_encode_takes_latin1_only():
    good = b"c_codecs\nencode\n(X\x02\x00\x00\x00\xc3\xbfX\x06\x00\x00\x00latin1tR."
    assert read_pickle_bytes(good, "ho3d_meta", "x") == b"\xff"
    with pytest.raises(FileFormatError, match="latin1"):
        read_pickle_bytes(good.replace(b"latin1", b"rot_13"), "ho3d_meta", "x")


def test_self_reference_and_shared_doubling_end():
    loop = []
    loop.append(loop)
    read_pickle_bytes(pickle.dumps({"a": loop}, 2), "mano", "x")
    shared = []
    for _ in range(25):
        shared = [shared, shared]
    assert len(read_pickle_bytes(pickle.dumps(shared, 2), "mano", "x")) == 2


def test_every_truncation_and_any_damage_is_one_clear_error():
    data = pickle.dumps(META, 2)
    for n in range(0, len(data) - 1, 7):
        with pytest.raises(FileFormatError, match=r"0001\.pkl"):
            read_pickle_bytes(data[:n], "ho3d_meta", "0001.pkl")
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        try:
            read_pickle_bytes(bytes(damaged), "ho3d_meta", "x")
        except FileFormatError:
            refused += 1
    assert 0 < refused < 300


def test_oversized_and_absent_files(tmp_path):
    path = tmp_path / "big.pkl"
    with path.open("wb") as stream:
        stream.truncate((16 << 20) + 1)
    with pytest.raises(FileFormatError, match=r"big\.pkl.*16777217 bytes"):
        read_pickle(path, "ho3d_meta")
    with pytest.raises(FileFormatError, match=r"absent\.pkl.*No such file"):
        read_pickle(tmp_path / "absent.pkl", "ho3d_meta")


def test_object_arrays_become_lists_of_inert_things():
    holder = np.empty(2, object)
    holder[:] = [{"a": np.ones(2)}, "text"]
    value = read_pickle_bytes(pickle.dumps(holder, 4), "mano", "x")
    assert isinstance(value, list) and value[1] == "text"
    np.testing.assert_array_equal(value[0]["a"], np.ones(2))


def test_chumpy_objects_stay_stand_ins():
    ch = b"\x80\x02cchumpy.ch\nCh\n)\x81}U\x01xI5\nsb."
    value = read_pickle_bytes(ch, "mano", "x")
    assert isinstance(value, StandIn) and value.kind == "Ch" and value.state == {"x": 5}
