"""The rasteriser beside a plain one that tests every pixel against every face, in one process.

One hand beside jaxrenderer 0.4 too, where it is installed (Python 3.12).

Ratios are to the plain forward pass; `temporaries_mib` is what XLA plans beside inputs and outputs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import render
from benchmarks import measure, render_peer
from mano_jax import load_hand
from render.triangles import nearness, planes, screen_corners

SIGMA = 1e-4  # blur 3.4 px of 224


def run(quick):
    """Yield one row a case: 16 hands at 224 x 224, then other sizes, meshes and batches."""
    images, side, turns = (2, 64, 1) if quick else (16, 224, 3)
    scene = Scene(images, side)
    yield {"case": "scene", **scene.describe()}
    yield from _beside_plain(scene, turns)
    yield from _beside_peer(side, turns)
    for images, side, subdivisions in [(1, 64, 0), (2, 64, 0)] if quick else SCALING:
        scene = Scene(images, side, subdivisions)
        functions, rows = {}, {}
        for name in ("hard forward", "hard forward + backward"):
            functions[name], rows[name] = _compiled(CASES[name](scene), scene)
        for name, seconds in measure.median_seconds(functions, 1).items():
            row = rows[name] | {"ms": 1e3 * seconds} | scene.describe()
            yield {"case": f"scaling: {name}", **row}


# Images, side, subdivisions of the mesh (each has four times the faces): one varies at a time.
SCALING = [
    *((16, side, 0) for side in (56, 112, 224, 448)),
    *((16, 224, n) for n in (1, 2, 3)),
    *((n, 224, 0) for n in (1, 4, 64)),
]


class Scene:
    """Hands in random poses, about a quarter of each image."""

    def __init__(self, images, side, subdivisions=0):
        hand = load_hand()
        draws = np.random.default_rng(0)
        pose = draws.normal(0, 0.15, (images, 16, 3))
        pose[:, 0] = draws.normal(0, 1.0, (images, 3))
        shaped = hand.with_shape(jnp.zeros((images, 10)))
        vertices = np.asarray(shaped.with_pose(jnp.asarray(pose, jnp.float32)).vertices)
        vertices = vertices - vertices.mean(axis=1, keepdims=True) + [0, 0, 0.31]
        faces = np.asarray(hand.faces)
        for _ in range(subdivisions):
            vertices, faces = _subdivide(vertices, faces)
        focal = 1.76 * side
        self.size = (side, side)
        self.K = jnp.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]], jnp.float32)
        self.vertices, self.faces = jnp.asarray(vertices, jnp.float32), jnp.asarray(faces)
        self.colors = jnp.asarray(draws.random(vertices.shape), jnp.float32)
        self.weights = jnp.asarray(draws.random((images, side, side, 3)), jnp.float32)

    def describe(self):
        """What the rows of this scene are about."""
        mask = render.rasterize(self.vertices, self.faces, self.K, self.size).mask
        return {
            "images": len(self.vertices),
            "side_px": self.size[0],
            "vertices": self.vertices.shape[1],
            "faces": len(self.faces),
            "coverage": round(float(jnp.mean(mask)), 3),
            "covered_px": int(jnp.sum(mask)),
        }


def _subdivide(vertices, faces):
    """Each face as four, with its edges' middles."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, index = np.unique(edges, axis=0, return_inverse=True)
    middle = index.reshape(-1, 3) + vertices.shape[1]
    vertices = np.concatenate([vertices, vertices[:, edges].mean(axis=2)], axis=1)
    a, b, c = faces.T
    ab, bc, ca = middle.T
    parts = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    return vertices, np.concatenate([np.stack(p, axis=-1) for p in parts])


def plain_select(vertices, faces, K, size):
    """(N, H, W) nearest face of each pixel, all faces one after the other over the whole image."""
    corners, _ = screen_corners(vertices, faces, K)
    unit = jnp.broadcast_to(jnp.eye(3), (*corners.shape[:2], 3, 3))
    values = jnp.concatenate([unit, nearness(corners[..., 2::3])[..., None]], axis=-1)
    rows, origins = planes(corners, values, size)
    x, y = render.pixel_centres(size)

    def one(inputs):
        def add(best, face):
            number, row, origin = face
            dx, dy = x[None, :] - origin[0], y[:, None] - origin[1]
            a, b, c, near = (r[0] * dx + r[1] * dy + r[2] for r in row.T)
            near = jnp.where(jnp.minimum(jnp.minimum(a, b), c) >= 0, near, 0.0)
            nearer = near > best[0]
            return (jnp.where(nearer, near, best[0]), jnp.where(nearer, number, best[1])), None

        start = jnp.zeros(size), jnp.full(size, -1)
        numbered = (jnp.arange(faces.shape[0]), *inputs)
        return jax.lax.scan(add, start, numbered, unroll=8)[0][1]

    return jax.lax.map(one, (rows, origins))


