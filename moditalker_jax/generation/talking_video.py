"""What generation returns: frames and sound that can be saved, and seen in a notebook."""

import base64
import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from moditalker_jax import spec
from moditalker_jax.media.video import write_video


@dataclasses.dataclass(frozen=True)
class TalkingVideo:
    """A generated video.

    Attributes:
      frames: uint8 (T, H, W, 3) at 25 fps.
      audio: float32 (n,) at 16 kHz.
      frontal_landmarks: (T, 68, 3) from AToM, in the mean face's units (x right, y up).
      landmarks: (T, 68, 3) aligned to each reference frame, in units of the frame's width.
    """

    frames: np.ndarray
    audio: np.ndarray
    frontal_landmarks: np.ndarray
    landmarks: np.ndarray

    def save(self, path: str | Path) -> Path:
        """Writes an mp4 (h264 and aac), aside first.

        Raises:
          InputError: the folder cannot be written.
        """
        write_video(path, self.frames, fps=spec.FPS, audio=self.audio)
        return Path(path)

    def _repr_html_(self) -> str:
        """The video itself, as notebooks show it."""
        with tempfile.TemporaryDirectory() as folder:
            data = base64.b64encode(self.save(Path(folder) / "video.mp4").read_bytes()).decode()
        return f'<video controls src="data:video/mp4;base64,{data}"></video>'
