"""A reader of the two kinds of pickle that this project meets, which can run no code.

A pickle is a program. Here its allow-listed globals become inert markers, every REDUCE,
NEWOBJ and BUILD is interpreted by this file alone, and nothing is imported or called by
name: arrays are rebuilt from their dtype, shape and bytes, scipy's and chumpy's objects
stay inert stand-ins that only hold their state. All of a file's arrays together take no more
memory than a small multiple of the file.

Files written by Python 2 (protocols 0 to 2) and 3 (0 to 5), with numpy 1 and 2, are read.
"""

import io
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from mano_jax.errors import FileFormatError

_NUMPY = {
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy.core.multiarray", "scalar"): "scalar",
    ("numpy._core.multiarray", "scalar"): "scalar",
    # Arrays of protocol 5, their bytes in a BYTEARRAY8, or in a BINBYTES where they are read-only.
    ("numpy.core.numeric", "_frombuffer"): "frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "frombuffer",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    # How Python 3 writes bytes at protocols 0 to 2, and those of an array without items.
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
}
ALLOWED = {
    "mano": _NUMPY
    | {
        ("scipy.sparse.csc", "csc_matrix"): "csc_matrix",
        ("scipy.sparse._csc", "csc_matrix"): "csc_matrix",
        ("scipy.sparse.csr", "csr_matrix"): "csr_matrix",
        ("scipy.sparse._csr", "csr_matrix"): "csr_matrix",
        ("chumpy.reordering", "Select"): "Select",
        ("chumpy.ch", "Ch"): "Ch",
        ("__builtin__", "set"): "set",
        ("builtins", "set"): "set",
        # What NEWOBJ is from protocol 2 on.
        ("copy_reg", "_reconstructor"): "reconstructor",
        ("__builtin__", "object"): "object",
    },
    "ho3d_meta": _NUMPY,
}
_OBJECTS = ("csc_matrix", "csr_matrix", "Select", "Ch")
_WHAT = {"mano": "MANO file", "ho3d_meta": "HO-3D meta file"}
# Far above any real file (4 MB and 0.2 MB), far below what would hurt.
_MAX_BYTES = {"mano": 64 << 20, "ho3d_meta": 16 << 20}
_MAX_DEPTH = 32
_DTYPES = re.compile(r"b1|[iu][1248]|f[248]|[SU][0-9]{1,4}")
_FORBIDDEN_OPCODES = (
    "INST",
    "OBJ",
    "NEWOBJ_EX",
    "EXT1",
    "EXT2",
    "EXT4",
    "PERSID",
    "BINPERSID",
    "NEXT_BUFFER",
    "READONLY_BUFFER",
)


class StandIn:
    """What is left of an object of a library that is not imported: its class name and state."""

    __slots__ = ("kind", "state")

    def __init__(self, kind: str, state: Any = None) -> None:
        self.kind = kind
        self.state = state


class _Global(StandIn):
    """A marker for an allow-listed global; it can be neither called nor built."""

    __slots__ = ()


class _Refused(Exception):
    pass


def _require(condition: object, message: str) -> None:
    if not condition:
        raise _Refused(message)


def _refuse_opcode(name: str) -> Callable[[pickle._Unpickler], NoReturn]:
    def load(unpickler: pickle._Unpickler) -> NoReturn:
        raise _Refused(f"it uses the pickle opcode {name}, which no such file needs")

    return load