def _plain(scene):
    def image(vertices, colors, *_):
        pix_to_face = plain_select(vertices, scene.faces, scene.K, scene.size)[..., None]
        light = render.PointLight()
        return render.shade_faces(pix_to_face, vertices, scene.faces, colors, scene.K, light)

    return image


def _hard(scene):
    return lambda v, c, *_: render.render_mesh(v, scene.faces, c, scene.K, scene.size)[0]


def _silhouette(scene):
    def image(v, c, *_):
        alpha = render.silhouette(v, scene.faces, scene.K, scene.size, SIGMA)
        return alpha[..., None]

    return image


def _top_8(scene):
    return lambda v, c, *_: render.render_soft(
        v, scene.faces, c, scene.K, scene.size, sigma=SIGMA, faces_per_pixel=8
    )[0]


def _with_gradient(make, scene):
    image = make(scene)
    return jax.value_and_grad(lambda v, c, w: jnp.sum(image(v, c) * w), argnums=(0, 1))


CASES = {
    "plain forward": _plain,
    "hard forward": _hard,
    "hard forward + backward": functools.partial(_with_gradient, _hard),
    "silhouette of all faces, forward": _silhouette,
    "silhouette of all faces, forward + backward": functools.partial(_with_gradient, _silhouette),
    "top 8 lit colours, forward": _top_8,
    "top 8 lit colours, forward + backward": functools.partial(_with_gradient, _top_8),
}


def _compiled(function, scene):
    arguments = scene.vertices, scene.colors, scene.weights
    compiled, _, seconds, temporaries = measure.compile_jitted(jax.jit(function), *arguments)
    row = {"compile_s": round(seconds, 2), "temporaries_mib": round(temporaries, 1)}
    return functools.partial(compiled, *arguments), row


def _beside_plain(scene, turns):
    functions, rows = {}, {}
    for name, make in CASES.items():
        functions[name], rows[name] = _compiled(make(scene), scene)
    seconds = measure.median_seconds(functions, turns)
    for name, row in rows.items():
        ratio = seconds["plain forward"] / seconds[name]
        yield {"case": name, "ms": 1e3 * seconds[name], "times_plain_forward": ratio, **row}


def _beside_peer(side, turns):
    """One hand, by the other pure JAX rasteriser where it is installed, and by ours."""
    scene = Scene(1, side)
    peer = render_peer.hard_forward(scene)
    if peer is None:
        return
    functions, rows = {}, {}
    for name, function in (("jaxrenderer", peer), ("ours", _hard(scene))):
        functions[name], rows[name] = _compiled(function, scene)
    seconds = measure.median_seconds(functions, turns)
    for name, row in rows.items():
        ratio = seconds["jaxrenderer"] / seconds[name]
        case = f"one hand, hard forward: {name}"
        yield {"case": case, "ms": 1e3 * seconds[name], "times_jaxrenderer": ratio, **row}


def plot(rows, file, kind):
    """Draw the scaling rows into an open file: time against covered pixels plus faces, and slope one."""
    from matplotlib.figure import Figure  # not needed to measure

    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for case, marker in (("hard forward", "o"), ("hard forward + backward", "s")):
        mine = [row for row in rows if row["case"] == f"scaling: {case}"]
        work = np.array([row["covered_px"] + row["images"] * row["faces"] for row in mine])
        axes.loglog(work, [row["ms"] for row in mine], marker, label=case)
        for x, row in zip(work, mine):
            name = f"{row['images']} x {row['side_px']} px, {row['faces']} faces"
            axes.annotate(
                name, (x, row["ms"]), fontsize=5, xytext=(3, -6), textcoords="offset points"
            )
        if case == "hard forward":
            middle = np.median(work), np.median([row["ms"] for row in mine])
            line = np.array([work.min(), work.max()])
            axes.loglog(line, middle[1] * line / middle[0], "k:", linewidth=0.8, label="linear")
    axes.set_xlabel("covered pixels + faces, of all images")
    axes.set_ylabel("ms")
    axes.legend()
    figure.savefig(file, dpi=150, format=kind)
