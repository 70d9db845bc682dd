"""The restricted pickle reader: reads what the files hold, runs nothing, names the culprit."""

import importlib
import pickle
import tracemalloc
from pathlib import Path

import mano_files
import numpy as np
import pytest
import scipy.sparse

from mano_jax import FileFormatError
from mano_jax.coarse import sparse_to_dense
from mano_jax.pickle_reader import StandIn, read_pickle, read_pickle_bytes

RECORDED = Path(__file__).parents[1] / "recorded" / "pickles"

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
    "turned": np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
    "strided": np.arange(24.0).reshape(4, 6)[:, ::2],
    "flags": np.array([True, False]),
    "number": np.array(2.5),
    "none": np.zeros((0, 3)),
}
PYTHON3_META = META | {
    "name": np.str_("b\xe4r"),
    "empty name": np.str_(""),
    "names": np.array(["a", "b\xe4r"]),
    "read only": np.arange(5.0),
}
PYTHON3_META["read only"].setflags(write=False)


def _assert_is_meta(value, meta=META):
    assert value.keys() == meta.keys()
    for key, expected in meta.items():
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(value[key], expected)
            assert value[key].dtype == expected.dtype.newbyteorder("=")
            assert value[key].shape == expected.shape and value[key].flags.writeable
        else:
            assert value[key] == expected


@pytest.mark.parametrize("dumps", [pickle.dumps, mano_files.numpy1_bytes], ids=["numpy2", "numpy1"])
@pytest.mark.parametrize("protocol", range(6))
def test_meta_of_every_protocol_reads_back(tmp_path, protocol, dumps):
    path = tmp_path / "0000.pkl"
    path.write_bytes(dumps(PYTHON3_META, protocol))
    _assert_is_meta(read_pickle(path, "ho3d_meta"), PYTHON3_META)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_python2_meta_reads_back(protocol):
    data = mano_files.python2_bytes(META, protocol)
    _assert_is_meta(read_pickle_bytes(data, "ho3d_meta", "x"))


@pytest.mark.parametrize("name", ["python2_numpy1.16_protocol0", "python3_numpy1.26_protocol5"])
def test_files_of_older_pythons_and_numpys_read_back(name):
    """Written by those very versions: META, and a matrix as scipy's csc_matrix and csr_matrix."""
    _assert_is_meta(read_pickle(RECORDED / f"meta_{name}.pkl", "ho3d_meta"))
    matrices = read_pickle(RECORDED / f"sparse_{name}.pkl", "mano")
    for kind, value in matrices.items():
        assert value.kind == kind
        expected = [[0, 1, 0, 2], [3, 0, 0, 0], [0, 4, 5, 0]]
        np.testing.assert_array_equal(sparse_to_dense(value, "x", kind), expected)
    assert matrices.keys() == {"csc_matrix", "csr_matrix"}


def test_array_is_writable_and_its_own():
    a = read_pickle_bytes(pickle.dumps(META, 2), "ho3d_meta", "x")["handPose"]
    a += 1
    assert a[0] == 1


def _text(s):
    return b"X" + len(s).to_bytes(4, "little") + s.encode()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR"
DTYPE = b"cnumpy\ndtype\n(U\x02f8I0\nI1\ntR(I3\nU\x01<NNNI-1\nI-1\nI0\ntb"

EIGHT = b"C\x08" + bytes(8)


def _global(module, name):
    return b"\x80\x05" + _text(module) + _text(name) + b"\x93"


