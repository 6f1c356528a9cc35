"""How late the sound of a talking face is, from what the lips do and what is heard.

No trained network: at each candidate offset, the opening of the mouth is predicted by least
squares from the loudness of a few frequency bands and its change. The offset at which that
succeeds best is the estimate.
"""

import dataclasses

import numpy as np

from moditalker_jax.audio_features import LogMel
from moditalker_jax.landmarks import mouth_opening
from moditalker_jax.spec import AUDIO_FEATURE_RATE, AUDIO_STEPS_PER_FRAME

MAX_OFFSET_MS = 320
"""Offsets are sought up to this, to both sides."""
TRUSTED_CONFIDENCE = 0.1
"""Below this, sound and lips have too little to do with each other to tell an offset."""

_STEP_MS = 1000 // AUDIO_FEATURE_RATE
_MAX_STEPS = MAX_OFFSET_MS // _STEP_MS
_BANDS = (slice(4, 16), slice(16, 30), slice(30, 48), slice(48, 80))
"""Mel bands, about 200-700, 700-1700, 1700-3500 and 3500-7600 Hz."""
_TREND_FRAMES = 75
"""What changes more slowly than this is the head's or the expression's, not speech."""


@dataclasses.dataclass(frozen=True)
class SyncEstimate:
    """An estimated offset.

    Attributes:
      offset_ms: by how much the sound trails the lips; negative where it leads.
      confidence: by how much the prediction at that offset is better than at a typical one, as a
        difference of correlations; from 0 to 1.
    """

    offset_ms: float
    confidence: float

    @property
    def is_trusted(self) -> bool:
        """Whether the offset may be acted on."""
        return self.confidence >= TRUSTED_CONFIDENCE


def estimate_offset(frontal_landmarks: np.ndarray, audio: np.ndarray) -> SyncEstimate:
    """Estimates by how much a clip's sound trails its lips.

    Args:
      frontal_landmarks: (T, 68, 3) without head pose, at 25 fps.
      audio: (T * 640,) at 16 kHz, as far as is known in step with them.
    """
    opening = _without_trend(mouth_opening(frontal_landmarks.astype(np.float64)))
    mel = LogMel()(audio)[: AUDIO_STEPS_PER_FRAME * len(opening)]
    heard = np.stack([mel[:, band].mean(axis=1) for band in _BANDS], axis=1)
    heard = np.concatenate([heard, np.gradient(heard, axis=0)], axis=1).astype(np.float64)
    steps = np.arange(-_MAX_STEPS, _MAX_STEPS + 1)
    scores = np.array([_score(opening, heard, step) for step in steps])
    best = int(scores.argmax())
    offset = float(steps[best] + _summit(scores, best)) * _STEP_MS
    confidence = float(scores[best] - np.median(scores))
    return SyncEstimate(offset_ms=offset, confidence=confidence)


def _score(opening: np.ndarray, heard: np.ndarray, step: int) -> float:
    """Correlation of the opening with its prediction from the sound `step` features later."""
    # A frame's middle lies between its two features.
    index = AUDIO_STEPS_PER_FRAME * np.arange(len(opening)) + step
    inside = (index >= 0) & (index + 1 < len(heard))
    if inside.sum() < 2 * (heard.shape[1] + 1):
        return 0.0
    seen, index = opening[inside], index[inside]
    predictors = (heard[index] + heard[index + 1]) / 2
    predictors = np.column_stack([predictors - predictors.mean(axis=0), np.ones(len(seen))])
    weights, *_ = np.linalg.lstsq(predictors, seen, rcond=None)
    rest = np.sum((seen - predictors @ weights) ** 2)
    total = np.sum((seen - seen.mean()) ** 2)
    return float(np.sqrt(max(0.0, 1.0 - rest / total))) if total > 0 else 0.0


def _without_trend(signal: np.ndarray) -> np.ndarray:
    width = min(_TREND_FRAMES, len(signal)) | 1
    padded = np.pad(signal, width // 2, mode="edge")
    return signal - np.convolve(padded, np.full(width, 1.0 / width), mode="valid")


def _summit(scores: np.ndarray, best: int) -> float:
    """Where the parabola through a maximum and its neighbours peaks, in steps from it."""
    if not 0 < best < len(scores) - 1:
        return 0.0
    before, here, after = scores[best - 1 : best + 2]
    bend = before - 2 * here + after
    return float((before - after) / (2 * bend)) if bend < 0 else 0.0
