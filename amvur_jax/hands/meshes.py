"""Hands as mesh files: glTF 2.0 binary (GLB), Wavefront OBJ, PLY. Metres; y up, z to the viewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amvur_jax.hands.colors import linear, vertex_normals
from amvur_jax.hands.gltf import GL_AXES, INDICES, SKIN, VERTICES, Arrays
from amvur_jax.hands.hand import Hand


def glb(hands: Sequence[Hand], faces: np.ndarray) -> bytes:
    """A GLB with a node for each hand, all before the photograph's camera at the origin.

    POSITION and NORMAL, COLOR_0 in linear light as glTF wants it, and `_SIGMA`, the standard deviation of a
    coordinate relative to the wrist, mm.

    Args:
      hands: of one photograph.
      faces: (F,3) of the right hand.
    """
    arrays, meshes, nodes = Arrays(), [], []
    for i, hand in enumerate(hands):
        vertices, own = hand.vertices_cam * GL_AXES, hand.faces(faces)
        attributes = {
            "POSITION": arrays.add(vertices, VERTICES),
            "NORMAL": arrays.add(vertex_normals(vertices, own), VERTICES),
            "COLOR_0": arrays.add(linear(hand.colors), VERTICES),
            "_SIGMA": arrays.add(hand.vertices_sigma_mm, VERTICES),
        }
        indices = arrays.add(own.ravel().astype(np.uint32), INDICES)
        name = f"{hand.side} hand {i + 1}"
        part = {"attributes": attributes, "indices": indices, "material": 0}
        meshes.append({"name": name, "primitives": [part]})
        nodes.append({"name": name, "mesh": i, "extras": {"score": round(hand.score, 4)}})
    scenes = [{"nodes": list(range(len(nodes)))}]
    return arrays.glb({"scenes": scenes, "nodes": nodes, "meshes": meshes, "materials": [SKIN]})


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
