"""jaxrenderer (Zhu, 2023), the other rasteriser in pure JAX, on the scene of the suite, where it is there."""

import math
import warnings

import jax
import jax.numpy as jnp

import render


def hard_forward(scene):
    """(vertices, colours) -> images (N, W, H, 3), lit by a light far away; None where it is not installed."""
    try:
        with warnings.catch_warnings():  # what its own libraries warn of
            warnings.simplefilter("ignore")
            from renderer import Camera, LightSource
            from renderer.pipeline import render as draw
            from renderer.renderer import Renderer
            from renderer.shaders.gouraud import GouraudExtraInput, GouraudShader
    except ImportError:
        return None
    side, focal = scene.size[0], float(scene.K[0, 0])
    camera = Camera.create(
        view=Camera.view_matrix(jnp.zeros(3), jnp.array([0.0, 0, 1]), jnp.array([0.0, -1, 0])),
        projection=Camera.perspective_projection_matrix(
            2 * math.degrees(math.atan(side / 2 / focal)), 1.0, 0.05, 5.0
        ),
        viewport=Camera.viewport_matrix(jnp.zeros(2), jnp.array(scene.size), 1.0),
    )
    light = LightSource(direction=jnp.array([0.0, 0, -1]), colour=jnp.ones(3))

    def one(arguments):
        vertices, colors = arguments
        normals = render.vertex_normals(vertices, scene.faces)
        seen = GouraudExtraInput(vertices, colors, normals, light)
        buffers = Renderer.create_buffers(side, side)
        return draw(camera, GouraudShader, buffers, scene.faces, seen).targets[0]

    return lambda vertices, colors, *_: jax.lax.map(one, (vertices, colors))
