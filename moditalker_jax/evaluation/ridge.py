"""Ridge regression from sound to mouth: what a linear look at the audio features knows of lips."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from data_pipelines.folds import SpeechClip
from moditalker_jax import spec

CONTEXT_FRAMES = 3
"""Frames of sound before and after the one that is predicted."""

PENALTIES = tuple(10.0**power for power in range(2, 7))
"""Among these the one is taken that predicts held-out training speakers best."""
SPEAKER_GROUPS = 3
"""Groups of training speakers that the penalty is chosen with."""

_MOUTH = list(spec.MOUTH)


def context(audio_features: np.ndarray) -> np.ndarray:
    """Features (2T, D) as (T, 14 D): all steps of each frame and of `CONTEXT_FRAMES` around it."""
    frames = audio_features.reshape(len(audio_features) // spec.AUDIO_STEPS_PER_FRAME, -1)
    padded = np.pad(frames, ((CONTEXT_FRAMES, CONTEXT_FRAMES), (0, 0)), mode="edge")
    shifts = range(2 * CONTEXT_FRAMES + 1)
    return np.concatenate([padded[k : k + len(frames)] for k in shifts], axis=1)


@dataclasses.dataclass
class RidgeMouth:
    """Predicts how the mouth's landmarks differ from their mean over the recording."""

    model: GridSearchCV

    @classmethod
    def fit(cls, clips: Sequence[SpeechClip]) -> "RidgeMouth":
        """Fits recordings of several speakers."""
        inputs = np.concatenate([context(clip.audio_features) for clip in clips])
        targets = np.concatenate([mouth_motion(clip.frontal_landmarks) for clip in clips])
        speakers = sorted({clip.speaker for clip in clips})
        groups = np.concatenate(
            [
                np.full(len(clip.frontal_landmarks), speakers.index(clip.speaker) % SPEAKER_GROUPS)
                for clip in clips
            ]
        )
        search = GridSearchCV(
            make_pipeline(StandardScaler(), Ridge()),
            {"ridge__alpha": PENALTIES},
            scoring="neg_mean_squared_error",
            cv=LeaveOneGroupOut(),
        )
        return cls(search.fit(inputs, targets, groups=groups))

    def __call__(self, audio_features: np.ndarray) -> np.ndarray:
        """Mouth motion (T, 20, 3) for features (2T, D), in the training landmarks' units."""
        return self.model.predict(context(audio_features)).reshape(-1, len(_MOUTH), 3)


def mouth_motion(frontal_landmarks: np.ndarray) -> np.ndarray:
    """(T, 60): what differs in the mouth's landmarks from their mean over time."""
    mouth = frontal_landmarks[:, _MOUTH]
    return (mouth - mouth.mean(axis=0)).reshape(len(mouth), -1)
