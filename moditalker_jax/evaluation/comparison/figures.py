"""From what was measured of videos to figures."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.evaluation.comparison.catalogue import (
    FIGURES,
    LMD_SIDE,
    MAX_CUT_FRAMES,
    PSNR_CAP,
)
from moditalker_jax.evaluation.comparison.measures import FACES, LIP_SYNC, LPIPS_NETWORKS
from moditalker_jax.evaluation.comparison.pairs import REAL, LeftOut, Scene
from moditalker_jax.evaluation.comparison.reading import Reading
from moditalker_jax.generation.reference import MAX_MISSING_SHARE
from moditalker_jax.landmarks import frontalize, smooth_landmarks
from moditalker_jax.metrics.continuity import seam_ratio
from moditalker_jax.metrics.frechet import FeatureStatistics, frechet_distance
from moditalker_jax.metrics.identity import csim, identity_drift
from moditalker_jax.metrics.landmarks import (
    has_face,
    lmd,
    mouth_correlation,
    mouth_lag,
    still_mouth_ratio,
)


@dataclasses.dataclass(frozen=True)
class VideoFigures:
    """The figures of one video.

    Attributes:
      video: name of its scene.
      method: whose it is; `REAL` for the real one, compared with itself.
      file: the video.
      real: the real one.
      frames: that both have.
      cut: frames that one has more.
      values: by the keys of `FIGURES`.
    """

    video: str
    method: str
    file: str
    real: str
    frames: int
    cut: int
    values: dict[str, float]


def figures_of_scene(
    scene: Scene, readings: dict[str, Reading], *, clip_frames: int
) -> tuple[list[VideoFigures], list[LeftOut]]:
    """The figures of a scene's videos, the real one's first, and what could not be reckoned.

    Args:
      scene: the videos.
      readings: what `read_scene` gave.
      clip_frames: frames of one clip of a generated video, 0 if it was not made of clips.
    """
    real = readings[REAL]
    if real.unreadable:
        return [], [LeftOut(scene.name, REAL, (), real.unreadable)]
    figures, left_out = [], []
    for method, reading in readings.items():
        reason = reading.unreadable or _length_mismatch(reading, real)
        if reason:
            left_out.append(LeftOut(scene.name, method, (), reason))
            continue
        values, missing = _figures_of_video(reading, real, clip_frames)
        left_out += [LeftOut(scene.name, method, *item) for item in missing]
        lengths = len(reading.landmarks), len(real.landmarks)
        figures.append(
            VideoFigures(
                video=scene.name,
                method=method,
                file=str(reading.path),
                real=str(real.path),
                frames=min(lengths),
                cut=max(lengths) - min(lengths),
                values=values,
            )
        )
    if len(figures) == 1:  # Only the real video is left: there is nothing to set beside it.
        return [], [item for item in left_out if item.method != REAL]
    return figures, left_out


class SetDistances:
    """FID and FVD, gathered video by video: of each method, and of the real videos beside it."""

    _FEATURES = {"fid": ("inception", "features"), "fvd": ("i3d", "logits")}

    def __init__(self) -> None:
        self._statistics: dict[tuple[str, str], tuple[FeatureStatistics, FeatureStatistics]] = {}

    def add(self, method: str, reading: Reading, real: Reading) -> None:
        """Takes in a pair."""
        for key, (part, name) in self._FEATURES.items():
            if part in reading.parts and part in real.parts:
                pair = self._statistics.setdefault(
                    (method, key), (FeatureStatistics(), FeatureStatistics())
                )
                for statistics, one in zip(pair, (reading, real), strict=True):
                    statistics.update(one.parts[part].get(name, np.zeros((0, 0))))

    def reckon(self) -> tuple[dict[str, dict[str, float]], list[LeftOut]]:
        """The distances by method and key, and those that could not be reckoned."""
        distances: dict[str, dict[str, float]] = {}
        left_out = []
        for (method, key), pair in self._statistics.items():
            try:
                distances.setdefault(method, {})[key] = frechet_distance(*pair)
            except ValueError as error:
                message = f"{method}: {error}"
                left_out.append(LeftOut("", method, (FIGURES[key].title,), message))
        return distances, left_out


def _length_mismatch(reading: Reading, real: Reading) -> str | None:
    length, true_length = len(reading.landmarks), len(real.landmarks)
    if abs(length - true_length) <= MAX_CUT_FRAMES:
        return None
    return f"{reading.path}: has {length} frames at 25 fps, {real.path} has {true_length}"


def _figures_of_video(
    reading: Reading, real: Reading, clip_frames: int
) -> tuple[dict[str, float], list[tuple[tuple[str, ...], str]]]:
    """Figures by key; and (titles, message) of those that cannot be reckoned."""
    seams = functools.partial(_seams, clip_frames=clip_frames)
    values: dict[str, float] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for part, keys, reckon in (*_RECKONED, ("changes", ("seam_ratio",), seams)):
        reason = reading.failures.get(part)
        if part in reading.parts:
            try:
                values |= _numbers(reckon(reading, real))
            except InputError as error:
                reason = str(error)
            except ValueError as error:
                reason = f"{reading.path}: {error}"
        if reason:
            left_out.setdefault(reason, ())
            left_out[reason] += tuple(FIGURES[key].title for key in keys)
    return values, [(titles, reason) for reason, titles in left_out.items()]


def _numbers(figures: dict[str, float]) -> dict[str, float]:
    if not np.isfinite(list(figures.values())).all():
        raise ValueError("has too few frames, or too small ones")
    return figures


def _sharpness(reading: Reading, _: Reading) -> dict[str, float]:
    return {"cpbd": float(reading.parts["sharpness"]["cpbd"].mean())}


def _pixels(reading: Reading, _: Reading) -> dict[str, float]:
    arrays = reading.parts["pixels"]
    return {
        "psnr": float(np.minimum(arrays["psnr"], PSNR_CAP).mean()),
        "ssim": float(arrays["ssim"].mean()),
    }


def _perceptual(reading: Reading, _: Reading, *, part: str) -> dict[str, float]:
    return {part: float(reading.parts[part]["lpips"].mean())}


def _face_found(reading: Reading, _: Reading) -> dict[str, float]:
    return {"face_found": float(has_face(reading.landmarks).mean())}


def _landmark_distance(reading: Reading, real: Reading) -> dict[str, float]:
    if reading.mismatch:
        raise InputError(reading.mismatch)
    scale = LMD_SIDE / real.frame_height
    made, truth = _cut(_faces(reading), _faces(real))
    return {"lmd": lmd(scale * made[..., :2], scale * truth[..., :2])}


def _mouth(reading: Reading, real: Reading) -> dict[str, float]:
    made, truth = _cut(_frontal(_faces(reading)), _frontal(_faces(real)))
    correlation = mouth_correlation(made, truth)
    if np.isnan(correlation):
        raise ValueError("its mouth or the real one does not move")
    return {
        "mouth_correlation": correlation,
        "mouth_lag": mouth_lag(made, truth),
        "still_mouth_ratio": still_mouth_ratio(made, truth),
    }


def _drift(reading: Reading, _: Reading) -> dict[str, float]:
    return {"identity_drift": identity_drift(_faces(reading))}


def _identity(reading: Reading, real: Reading) -> dict[str, float]:
    _faces(reading), _faces(real)  # Too few of them are told with their reason.
    made, truth = _cut(*(one.parts["arcface"]["embeddings"] for one in (reading, real)))
    similarity = csim(made, truth)
    return {"csim": float(np.nanmean(similarity))}


def _lip_sync(reading: Reading, _: Reading) -> dict[str, float]:
    arrays = reading.parts[LIP_SYNC]
    return {"lse_d": float(arrays["distance"]), "lse_c": float(arrays["confidence"])}


def _seams(reading: Reading, _: Reading, *, clip_frames: int) -> dict[str, float]:
    """Nothing for a video without seams."""
    changes = reading.parts["changes"]["changes"]
    seams = range(clip_frames, len(changes) + 1, clip_frames) if clip_frames else ()
    return {"seam_ratio": seam_ratio(changes, seams)} if seams else {}


_RECKONED: tuple[tuple[str, tuple[str, ...], Callable[..., dict[str, float]]], ...] = (
    ("sharpness", ("cpbd",), _sharpness),
    ("pixels", ("psnr", "ssim"), _pixels),
    *(
        (part, (part,), functools.partial(_perceptual, part=part))
        for part in (f"lpips_{network}" for network in LPIPS_NETWORKS)
    ),
    (FACES, ("face_found",), _face_found),
    (FACES, ("lmd",), _landmark_distance),
    (FACES, ("mouth_correlation", "mouth_lag", "still_mouth_ratio"), _mouth),
    (FACES, ("identity_drift",), _drift),
    ("arcface", ("csim",), _identity),
    (LIP_SYNC, ("lse_d", "lse_c"), _lip_sync),
)
"""Part of the reading that is needed, the figures' keys, and the function that has them."""


def _faces(reading: Reading) -> np.ndarray:
    """Smoothed landmarks (T, 68, 3) of a video in which a face is seen nearly throughout."""
    missing = int((~has_face(reading.landmarks)).sum())
    if missing > MAX_MISSING_SHARE * len(reading.landmarks):
        raise InputError(f"{reading.path}: no face in {missing} of {len(reading.landmarks)} frames")
    return smooth_landmarks(reading.landmarks)


def _frontal(landmarks: np.ndarray) -> np.ndarray:
    """Faces turned to the front (T, 68, 3), NaN where there is none."""
    found = has_face(landmarks)
    frontal = np.full_like(landmarks, np.nan)
    frontal[found] = frontalize(landmarks[found])[0]
    return frontal


def _cut(made: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both to the shorter one's length."""
    length = min(len(made), len(truth))
    return made[:length], truth[:length]
