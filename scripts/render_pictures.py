"""Draw the rasteriser's pictures of docs/render.md: one hand, eight ways. And that of docs/training.md: what
colours a hand behind a thing takes on, by each config.loss.occlusion.

python scripts/render_pictures.py --output=docs/render.jpg
python scripts/render_pictures.py --subject=occlusion --output=docs/occlusion.jpg
"""

import pathlib
import tempfile
from collections.abc import Mapping

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

import render
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.sample import make_sample
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.data.synthetic.skin import TONES, skin_map, vertex_colors
from amvur_jax.files.whole import save_picture
from amvur_jax.models.colors import denormalize, normalize
from amvur_jax.models.outputs import Texture
from amvur_jax.runtime import cli
from amvur_jax.training.objective import LossConfig, count_labels, photometric_term
from mano_jax import load_hand

_OUTPUT = flags.DEFINE_string("output", None, "The picture, .jpg or .png.")
_SIZE = flags.DEFINE_integer("size", 224, "Side of each picture, px.", lower_bound=32)
_SUBJECT = flags.DEFINE_enum("subject", "rasteriser", ["rasteriser", "occlusion"], "Of what.")
_SEED = flags.DEFINE_integer("seed", 1, "Of the hand that holds a thing.", lower_bound=0)
flags.mark_flag_as_required("output")


def pictures(size: int) -> dict[str, jax.Array]:
    """{title: (size, size, 3) in [0, 1]} of the embedded hand."""
    hand = load_hand()
    vertices = hand.with_shape(jnp.zeros(10)).with_pose(jnp.zeros((16, 3))).vertices
    vertices = np.asarray(vertices - vertices.mean(axis=0))
    # The hand's longest axis up, its flattest along the view.
    _, _, (up, across, _) = np.linalg.svd(vertices, full_matrices=False)
    up = up * np.sign(vertices[np.argmax(np.linalg.norm(vertices, axis=1))] @ up) * -1
    turn = np.stack([across, up, np.cross(across, up)])
    vertices = jnp.asarray(vertices @ turn.T + [0.0, 0, 0.33], jnp.float32)
    colors = jnp.asarray(vertex_colors(skin_map(hand), TONES[1]), jnp.float32)
    K = jnp.array([[1.8 * size, 0, size / 2], [0, 1.8 * size, size / 2], [0, 0, 1]])
    view = (vertices, hand.faces, K, (size, size))
    colored = (vertices, hand.faces, colors, K, (size, size))
    light = render.PointLight((0.2, -0.3, -0.2), specular=0.15, shininess=20.0)

    depth = render.depth_map(*view)
    drawn = jnp.isfinite(depth)
    near, far = depth[drawn].min(), depth[drawn].max()
    shade = jnp.where(drawn, 1 - 0.8 * (depth - near) / (far - near), 0.0)
    normals = render.normal_map(*view)
    fragments = render.rasterize(*view)
    palette = jnp.asarray(np.random.default_rng(4).uniform(0.2, 1, (len(hand.faces), 3)))
    layers = render.rasterize_soft(*view, 16).mask.sum(axis=-1)
    visible = render.visible_vertices(fragments, hand.faces, len(vertices))
    from_behind = vertices * jnp.array([-1, 1, -1]) + jnp.array([0, 0, 0.66])
    seen_colors = colors * visible[:, None] + 0.15 * (1 - visible[:, None])

    def gray(values: jax.Array) -> jax.Array:
        return jnp.repeat(values[..., None], 3, axis=-1)

    return {
        "lit (render_mesh)": render.render_mesh(*colored, light=light)[0],
        "soft, sigma 1e-3 (render_soft)": render.render_soft(*colored, light=light, sigma=1e-3)[0],
        "silhouette, sigma 1e-3": gray(render.silhouette(*view, sigma=1e-3)),
        "depth_map": gray(shade),
        "normal_map": jnp.where(drawn[..., None], 0.5 - 0.5 * normals, 1.0),
        "pix_to_face": jnp.where(fragments.mask, palette[fragments.pix_to_face[..., 0]], 1.0),
        "faces per pixel": gray(1 - layers / 8),
        "visible_vertices, from behind": render.render_mesh(
            from_behind, hand.faces, seen_colors, K, (size, size)
        )[0],
    }