class _Allowance:
    """The bytes that arrays may still take: a short file may name the same data many times."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, count: int) -> None:
        self._left -= count
        _require(self._left >= 0, "it uses the same data over and over")


class _Unpickler(pickle._Unpickler):
    # The Python implementation, whose opcodes can be replaced one by one and whose memo is a
    # dict: the C one allocates whatever memo index the file asks for.

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    read: Callable[[int], bytes]

    def __init__(self, data: bytes, kind: str, allowance: _Allowance) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._kind = kind
        self._allowance = allowance

    def find_class(self, module: str, name: str) -> _Global:
        marker = ALLOWED[self._kind].get((module, name))
        if marker is None:
            raise _Refused(f"it asks for {f'{module}.{name}'[:200]!r}, which no such file needs")
        return _Global(marker)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        function = self.stack.pop()
        _require(type(function) is _Global and type(args) is tuple, "it calls what is no function")
        self.stack.append(_reduce(function.kind, args, self._allowance))

    def load_newobj(self) -> None:
        args = self.stack.pop()
        cls = self.stack.pop()
        self.stack.append(_object(cls))
        _require(args == (), "it makes an object of arguments")

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        _require(
            type(target) is StandIn and (target.state is None or target.kind == "dtype"),
            "it sets the state of what has none",
        )
        target.state = (target.state, state) if target.kind == "dtype" else state

    def load_bytearray8(self) -> None:
        # The standard one allocates whatever length the file states before it reads.
        (length,) = struct.unpack("<Q", self.read(8))
        self.stack.append(self.read(length))

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
    for _name in _FORBIDDEN_OPCODES:
        dispatch[getattr(pickle, _name)[0]] = _refuse_opcode(_name)


def _object(cls: Any) -> StandIn:
    """A new stand-in for an object of a library."""
    ok = type(cls) is _Global and cls.kind in _OBJECTS
    _require(ok, "it makes an object of a class that no such file holds")
    return StandIn(cls.kind)


def _reduce(kind: str, args: tuple[Any, ...], allowance: _Allowance) -> Any:
    if kind == "array":
        return StandIn("array")
    if kind == "frombuffer":
        return _from_buffer(args, allowance)
    if kind == "dtype":
        _require(args and isinstance(args[0], str), "a dtype without a name")
        return StandIn("dtype", args[0])
    if kind == "scalar":
        _require(len(args) == 2, "a malformed number")
        return _array((), _dtype(args[0]), "C", args[1], allowance)[()]
    if kind == "encode":
        return _encode(args, allowance)
    if kind == "bytes":
        _require(args == (), "it makes bytes of something")
        return b""
    if kind == "reconstructor":
        plain = len(args) == 3 and type(args[1]) is _Global and args[1].kind == "object"
        _require(plain and args[2] is None, "it makes an object of arguments")
        return _object(args[0])
    if kind == "set":
        # A list holds what a set of inert stand-ins cannot (chumpy's sets are never used).
        return args[0] if args and isinstance(args[0], (list, tuple)) else []
    raise _Refused(f"it calls {kind}, which no such file does")


def _encode(args: tuple[Any, ...], allowance: _Allowance) -> bytes:
    """Bytes as Python 3 writes them at protocols 0 to 2."""
    if not (len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1")):
        raise _Refused("_codecs.encode of something else than latin1 text")
    allowance.take(len(args[0]))
    return args[0].encode("latin1")


def _from_buffer(args: tuple[Any, ...], allowance: _Allowance) -> np.ndarray:
    """An array of protocol 5: bytes, dtype, shape, order and, for order K, the axes' order."""
    _require(len(args) in (4, 5), "a malformed array")
    raw, dtype, shape, order, *axes = args
    if order == "K":
        array = _array(shape, _dtype(dtype), "C", raw, allowance)
        turned: Any = axes[0] if axes else None
        ok = isinstance(turned, tuple) and all(type(n) is int for n in turned)
        _require(ok and sorted(turned) == list(range(array.ndim)), "a malformed array")
        return array.transpose(turned)
    _require(order in ("C", "F"), "a malformed array")
    return _array(shape, _dtype(dtype), order, raw, allowance)


def _dtype(stand_in: Any) -> np.dtype | None:
    _require(isinstance(stand_in, StandIn) and stand_in.kind == "dtype", "an array without a dtype")
    name, order = stand_in.state, "="
    if isinstance(name, tuple):
        name, state = name
        _require(isinstance(state, tuple) and len(state) >= 5, "a malformed dtype")
        order = state[1]
        _require(state[2:5] == (None, None, None), "a structured array")
    if isinstance(name, str) and name.startswith("O"):
        return None
    _require(
        isinstance(name, str) and _DTYPES.fullmatch(name) and order in ("<", ">", "|", "="),
        f"an array of dtype {str(name)[:40]!r}",
    )
    return np.dtype(name).newbyteorder(order)


