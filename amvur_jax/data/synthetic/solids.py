"""Simple things to hold: boxes, cylinders and spheres as meshes of one fixed size."""

import dataclasses

import numpy as np

KINDS = ("box", "cylinder", "sphere")
# Every solid is padded to these, so that scenes of any solids are arrays of one shape.
NUM_VERTICES = 162
NUM_FACES = 288


@dataclasses.dataclass(frozen=True)
class Solid:
    """One solid in its own frame, centred at its origin.

    Attributes:
      kind: one of KINDS.
      half_size: (3,) half extents, m.
      vertices: (NUM_VERTICES, 3) m.
      faces: (NUM_FACES, 3) int32; the padding is degenerate and drawn nowhere.
    """

    kind: str
    half_size: np.ndarray
    vertices: np.ndarray
    faces: np.ndarray

    @property
    def corners(self) -> np.ndarray:
        """(8, 3) corners of its bounding box, m."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        return signs * self.half_size


def make_solid(kind: str, half_size: np.ndarray) -> Solid:
    """A solid of a kind and size; faces are counter-clockwise from outside.

    Args:
      kind: one of KINDS.
      half_size: (3,) half extents, m; a cylinder's axis is z.

    Returns:
      the Solid.
    """
    vertices, faces = {"box": _box, "cylinder": _cylinder, "sphere": _sphere}[kind]()
    padded_vertices = np.zeros((NUM_VERTICES, 3), np.float32)
    padded_vertices[: len(vertices)] = vertices * half_size
    padded_faces = np.zeros((NUM_FACES, 3), np.int32)
    padded_faces[: len(faces)] = faces
    return Solid(kind, np.asarray(half_size, np.float32), padded_vertices, padded_faces)


def _box() -> tuple[np.ndarray, np.ndarray]:
    # Each side has vertices of its own, so that its normals are flat.
    vertices: list[np.ndarray] = []
    faces: list[np.ndarray] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = np.roll(np.eye(3), -axis - 1, axis=0)[:2]
            side = (
                sign * np.eye(3)[axis] + np.outer([-1, 1, 1, -1], u) + np.outer([-1, -1, 1, 1], v)
            )
            turn = [[0, 1, 2], [0, 2, 3]] if sign > 0 else [[0, 2, 1], [0, 3, 2]]
            faces += [np.add(t, 4 * len(vertices)) for t in turn]
            vertices.append(side)
    return np.concatenate(vertices), np.array(faces)


def _cylinder(segments: int = 32) -> tuple[np.ndarray, np.ndarray]:
    angle = np.arange(segments) * 2 * np.pi / segments
    circle = np.stack([np.cos(angle), np.sin(angle), np.zeros(segments)], axis=-1)
    up = np.array([0.0, 0, 1])
    vertices = np.concatenate([circle - up, circle + up, circle - up, circle + up, [-up, up]])
    i = np.arange(segments)
    j = (i + 1) % segments
    low, high, bottom, top = segments * np.arange(4)
    faces = [
        np.stack([low + i, low + j, high + j], axis=-1),
        np.stack([low + i, high + j, high + i], axis=-1),
        np.stack([np.full(segments, 4 * segments), bottom + j, bottom + i], axis=-1),
        np.stack([np.full(segments, 4 * segments + 1), top + i, top + j], axis=-1),
    ]
    return vertices, np.concatenate(faces)


def _sphere(rings: int = 9, segments: int = 16) -> tuple[np.ndarray, np.ndarray]:
    polar = np.arange(1, rings + 1) * np.pi / (rings + 1)
    around = np.arange(segments) * 2 * np.pi / segments
    polar, around = np.meshgrid(polar, around, indexing="ij")
    body = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], axis=-1
    ).reshape(-1, 3)
    vertices = np.concatenate([body, [[0, 0, 1], [0, 0, -1]]])
    index = np.arange(rings * segments).reshape(rings, segments)
    right = np.roll(index, -1, axis=1)
    a, b, c, d = index[:-1], index[1:], right[1:], right[:-1]
    north, south = (np.full(segments, rings * segments + k) for k in range(2))
    faces = [
        np.stack([a, b, c], axis=-1).reshape(-1, 3),
        np.stack([a, c, d], axis=-1).reshape(-1, 3),
        np.stack([north, index[0], right[0]], axis=-1),
        np.stack([south, right[-1], index[-1]], axis=-1),
    ]
    return vertices, np.concatenate(faces)
