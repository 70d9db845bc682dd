"""A reader of the two kinds of pickle that this project meets, which can run no code.

A pickle is a program. Here its allow-listed globals become inert markers, every REDUCE,
NEWOBJ and BUILD is interpreted by this file alone, and nothing is imported or called by
name: arrays are rebuilt from their dtype, shape and bytes, scipy's and chumpy's objects
stay inert stand-ins that only hold their state.
"""

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from mano_jax.errors import FileFormatError

_NUMPY = {
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
}
ALLOWED = {
    "mano": _NUMPY
    | {
        ("scipy.sparse.csc", "csc_matrix"): "csc_matrix",
        ("scipy.sparse._csc", "csc_matrix"): "csc_matrix",
        ("chumpy.reordering", "Select"): "Select",
        ("chumpy.ch", "Ch"): "Ch",
        ("__builtin__", "set"): "set",
        ("builtins", "set"): "set",
    },
    "ho3d_meta": _NUMPY
    | {
        ("numpy.core.multiarray", "scalar"): "scalar",
        ("numpy._core.multiarray", "scalar"): "scalar",
        ("_codecs", "encode"): "encode",
    },
}
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


class _Unpickler(pickle._Unpickler):
    # The Python implementation, whose opcodes can be replaced one by one and whose memo is a
    # dict: the C one allocates whatever memo index the file asks for.

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]

    def __init__(self, data: bytes, kind: str) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._kind = kind

    def find_class(self, module: str, name: str) -> _Global:
        marker = ALLOWED[self._kind].get((module, name))
        if marker is None:
            raise _Refused(f"it asks for {f'{module}.{name}'[:200]!r}, which no such file needs")
        return _Global(marker)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        function = self.stack.pop()
        _require(type(function) is _Global and type(args) is tuple, "it calls what is no function")
        self.stack.append(_reduce(function.kind, args))

    def load_newobj(self) -> None:
        args = self.stack.pop()
        cls = self.stack.pop()
        ok = type(cls) is _Global and cls.kind in ("csc_matrix", "Select", "Ch") and args == ()
        _require(ok, "it makes an object of a class that no such file holds")
        self.stack.append(StandIn(cls.kind))

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        _require(
            type(target) is StandIn and (target.state is None or target.kind == "dtype"),
            "it sets the state of what has none",
        )
        target.state = (target.state, state) if target.kind == "dtype" else state

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.BUILD[0]] = load_build
    for _name in _FORBIDDEN_OPCODES:
        dispatch[getattr(pickle, _name)[0]] = _refuse_opcode(_name)


def _reduce(kind: str, args: tuple[Any, ...]) -> Any:
    if kind == "array":
        return StandIn("array")
    if kind == "dtype":
        _require(args and isinstance(args[0], str), "a dtype without a name")
        return StandIn("dtype", args[0])
    if kind == "scalar":
        _require(len(args) == 2, "a malformed number")
        return _array((), _dtype(args[0]), "C", args[1])[()]
    if kind == "encode":
        _require(
            len(args) == 2 and isinstance(args[0], str) and args[1] in ("latin1", "latin-1"),
            "_codecs.encode of something else than latin1 text",
        )
        return args[0].encode("latin1")
    if kind == "set":
        # A list holds what a set of inert stand-ins cannot (chumpy's sets are never used).
        return list(args[0]) if args and isinstance(args[0], (list, tuple)) else []
    raise _Refused(f"it calls {kind}, which no such file does")


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
    dtype = np.dtype(name)
    _require(dtype.itemsize > 0, "an array of empty items")
    return dtype.newbyteorder(order)


def _array(shape: Any, dtype: np.dtype | None, order: Literal["C", "F"], raw: Any) -> np.ndarray:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    ok = isinstance(raw, bytes) and isinstance(shape, tuple) and len(shape) <= 8
    ok = ok and all(type(n) is int and 0 <= n < 1 << 40 for n in shape)
    if not ok or dtype is None:
        raise _Refused("a malformed array")
    count = 1
    for n in shape:
        count *= n
    _require(count * dtype.itemsize == len(raw), f"an array {shape} with {len(raw)} bytes of data")
    array = np.frombuffer(raw, dtype).reshape(shape, order=order)
    return array.astype(dtype.newbyteorder("="))


def _finish_array(state: Any) -> np.ndarray | list[Any]:
    _require(isinstance(state, tuple) and len(state) == 5, "a malformed array")
    _, shape, dtype_stand_in, fortran, raw = state
    dtype = _dtype(dtype_stand_in)
    if dtype is None:
        _require(isinstance(raw, list), "a malformed array of objects")
        return raw
    return _array(shape, dtype, "F" if fortran else "C", raw)


def _finish(value: Any, done: dict[int, tuple[Any, Any]], depth: int = 0) -> Any:
    """Replace the array stand-ins inside `value` by arrays; shared parts are visited once."""
    _require(depth < _MAX_DEPTH, "it is nested too deeply")
    if not isinstance(value, (dict, list, tuple, StandIn)):
        return value
    if id(value) in done:
        return done[id(value)][0]
    # The value is kept beside its result, so that its id stays taken.
    done[id(value)] = (None, value)
    result: Any
    if isinstance(value, dict):
        result = {k: _finish(v, done, depth + 1) for k, v in value.items() if isinstance(k, str)}
    elif isinstance(value, (list, tuple)):
        result = [_finish(v, done, depth + 1) for v in value]
        result = tuple(result) if isinstance(value, tuple) else result
    elif isinstance(value, _Global) or value.kind == "dtype":
        result = None
    elif value.kind == "array":
        result = _finish_array(value.state)
        result = result if isinstance(result, np.ndarray) else _finish(result, done, depth + 1)
    else:
        result = StandIn(value.kind, _finish(value.state, done, depth + 1))
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
        return _finish(_Unpickler(data, kind).load(), {})
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
      path: the file.
      kind: "mano" or "ho3d_meta": which globals may occur (ALLOWED), anything else is refused.

    Returns:
      The value, made of dicts with text keys, lists, tuples, numbers, text, arrays (arrays of
      objects become lists) and StandIn, for scipy's and chumpy's objects.

    Raises:
      FileFormatError: the file is absent, too large, damaged, or asks for something else; the
        message names the file and the reason.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES[kind]:
            raise FileFormatError(
                f"{path}: not read as a {_WHAT[kind]}: it has {size} bytes, "
                f"more than the {_MAX_BYTES[kind]} that such a file may have"
            )
        data = path.read_bytes()
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error.strerror}") from error
    return read_pickle_bytes(data, kind, path)
