"""Audio features to frontal landmarks: AToM, window after window (paper sections 4.2 and 4.4)."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from moditalker_jax import spec
from moditalker_jax.checkpoint import TrainedStage
from moditalker_jax.landmark_backends import LandmarkBackend
from moditalker_jax.sampling import sample_motion


@dataclasses.dataclass
class MotionGenerator:
    """AToM, compiled once for one window of `num_frames` frames."""

    atom: TrainedStage

    def __post_init__(self) -> None:
        config = self.atom.config
        self.backend = LandmarkBackend.of(self.atom.data)

        def sample_window(params, audio_features, reference_motion, key):
            return sample_motion(
                self.atom.model,
                params,
                audio_features,
                reference_motion,
                key,
                diffusion=config.diffusion,
                config=config.sampling,
            )

        self._sample_window = jax.jit(sample_window)

    def __call__(
        self,
        audio_features: np.ndarray,
        reference_landmarks: np.ndarray,
        key: jax.Array,
        *,
        on_window: Callable[[int, int], None] = lambda done, total: None,
    ) -> np.ndarray:
        """Landmarks of any length; the last frame of a window is the reference of the next.

        Args:
          audio_features: (S, D) at 50 Hz.
          reference_landmarks: (68, 3) frontal: the face that starts to speak.
          key: typed key; window k uses `fold_in(key, k)`.
          on_window: told the number of windows done and their total.

        Returns:
          Frontal landmarks (S // 2, 68, 3), in the mean face's units.
        """
        mean_face, scale = self.backend.mean_face, self.backend.motion_scale
        reference_motion = scale * (reference_landmarks - mean_face)
        num_frames = audio_features.shape[0] // spec.AUDIO_STEPS_PER_FRAME
        window_frames = self.atom.model.num_frames
        window_steps = window_frames * spec.AUDIO_STEPS_PER_FRAME
        num_windows = -(-num_frames // window_frames)
        missing = num_windows * window_steps - audio_features.shape[0]
        # The last window is filled up with its last sound; what it adds is cut off below.
        padded = np.pad(audio_features, ((0, missing), (0, 0)), mode="edge")
        windows = []
        for index in range(num_windows):
            features = padded[index * window_steps : (index + 1) * window_steps]
            sampled = self._sample_window(
                self.atom.params,
                features[None],
                reference_motion[None],
                jax.random.fold_in(key, index),
            )
            origin = reference_motion if self.atom.config.diffusion.residual else 0.0
            windows.append(origin + np.asarray(sampled[0]))
            reference_motion = windows[-1][-1]
            on_window(index + 1, num_windows)
        return np.concatenate(windows)[:num_frames] / scale + mean_face