FROM_BUFFER = _global("numpy._core.numeric", "_frombuffer")

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
    "READONLY_BUFFER": b"\x80\x05C\x01a\x98.",
    "numpy._core.numeric.fromfile": _global("numpy._core.numeric", "fromfile") + b"(S'%s'\ntR.",
    "_frombuffer.__globals__": (
        _global("numpy._core.numeric", "_frombuffer.__globals__") + b"(S'x'\ntR."
    ),
    "_frombuffer.__class__": _global("numpy.core.numeric", "_frombuffer.__class__") + b"(S'x'\ntR.",
    "malformed array: no bytes": FROM_BUFFER + b"(I1\n" + DTYPE + b"(I1\ntS'C'\ntR.",
    "malformed array: no order": FROM_BUFFER + b"(" + EIGHT + DTYPE + b"(I1\ntS'A'\ntR.",
    "malformed array: too short": FROM_BUFFER + b"(" + EIGHT + DTYPE + b"tR.",
    "malformed array: no axes": FROM_BUFFER + b"(" + EIGHT + DTYPE + b"(I1\ntS'K'\ntR.",
    "malformed array: other axes": (
        FROM_BUFFER + b"(" + EIGHT + DTYPE + b"(I1\nI1\ntS'K'\n(I0\nI0\nttR."
    ),
    "bytes of data: frombuffer": (FROM_BUFFER + b"(" + EIGHT + DTYPE + b"(I99999999\ntS'C'\ntR."),
    "an array without a dtype": FROM_BUFFER + b"(" + EIGHT + b"S'f8'\n(I1\ntS'C'\ntR.",
    "empty items": (
        FROM_BUFFER + b"(C\x00" + DTYPE.replace(b"f8", b"U0") + b"(I99999999999\ntS'C'\ntR."
    ),
    "dtype 'V8': frombuffer": (
        FROM_BUFFER + b"(" + EIGHT + DTYPE.replace(b"f8", b"V8") + b"(I1\ntS'C'\ntR."
    ),
    "makes bytes": b"c__builtin__\nbytes\n(I1000000000\ntR.",
    "builtins.bytearray": b"cbuiltins\nbytearray\n(I1000000000\ntR.",
    "builtins.object": b"cbuiltins\nobject\n)R.",
    "copy_reg.__newobj__": b"ccopy_reg\n__newobj__\n(cnumpy\nndarray\ntR.",
    "_codecs.decode": b"c_codecs\ndecode\n(S'x'\nS'rot_13'\ntR.",
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
    assert reason.partition(": ")[0] in str(caught.value)
    assert not trap.exists()


NUMPY_GLOBALS = {
    *(
        f"numpy.{core}.multiarray.{f}"
        for core in ("core", "_core")
        for f in ("_reconstruct", "scalar")
    ),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *("numpy.ndarray", "numpy.dtype", "_codecs.encode", "__builtin__.bytes"),
}
MANO_GLOBALS = {
    *(f"scipy.sparse.{old}{f}.{f}_matrix" for old in ("", "_") for f in ("csc", "csr")),
    *("chumpy.reordering.Select", "chumpy.ch.Ch", "__builtin__.set", "builtins.set"),
    *("copy_reg._reconstructor", "__builtin__.object"),
}
# Python 3's name of each module whose names are tried, and what old files may call it.
MODULES = {
    "builtins": ("builtins", "__builtin__"),
    "copyreg": ("copyreg", "copy_reg"),
    "_codecs": ("_codecs",),
    "numpy": ("numpy",),
    "numpy._core.multiarray": ("numpy._core.multiarray", "numpy.core.multiarray"),
    "numpy._core.numeric": ("numpy._core.numeric", "numpy.core.numeric"),
    "scipy.sparse._csc": ("scipy.sparse._csc", "scipy.sparse.csc"),
    "scipy.sparse._csr": ("scipy.sparse._csr", "scipy.sparse.csr"),
}


@pytest.mark.parametrize("kind", ["mano", "ho3d_meta"])
def test_of_all_names_of_these_modules_only_the_named_few_are_known(kind):
    known = set()
    for module, spellings in MODULES.items():
        names = {*dir(importlib.import_module(module)), "bytes", "object", "set"}
        for spelling in spellings:
            for name in names:
                try:
                    read_pickle_bytes(_global(spelling, name) + b".", kind, "x")
                except FileFormatError as error:
                    assert f"{spelling}.{name}" in str(error)
                else:
                    known.add(f"{spelling}.{name}")
    chumpy = {name for name in MANO_GLOBALS if name.startswith("chumpy")}
    expected = NUMPY_GLOBALS | (MANO_GLOBALS - chumpy if kind == "mano" else set())
    assert known == expected


def test_text_protocols_make_stand_ins_only():
    start = b"ccopy_reg\n_reconstructor\n("
    good = start + b"cscipy.sparse.csr\ncsr_matrix\nc__builtin__\nobject\nNtR."
    assert read_pickle_bytes(good, "mano", "x").kind == "csr_matrix"
    for change in (
        (b"scipy.sparse.csr\ncsr_matrix", b"numpy\nndarray"),
        (b"scipy.sparse.csr\ncsr_matrix", b"__builtin__\nobject"),
        (b"__builtin__\nobject", b"numpy\nndarray"),
        (b"NtR", b"I7\ntR"),
        (b"NtR", b"tR"),
    ):
        with pytest.raises(FileFormatError, match="it makes an object"):
            read_pickle_bytes(good.replace(*change), "mano", "x")


