"""Hands as mesh files: glTF 2.0 binary (GLB), Wavefront OBJ, PLY. Metres; y up, z to the viewer.

GLB is JSON and arrays behind one another (https://registry.khronos.org/glTF/specs/2.0), written here: the
libraries for it keep colours in 8 bits and no animation, or leave all but the header to the caller.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from amvur_jax.hands.colors import linear, vertex_normals
from amvur_jax.hands.hand import Hand

GL_AXES = np.array([1.0, -1.0, -1.0])  # of OpenCV's, x right, y down, z away
_FLOAT, _UINT = 5126, 5125  # componentType
_VERTICES, _INDICES = 34962, 34963  # target of a bufferView
_TYPES = {1: "SCALAR", 3: "VEC3"}


def glb(hands: Sequence[Hand], faces: np.ndarray) -> bytes:
    """A GLB with a node for each hand, all before the photograph's camera at the origin.

    POSITION and NORMAL, COLOR_0 in linear light as glTF wants it, and `_SIGMA`, the standard deviation of a
    coordinate relative to the wrist, mm.

    Args:
      hands: of one photograph.
      faces: (F,3) of the right hand.
    """
    binary, views, accessors = bytearray(), [], []

    def accessor(array: np.ndarray, target: int) -> int:
        kind = np.uint32 if target == _INDICES else np.float32
        values = np.ascontiguousarray(array, kind)
        view = {"buffer": 0, "byteOffset": len(binary), "byteLength": values.nbytes}
        views.append(view | {"target": target})
        binary.extend(
            values.tobytes()
        )  # all of 4 bytes, so that the next begins at a multiple of 4
        columns = 1 if values.ndim == 1 else values.shape[1]
        entry: dict[str, Any] = {
            "bufferView": len(views) - 1,
            "componentType": _UINT if target == _INDICES else _FLOAT,
            "count": len(values),
            "type": _TYPES[columns],
            "min": np.atleast_1d(values.min(0)).tolist(),
            "max": np.atleast_1d(values.max(0)).tolist(),
        }
        accessors.append(entry)
        return len(accessors) - 1

    meshes, nodes = [], []
    for i, hand in enumerate(hands):
        vertices, own = hand.vertices_cam * GL_AXES, hand.faces(faces)
        attributes = {
            "POSITION": accessor(vertices, _VERTICES),
            "NORMAL": accessor(vertex_normals(vertices, own), _VERTICES),
            "COLOR_0": accessor(linear(hand.colors), _VERTICES),
            "_SIGMA": accessor(hand.vertices_sigma_mm, _VERTICES),
        }
        part = {"attributes": attributes, "indices": accessor(own.ravel(), _INDICES), "material": 0}
        name = f"{hand.side} hand {i + 1}"
        meshes.append({"name": name, "primitives": [part]})
        nodes.append({"name": name, "mesh": i, "extras": {"score": round(hand.score, 4)}})
    skin = {"metallicFactor": 0.0, "roughnessFactor": 0.8}
    tree = {
        "asset": {"version": "2.0", "generator": "amvur-jax"},
        "scene": 0,
        "scenes": [{"nodes": list(range(len(nodes)))}],
        "nodes": nodes,
        "meshes": meshes,
        # the arm is open: through it the inside is seen
        "materials": [{"name": "skin", "pbrMetallicRoughness": skin, "doubleSided": True}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(tree, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = [(text, b"JSON"), (bytes(binary), b"BIN\0")]
    body = b"".join(struct.pack("<I", len(data)) + kind + data for data, kind in chunks)
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _joined(
    hands: Sequence[Hand], faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (n,3) in GL_AXES, faces (m,3), colours (n,3) and sigmas (n,) of all hands as one mesh."""
    starts = np.cumsum([0] + [len(hand.vertices_cam) for hand in hands])
    return (
        np.concatenate([hand.vertices_cam * GL_AXES for hand in hands]),
        np.concatenate([hand.faces(faces) + start for hand, start in zip(hands, starts)]),
        np.concatenate([hand.colors for hand in hands]),
        np.concatenate([hand.vertices_sigma_mm for hand in hands]),
    )


def obj(hands: Sequence[Hand], faces: np.ndarray) -> bytes:
    """A Wavefront OBJ, an object for each hand, sRGB behind the coordinates of each vertex."""
    lines = ["# metres; OpenGL camera axes (x right, y up, z to the viewer); v x y z r g b"]
    before = 1
    for i, hand in enumerate(hands):
        lines.append(f"o {hand.side}_hand_{i + 1}")
        for (x, y, z), (r, g, b) in zip(hand.vertices_cam * GL_AXES, hand.colors):
            lines.append(f"v {x:.6f} {y:.6f} {z:.6f} {r:.4f} {g:.4f} {b:.4f}")
        lines += [f"f {a} {b} {c}" for a, b, c in hand.faces(faces) + before]
        before += len(hand.vertices_cam)
    return ("\n".join(lines) + "\n").encode()


def ply(hands: Sequence[Hand], faces: np.ndarray) -> bytes:
    """A binary PLY of all hands as one mesh, with sRGB colours and `sigma`, mm."""
    vertices, triangles, colors, sigma = _joined(hands, faces)
    kinds = [(name, "<f4") for name in ("x", "y", "z")]
    kinds += [(name, "u1") for name in ("red", "green", "blue")] + [("sigma", "<f4")]
    points = np.zeros(len(vertices), kinds)
    for i, (name, color) in enumerate((("x", "red"), ("y", "green"), ("z", "blue"))):
        points[name], points[color] = vertices[:, i], np.rint(255 * colors[:, i])
    points["sigma"] = sigma
    corners = np.zeros(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
    corners["count"], corners["corners"] = 3, triangles
    words = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", "comment metres; sigma in mm"]
    header += [f"element vertex {len(points)}"]
    header += [f"property {words[kind]} {name}" for name, kind in kinds]
    header += [f"element face {len(corners)}", "property list uchar int vertex_indices"]
    return "\n".join([*header, "end_header\n"]).encode() + points.tobytes() + corners.tobytes()
