"""MediaPipe's single-shot face detector (BlazeFace): anchors, decoding, weighted suppression."""

from dataclasses import dataclass

import cv2
import numpy as np

from moditalker_jax.faces.runtime import TfliteNetwork


@dataclass(frozen=True)
class Detection:
    """One detected face, in pixels of the image (x right, y down).

    `box` is (x0, y0, x1, y1), from brows to chin; `keypoints` (6, 2) are the eye on the image's
    left, the other eye, nose tip, mouth centre and the two ears; `score` lies in (0, 1).
    """

    box: np.ndarray
    keypoints: np.ndarray
    score: float

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return float(np.prod(self.box[2:] - self.box[:2]))


@dataclass(frozen=True)
class DetectorSpec:
    """A detector's file and anchor grid: (cells a side, anchors a cell) of each output layer."""

    file_name: str
    grids: tuple[tuple[int, int], ...]
    min_score: float


SHORT_RANGE = DetectorSpec("face_detection_short_range.tflite", ((16, 2), (8, 6)), 0.5)
"""Faces that take at least about a fifth of the picture."""

FULL_RANGE = DetectorSpec("face_detection_full_range_sparse.tflite", ((48, 1),), 0.6)
"""Smaller faces; about three times the time."""


class FaceDetector:
    """Faces of a picture, best score first."""

    def __init__(self, spec: DetectorSpec = SHORT_RANGE, *, num_threads: int = 2):
        self._network = TfliteNetwork(spec.file_name, num_threads=num_threads)
        self._anchors = anchor_centres(spec.grids)
        self._min_score = spec.min_score

    def detect(self, image: np.ndarray) -> list[Detection]:
        """Detections in image (H, W, 3) uint8 RGB."""
        size = self._network.input_size
        canvas, scale, offset = letterbox(image, size)
        regressors, logits = self._network(canvas.astype(np.float32) / 127.5 - 1.0)
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0], -80.0, 80.0)))
        points = decode(regressors, self._anchors, size)
        keep = scores >= self._min_score
        merged = suppress(points[keep], scores[keep])
        return [_detection((points - offset) / scale, score) for points, score in merged]


def anchor_centres(grids: tuple[tuple[int, int], ...]) -> np.ndarray:
    """Anchor centres (A, 2) as (x, y) in [0, 1], row by row, a cell's anchors side by side."""
    layers = []
    for cells, repeats in grids:
        ticks = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(ticks, ticks, indexing="ij")
        layers.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), repeats, axis=0))
    return np.concatenate(layers).astype(np.float32)


def decode(regressors: np.ndarray, anchors: np.ndarray, size: int) -> np.ndarray:
    """Regressors (A, 16) to points (A, 8, 2) in input pixels: two box corners, six keypoints.

    The network gives (centre, width and height, keypoints), all in pixels; the centre and the
    keypoints count from the anchor.
    """
    values = regressors.reshape(-1, 8, 2)
    origin = anchors[:, None] * size
    centre = values[:, :1] + origin
    half = values[:, 1:2] / 2
    return np.concatenate([centre - half, centre + half, values[:, 2:] + origin], axis=1)


def suppress(
    points: np.ndarray, scores: np.ndarray, *, max_overlap: float = 0.3
) -> list[tuple[np.ndarray, float]]:
    """Weighted non-maximum suppression: each cluster of boxes becomes its score-weighted mean.

    points (A, 8, 2) as from `decode`, scores (A,). Averaging the cluster steadies the box from
    frame to frame better than keeping its best member.
    """
    merged = []
    while len(scores):
        best = int(np.argmax(scores))
        same = overlap(points[best, :2], points[:, :2]) > max_overlap
        same[best] = True
        mean = np.average(points[same], axis=0, weights=scores[same])
        merged.append((mean, float(scores[best])))
        points, scores = points[~same], scores[~same]
    return merged


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (A,) of one box (2, 2) of corners with boxes (A, 2, 2)."""
    low = np.maximum(box[0], boxes[:, 0])
    high = np.minimum(box[1], boxes[:, 1])
    shared = np.prod(np.maximum(high - low, 0.0), axis=-1)
    areas = np.prod(boxes[:, 1] - boxes[:, 0], axis=-1)
    union = np.prod(box[1] - box[0]) + areas - shared
    return shared / np.maximum(union, 1e-9)


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, float, np.ndarray]:
    """Image fitted centrally into a black square, with the scale and offset (x, y) applied."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, (new_width, new_height), interpolation=interpolation)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    canvas = np.zeros((size, size, 3), np.uint8)
    canvas[top : top + new_height, left : left + new_width] = small
    return canvas, scale, np.array([left, top], np.float32)


def _detection(points: np.ndarray, score: float) -> Detection:
    return Detection(box=points[:2].reshape(4), keypoints=points[2:], score=score)
