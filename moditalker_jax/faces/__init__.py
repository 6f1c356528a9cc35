"""Finding faces: detector, 468-point mesh, 68 landmarks and stable crops, all on numpy.

The networks are MediaPipe's face detector and face mesh (Apache-2.0, see models/NOTICE), run by
the small LiteRT interpreter; everything around them is written here.
"""

from moditalker_jax.faces.crop import (
    CropBox,
    centre_crop,
    centre_square,
    clip_crop,
    crop_frames,
)
from moditalker_jax.faces.finder import Face, FaceFinder
from moditalker_jax.faces.mapping import landmarks_from_mesh

__all__ = [
    "CropBox",
    "Face",
    "FaceFinder",
    "centre_crop",
    "centre_square",
    "clip_crop",
    "crop_frames",
    "landmarks_from_mesh",
]
