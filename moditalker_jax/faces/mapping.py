"""The 68 landmarks of the mesh's 468 points.

The common 68-point scheme marks some places between mesh vertices: the jaw is spaced evenly from
eye level to the chin, brows run along their middle, the nose tip and the base of the nose sit
lower than the nearest vertex. There a landmark is a blend of two vertices; it stays linear, so
that motion and depth blend with the position.
"""

import numpy as np

from moditalker_jax.spec import NUM_LANDMARKS

NUM_MESH_POINTS = 468

# One entry for each landmark: a vertex, or (vertex, vertex, share of the second).
_JAW = [
    (162, 127, 0.5),
    (127, 234, 0.7),
    93,
    (132, 58, 0.2),
    (58, 172, 0.4),
    (172, 136, 0.85),
    (150, 149, 0.5),
    (176, 148, 0.4),
    152,
    (400, 377, 0.4),
    (379, 378, 0.5),
    (397, 365, 0.85),
    (288, 397, 0.4),
    (361, 288, 0.2),
    323,
    (356, 454, 0.7),
    (389, 356, 0.5),
]
_BROWS = [
    (71, 70, 0.5),
    63,
    (105, 66, 0.4),
    (66, 107, 0.5),
    (107, 55, 0.5),
    (336, 285, 0.5),
    (296, 336, 0.5),
    (334, 296, 0.4),
    293,
    (301, 300, 0.5),
]
_NOSE = [
    (168, 6, 0.5),
    (197, 195, 0.5),
    (5, 4, 0.35),
    (4, 1, 0.75),
    (75, 98, 0.5),
    97,
    (2, 164, 0.5),
    326,
    (305, 327, 0.5),
]
_EYES = [33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380]
_OUTER_LIPS = [61, 39, 37, 0, 267, 269, 291, (405, 321, 0.5), 314, 17, 84, (181, 91, 0.5)]
_INNER_LIPS = [
    78,
    (82, 81, 0.35),
    13,
    (312, 311, 0.35),
    308,
    (317, 402, 0.35),
    14,
    (87, 178, 0.35),
]


def _blend_table() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (68, 2) and the share (68, 1) of the second one."""
    entries = _JAW + _BROWS + _NOSE + _EYES + _OUTER_LIPS + _INNER_LIPS
    full = [entry if isinstance(entry, tuple) else (entry, entry, 0.0) for entry in entries]
    vertices = np.array([[first, second] for first, second, _ in full])
    shares = np.array([[share] for _, _, share in full], np.float32)
    assert len(vertices) == NUM_LANDMARKS
    return vertices, shares


_VERTICES, _SHARES = _blend_table()


def landmarks_from_mesh(mesh: np.ndarray) -> np.ndarray:
    """The 68 landmarks (..., 68, 3) of meshes (..., 468, 3), in the mesh's unit and axes."""
    first, second = mesh[..., _VERTICES[:, 0], :], mesh[..., _VERTICES[:, 1], :]
    return first + _SHARES * (second - first)
