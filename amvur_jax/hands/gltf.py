"""glTF 2.0 binary (GLB): JSON, and arrays behind one another (https://registry.khronos.org/glTF/specs/2.0).

Written here: the libraries for it keep colours in 8 bits and no animation, or leave all but the header to the
caller.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

GL_AXES = np.array([1.0, -1.0, -1.0])  # of OpenCV's, x right, y down, z away
VERTICES, INDICES = 34962, 34963  # target of a bufferView
SKIN = {
    "name": "skin",
    "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8},
    "doubleSided": True,  # the arm is open: through it the inside is seen
}
_COMPONENTS = {"float32": 5126, "uint32": 5125, "uint8": 5121}
_TYPES = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}


class Arrays:
    """The arrays of a GLB."""

    def __init__(self) -> None:
        self._binary = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def add(self, array: np.ndarray, target: int | None = None) -> int:
        """The number of the accessor of an array (n,), (n,3), (n,4), or (n,4,4) matrices.

        Numbers become float32; uint8, of which a row has 4, and uint32 stay.
        """
        kind = array.dtype if array.dtype.name in _COMPONENTS else np.float32
        values = np.ascontiguousarray(array, kind)
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": values.nbytes}
        self._views.append(view if target is None else view | {"target": target})
        shape = values.shape[1:]
        # Matrices stand column by column.
        stored = values.swapaxes(1, 2) if len(shape) == 2 else values
        self._binary.extend(stored.tobytes())
        assert not len(self._binary) % 4, "each array begins at a multiple of 4 bytes"
        flat = stored.reshape(len(values), -1)
        self._accessors.append(
            {
                "bufferView": len(self._views) - 1,
                "componentType": _COMPONENTS[values.dtype.name],
                "count": len(values),
                "type": _TYPES[shape],
                "min": flat.min(0).tolist(),
                "max": flat.max(0).tolist(),
            }
        )
        return len(self._accessors) - 1

    def glb(self, tree: dict[str, Any]) -> bytes:
        """The file: what a tree has (scenes, nodes, meshes, ...) and these arrays."""
        tree = {
            "asset": {"version": "2.0", "generator": "amvur-jax"},
            "scene": 0,
            **tree,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        text = json.dumps(tree, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        chunks = [(text, b"JSON"), (bytes(self._binary), b"BIN\0")]
        body = b"".join(struct.pack("<I", len(data)) + kind + data for data, kind in chunks)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