def _peak(data, kind):
    """Most memory in use while the bytes are refused."""
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError):
            read_pickle_bytes(data, kind, "x")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_stated_length_is_not_believed():
    stated = (1 << 28).to_bytes(8, "little")
    assert _peak(b"\x80\x05\x96" + stated + b"x.", "ho3d_meta") < 1 << 20


# 100 kB, which are named 2000 times.
LARGE = b"B" + (100_000).to_bytes(4, "little") + bytes(100_000) + b"q\x010"
BOMBS = {
    "frombuffer": (
        b"\x80\x05" + LARGE + DTYPE.replace(b"f8", b"u1") + b"q\x020"
        b"]" + FROM_BUFFER[2:] + b"q\x030" + b"h\x03(h\x01h\x02(I100000\ntS'C'\ntRa" * 2000 + b"."
    ),
    "state": (
        LARGE
        + DTYPE.replace(b"f8", b"u1")
        + b"q\x020(I1\n(I100000\nth\x02I00\nh\x01tq\x040]"
        + (RECONSTRUCT + b"h\x04ba") * 2000
        + b"."
    ),
    "scalar": (
        LARGE
        + DTYPE.replace(b"\x02f8", b"\x05S9999")
        + b"q\x020B\x0f\x27\x00\x00"
        + bytes(9999)
        + b"q\x050]"
        + b"cnumpy.core.multiarray\nscalar\n(h\x02h\x05tRa" * 2000
        + b"."
    ),
    "encode": (
        b"X\xa0\x86\x01\x00"
        + b"x" * 100_000
        + b"q\x010]"
        + b"c_codecs\nencode\n(h\x01X\x06\x00\x00\x00latin1tRa" * 2000
        + b"."
    ),
    "set": (b"](" + b"N" * 10_000 + b"eq\x010]" + b"c__builtin__\nset\n(h\x01tRa" * 2000 + b"."),
}


@pytest.mark.parametrize("name", [n for n in BOMBS if n != "set"])
def test_data_named_over_and_over_fills_no_memory(name):
    with pytest.raises(FileFormatError, match="over and over"):
        read_pickle_bytes(BOMBS[name], "mano", "x")
    assert _peak(BOMBS[name], "mano") < 20 * len(BOMBS[name]) < 100_000 * 2000


def test_list_made_a_set_over_and_over_is_one_list():
    value = read_pickle_bytes(BOMBS["set"], "mano", "x")
    assert len(value) == 2000 and all(part is value[0] for part in value)


def test_meta_reader_knows_no_scipy():
    csc = b"cscipy.sparse.csc\ncsc_matrix\n)\x81."
    assert read_pickle_bytes(csc, "mano", "x").kind == "csc_matrix"
    with pytest.raises(FileFormatError, match="csc_matrix"):
        read_pickle_bytes(csc, "ho3d_meta", "x")


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


SPARSE = {kind: getattr(scipy.sparse, f"{kind}_matrix")(np.eye(3)) for kind in ("csc", "csr")}
SOUND = {
    **{f"python 2, {p}": ("ho3d_meta", mano_files.python2_bytes(META, p)) for p in range(3)},
    **{f"numpy 1, {p}": ("ho3d_meta", mano_files.numpy1_bytes(META, p)) for p in range(6)},
    **{f"numpy 2, {p}": ("ho3d_meta", pickle.dumps(PYTHON3_META, p)) for p in range(6)},
    **{f"scipy, {p}": ("mano", pickle.dumps(SPARSE, p)) for p in range(6)},
}


# What the standard library says of a damaged text protocol.
@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@pytest.mark.parametrize("name", SOUND)
def test_every_truncation_and_any_damage_is_one_clear_error(name):
    kind, data = SOUND[name]
    for n in range(0, len(data) - 1, 7):
        with pytest.raises(FileFormatError, match=r"0001\.pkl"):
            read_pickle_bytes(data[:n], kind, "0001.pkl")
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        try:
            read_pickle_bytes(bytes(damaged), kind, "x")
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
