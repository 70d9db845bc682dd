"""Files as MANO's users have them on disk, written with stand-ins for chumpy and scipy."""

import io
import pickle
import struct
import sys
import types
from typing import ClassVar
from unittest import mock

import numpy as np


class _Python2Pickler(pickle._Pickler):
    """Protocol 2 as Python 2 wrote it: text and array bytes are both its 8-bit strings."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def python2_bytes(value):
    """Pickle `value` as Python 2 and a numpy of its time did."""
    stream = io.BytesIO()
    _Python2Pickler(stream, 2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def _classes(*paths):
    """Temporary modules that hold an empty class each, e.g. chumpy.ch.Ch."""
    modules, classes = {}, []
    for path in paths:
        module, name = path.rsplit(".", 1)
        cls = type(name, (), {"__module__": module})
        for i in range(1, module.count(".") + 2):
            part = ".".join(module.split(".")[:i])
            modules.setdefault(part, types.ModuleType(part))
        setattr(modules[module], name, cls)
        classes.append(cls)
    return mock.patch.dict(sys.modules, modules), classes


def _with_state(cls, **state):
    value = cls()
    value.__dict__.update(state)
    return value


def csc_state(dense):
    """The fields of a scipy csc_matrix."""
    columns, rows = np.nonzero(dense.T)
    indptr = np.concatenate([[0], np.cumsum((dense != 0).sum(0))])
    return {
        "_shape": dense.shape,
        "maxprint": 50,
        "indices": rows.astype(np.int32),
        "indptr": indptr.astype(np.int32),
        "data": dense[rows, columns],
    }


def python2_mano(fields, scipy_module="scipy.sparse.csc"):
    """The bytes of MANO's pickle: chumpy Select for shapedirs, scipy csc for J_regressor."""
    patch, (select, ch, csc) = _classes(
        "chumpy.reordering.Select", "chumpy.ch.Ch", f"{scipy_module}.csc_matrix"
    )
    # The file holds 20 directions and selects the first ten.
    x = np.concatenate([fields["shapedirs"], np.full((778, 3, 10), 7.0)], -1)
    idxs = np.arange(x.size).reshape(x.shape)[..., :10].ravel()
    content = dict(fields)
    content.pop("D_idx", None)
    content["kintree_table"] = np.asfortranarray(fields["kintree_table"])
    content["J_regressor"] = _with_state(csc, **csc_state(fields["J_regressor"]))
    content["shapedirs"] = _with_state(
        select,
        a=_with_state(ch, x=x, _dirty_vars={"x"}),
        idxs=idxs,
        preferred_shape=(778, 3, 10),
        _dirty_vars=set(),
    )
    content["bs_style"] = "lbs"
    with patch:
        return python2_bytes(content)


def write_downsampling(path, matrix):
    """Write mano_downsampling.npz: object arrays that hold scipy matrices."""
    patch, (csc,) = _classes("scipy.sparse._csc.csc_matrix")
    holder = np.empty(1, object)
    holder[0] = _with_state(csc, **csc_state(matrix))
    with patch:
        np.savez(path, D=holder)
