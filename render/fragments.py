"""The contract between rasteriser, shading and visibility, named as in PyTorch3D."""

import dataclasses

import jax


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fragments:
    """What each pixel sees; P is the number of faces kept per pixel, the nearest first.

    Attributes:
      pix_to_face: (..., H, W, P) int32, index into the image's own faces, -1 where empty.
      zbuf: (..., H, W, P) depth along the camera's z, m; -1 where empty.
      bary_coords: (..., H, W, P, 3) perspective-correct barycentric coordinates; -1 where empty.
      dists: (..., H, W, P) squared distance from the pixel centre to the face's outline in
        normalised units (the shorter image side spans [-1, 1]), negative inside; -1 where empty.
    """

    pix_to_face: jax.Array
    zbuf: jax.Array
    bary_coords: jax.Array
    dists: jax.Array

    @property
    def mask(self) -> jax.Array:
        """(..., H, W, P) bool, True where a face was drawn."""
        return self.pix_to_face >= 0