def occluded(size: int, seed: int, steps: int = 100) -> dict[str, jax.Array]:
    """{title: (size, size, 3) in [0, 1]}: a hand behind a thing, and the colours learnt of it.

    A made-up frame of HO-3D's layout, the pixels of its hand that count, and the vertex colours after `steps`
    of Adam from grey, the hand in its true place.
    """
    hand = load_hand()
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / "tree"
        make_synthetic(tree, 1, 1, seed=seed, difficulty="wide")
        sample = make_sample(HO3D(tree, masks=True).frame(0), size, crop_scale=0.6, masks=True)
    batch = {name: jnp.asarray(value)[None] for name, value in sample.items()}
    image = normalize(batch["image"])
    posed = hand.with_shape(batch["betas"]).with_pose(batch["pose"].reshape(1, 16, 3))
    vertices = posed.vertices + batch["trans"][:, None]
    fragments = render.rasterize(vertices, hand.faces, batch["K"], (size, size))
    visible = render.visible_vertices(fragments, hand.faces, vertices.shape[1])

    def draw(colors: jax.Array) -> Texture:
        drawn = render.shade_faces(
            fragments.pix_to_face,
            vertices,
            hand.faces,
            colors,
            batch["K"],
            render.PointLight(ambient=1.0, diffuse=0.0),
            background=1.0,
        )
        return Texture(colors, visible, drawn[..., 0, :], fragments.mask[..., 0])

    def learnt(occlusion: str) -> jax.Array:
        config, optimizer = LossConfig(occlusion=occlusion), optax.adam(0.03)
        counts = count_labels(batch, config.mode)
        colors = jnp.zeros_like(vertices)

        def step(_: int, state: tuple) -> tuple:
            colors, moments = state
            gradient = jax.grad(lambda c: photometric_term(draw(c), batch, image, config, counts))(
                colors
            )
            updates, moments = optimizer.update(gradient, moments)
            return optax.apply_updates(colors, updates), moments

        state = colors, optimizer.init(colors)
        texture = draw(jax.jit(lambda s: jax.lax.fori_loop(0, steps, step, s))(state)[0])
        return jnp.where(texture.mask[0, ..., None], denormalize(texture.image[0]), 1.0)

    on_hand = fragments.mask[0, ..., 0, None]
    counted = jnp.where(batch["visible"][0, ..., None], denormalize(image[0]), 0.0)
    return {
        "picture": denormalize(image[0]),
        "black: hidden, by the labels": jnp.where(on_hand, counted, 1.0),
        **{f"learnt with {way}": learnt(way) for way in ("off", "labels")},
    }


def sheet(named: Mapping[str, jax.Array]) -> np.ndarray:
    """The pictures in two rows, each with its title: uint8 RGB."""
    tiles = []
    for title, picture in named.items():
        picture = (np.clip(np.asarray(picture), 0, 1) * 255 + 0.5).astype(np.uint8)
        tile = cv2.copyMakeBorder(picture, 22, 4, 4, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        cv2.putText(
            tile, title, (5, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (30, 30, 30), 1, cv2.LINE_AA
        )
        tiles.append(tile)
    half = len(tiles) // 2
    return np.concatenate([np.concatenate(r, axis=1) for r in (tiles[:half], tiles[half:])])


def main() -> None:
    path = _OUTPUT.value
    hidden = _SUBJECT.value == "occlusion"
    save_picture(
        path, sheet(occluded(_SIZE.value, _SEED.value) if hidden else pictures(_SIZE.value))
    )
    print(f"{path} written")


if __name__ == "__main__":
    cli.run(main)