def _array(
    shape: Any, dtype: np.dtype | None, order: Literal["C", "F"], raw: Any, allowance: _Allowance
) -> np.ndarray:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    ok = isinstance(raw, bytes) and isinstance(shape, tuple) and len(shape) <= 8
    ok = ok and all(type(n) is int and 0 <= n < 1 << 40 for n in shape)
    if not ok or dtype is None:
        raise _Refused("a malformed array")
    count = 1
    for n in shape:
        count *= n
    _require(count * dtype.itemsize == len(raw), f"an array {shape} with {len(raw)} bytes of data")
    if dtype.itemsize == 0:
        # The empty text, np.str_("").
        _require(shape == (), "an array of empty items")
        return np.zeros((), dtype)
    allowance.take(len(raw))
    array = np.frombuffer(raw, dtype).reshape(shape, order=order)
    return array.astype(dtype.newbyteorder("="))


def _finish_array(state: Any, allowance: _Allowance) -> np.ndarray | list[Any]:
    _require(isinstance(state, tuple) and len(state) == 5, "a malformed array")
    _, shape, dtype_stand_in, fortran, raw = state
    dtype = _dtype(dtype_stand_in)
    if dtype is None:
        _require(isinstance(raw, list), "a malformed array of objects")
        return raw
    return _array(shape, dtype, "F" if fortran else "C", raw, allowance)


def _finish(
    value: Any, allowance: _Allowance, done: dict[int, tuple[Any, Any]], depth: int = 0
) -> Any:
    """Replace the array stand-ins inside `value` by arrays; shared parts are visited once."""
    _require(depth < _MAX_DEPTH, "it is nested too deeply")
    if not isinstance(value, (dict, list, tuple, set, frozenset, StandIn)):
        return value
    if id(value) in done:
        return done[id(value)][0]
    # The value is kept beside its result, so that its id stays taken.
    done[id(value)] = (None, value)

    def finish(part: Any) -> Any:
        return _finish(part, allowance, done, depth + 1)

    result: Any
    if isinstance(value, dict):
        result = {k: finish(v) for k, v in value.items() if isinstance(k, str)}
    elif isinstance(value, tuple):
        result = tuple(finish(v) for v in value)
    elif not isinstance(value, StandIn):
        result = [finish(v) for v in value]
    elif isinstance(value, _Global) or value.kind == "dtype":
        result = None
    elif value.kind == "array":
        result = _finish_array(value.state, allowance)
        result = result if isinstance(result, np.ndarray) else finish(result)
    else:
        result = StandIn(value.kind, finish(value.state))
    done[id(value)] = (result, value)
    return result


def read_pickle_bytes(data: bytes, kind: str, name: str | Path) -> Any:
    """Read one pickle from memory; see read_pickle.

    Args:
      data: the bytes of the pickle.
      kind: "mano" or "ho3d_meta".
      name: what an error calls the file.

    Returns:
      The value, made of dicts with text keys, lists, tuples, numbers, text, arrays and StandIn.

    Raises:
      FileFormatError: the bytes are no pickle of that kind.
    """
    try:
        # A byte of the file is one of a text that is encoded, then one of an array.
        allowance = _Allowance(2 * len(data))
        return _finish(_Unpickler(data, kind, allowance).load(), allowance, {})
    except _Refused as error:
        reason = str(error)
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception:
        # Whatever a damaged pickle makes the standard library raise, it is the file's fault.
        reason = "it is no pickle, or a truncated or damaged one"
    raise FileFormatError(f"{name}: not read as a {_WHAT[kind]}: {reason}")


def read_pickle(path: str | Path, kind: str) -> Any:
    """Read a MANO or HO-3D pickle without running anything that it holds.

    Args:
      path: the file; what else has `stat` and `read_bytes` of pathlib's is taken too.
      kind: "mano" or "ho3d_meta": which globals may occur (ALLOWED), anything else is refused.

    Returns:
      The value, made of dicts with text keys, lists, tuples, numbers, text, arrays (arrays of
      objects become lists) and StandIn, for scipy's and chumpy's objects.

    Raises:
      FileFormatError: the file is absent, too large, damaged, or asks for something else; the
        message names the file and the reason.
    """
    path = Path(path) if isinstance(path, str) else path
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES[kind]:
            raise FileFormatError(
                f"{path}: not read as a {_WHAT[kind]}: it has {size} bytes, "
                f"more than the {_MAX_BYTES[kind]} that such a file may have"
            )
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    return read_pickle_bytes(data, kind, path)
