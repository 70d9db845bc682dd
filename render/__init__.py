"""A triangle rasteriser in pure JAX: exact z-buffer, soft (SoftRas) modes, Phong shading, gradients."""

from render.blend import alpha, blur_radius, coverage, hard_blend, softmax_blend
from render.camera import pixel_centres, pixel_rays, project, weak_perspective_camera
from render.fragments import Fragments
from render.meshes import join_meshes
from render.rasterize import fragments_at, rasterize
from render.renderer import depth_map, normal_map, render_mesh, render_soft
from render.shade import PointLight, interpolate, shade, shade_faces, vertex_normals
from render.silhouette import silhouette
from render.soft import SoftOptions, rasterize_soft
from render.visibility import visible_vertices

__all__ = [
    "Fragments",
    "PointLight",
    "SoftOptions",
    "alpha",
    "blur_radius",
    "coverage",
    "depth_map",
    "fragments_at",
    "hard_blend",
    "interpolate",
    "join_meshes",
    "normal_map",
    "pixel_centres",
    "pixel_rays",
    "project",
    "rasterize",
    "rasterize_soft",
    "render_mesh",
    "render_soft",
    "shade",
    "shade_faces",
    "silhouette",
    "softmax_blend",
    "vertex_normals",
    "visible_vertices",
    "weak_perspective_camera",
]
