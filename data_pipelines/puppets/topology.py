"""How the 468 points of the face mesh and the rings around it are joined to triangles."""

import cv2
import numpy as np
from scipy.spatial import Delaunay

FACE_OVAL = np.array(
    [10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377]
    + [152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]
)
"""The mesh's outline, clockwise in the picture from the middle of the forehead."""

UPPER_INNER_LIP = np.array([78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308])
LOWER_INNER_LIP = np.array([78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308])
"""Both from corner to corner, as the picture shows them from the left."""

EYE_CORNERS = np.array([33, 263])
"""The outer ones."""

_INSIDE_MOUTH = frozenset((*UPPER_INNER_LIP.tolist(), *LOWER_INNER_LIP.tolist()))


def face_triangles(frontal_mesh: np.ndarray) -> np.ndarray:
    """Triangles (N, 3) of the face without the inside of the mouth.

    Delaunay's, on the face unrolled around the head's axis, where the sides do not overlap.

    Args:
      frontal_mesh: (468, 3) in face axes, of a face whose mouth is wide open: the lips of a closed
        one lie on each other.
    """
    radius = 2.0
    depth = frontal_mesh[:, 2] - frontal_mesh[:, 2].max() + radius
    unrolled = np.stack(
        [radius * np.arctan2(frontal_mesh[:, 0], np.maximum(depth, 0.05)), frontal_mesh[:, 1]], 1
    )
    triangles = Delaunay(unrolled).simplices
    in_mouth = np.array([all(int(i) in _INSIDE_MOUTH for i in triangle) for triangle in triangles])
    middles = unrolled[triangles].mean(axis=1).astype(np.float32)
    outline = unrolled[FACE_OVAL].astype(np.float32)[:, None]
    # Delaunay also fills the hollows of the outline.
    in_face = [cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y in middles]
    return triangles[np.array(in_face) & ~in_mouth].astype(np.int32)


def strip(first: np.ndarray, second: np.ndarray, *, closed: bool) -> np.ndarray:
    """Triangles (N, 3) between two rows of as many points, given by their numbers.

    Args:
      first, second: (K,) numbers of the points.
      closed: the rows are rings: the last points meet the first ones.
    """
    count = len(first)
    here = np.arange(count if closed else count - 1)
    after = (here + 1) % count
    upper = np.stack([first[here], first[after], second[here]], axis=1)
    lower = np.stack([first[after], second[after], second[here]], axis=1)
    return np.concatenate([upper, lower]).astype(np.int32)
