"""Triangles to a sampling map: where each pixel of the picture comes from."""

import numba
import numpy as np


@numba.njit(cache=True)
def rasterize(
    targets: np.ndarray,
    depths: np.ndarray,
    sources: np.ndarray,
    triangles: np.ndarray,
    sampling_map: np.ndarray,
    depth_map: np.ndarray,
) -> None:
    """Draws triangles into a sampling map; nearer ones cover farther ones.

    Args:
      targets: (V, 2) float32, the corners' x and y in pixels of the picture that is made.
      depths: (V,) float32, larger is nearer.
      sources: (V, 2) float32, their x and y in the picture that is sampled.
      triangles: (N, 3) int32 numbers of corners.
      sampling_map: (H, W, 2) float32, drawn into.
      depth_map: (H, W) float32, the depth of what was drawn so far; drawn into.
    """
    height, width = depth_map.shape
    for n in range(len(triangles)):
        a, b, c = triangles[n]
        ax, ay = targets[a, 0], targets[a, 1]
        bx, by = targets[b, 0] - ax, targets[b, 1] - ay
        cx, cy = targets[c, 0] - ax, targets[c, 1] - ay
        area = bx * cy - by * cx
        if abs(area) < 1e-9:
            continue
        left = max(0, int(np.floor(ax + min(0.0, min(bx, cx)) - 0.5)))
        right = min(width - 1, int(np.ceil(ax + max(0.0, max(bx, cx)))))
        top = max(0, int(np.floor(ay + min(0.0, min(by, cy)) - 0.5)))
        bottom = min(height - 1, int(np.ceil(ay + max(0.0, max(by, cy)))))
        for row in range(top, bottom + 1):
            y = row - ay
            for column in range(left, right + 1):
                x = column - ax
                second = (x * cy - y * cx) / area
                third = (bx * y - by * x) / area
                first = 1.0 - second - third
                if first < -1e-4 or second < -1e-4 or third < -1e-4:
                    continue
                depth = first * depths[a] + second * depths[b] + third * depths[c]
                if depth < depth_map[row, column]:
                    continue
                depth_map[row, column] = depth
                for k in range(2):
                    sampling_map[row, column, k] = (
                        first * sources[a, k] + second * sources[b, k] + third * sources[c, k]
                    )
