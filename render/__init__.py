"""A triangle rasteriser in pure JAX: hard z-buffer, Phong shading, visibility, gradients."""

from render.camera import pixel_centres, project, weak_perspective_camera
from render.fragments import Fragments
from render.meshes import join_meshes
from render.rasterize import fragments_at, rasterize
from render.renderer import render_mesh
from render.shade import PointLight, interpolate, shade, vertex_normals
from render.visibility import visible_vertices

__all__ = [
    "Fragments",
    "PointLight",
    "fragments_at",
    "interpolate",
    "join_meshes",
    "pixel_centres",
    "project",
    "rasterize",
    "render_mesh",
    "shade",
    "vertex_normals",
    "visible_vertices",
    "weak_perspective_camera",
]
