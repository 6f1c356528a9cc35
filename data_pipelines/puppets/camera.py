"""What cameras do to pictures: white balance, exposure, contrast, blur, noise and compression."""

import dataclasses

import cv2
import numpy as np


@dataclasses.dataclass(frozen=True)
class Camera:
    """One camera, the same for all frames of a clip.

    Attributes:
      gains: (3,) of red, green and blue.
      gamma: above 1 darkens the middle tones.
      slope: (2,) by how much light changes across the picture, to the right and downwards.
      blur: standard deviation in pixels.
      noise: standard deviation in levels of 255.
      quality: of JPEG, 1 to 100.
    """

    gains: np.ndarray
    gamma: float
    slope: np.ndarray
    blur: float
    noise: float
    quality: int

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Camera":
        """As people's cameras differ."""
        return cls(
            gains=np.exp(rng.normal(0.0, 0.12) + rng.normal(0.0, 0.06, 3)),
            gamma=float(np.exp(rng.normal(0.0, 0.18))),
            slope=rng.normal(0.0, 0.12, 2),
            blur=float(max(0.0, rng.normal(0.1, 0.35))),
            noise=float(rng.uniform(0.0, 2.5)),
            quality=int(rng.integers(60, 99)),
        )

    def __call__(self, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Frames uint8 (T, R, R, 3) RGB as this camera shows them."""
        side = frames.shape[1]
        across = np.linspace(-1.0, 1.0, side, dtype=np.float32)
        light = 1.0 + self.slope[0] * across[None, :] + self.slope[1] * across[:, None]
        gain = (light[..., None] * self.gains).astype(np.float32)  # (R, R, 3)
        return np.stack([self._expose(frame, gain, rng) for frame in frames])

    def _expose(self, frame: np.ndarray, gain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        levels = np.power(np.arange(256, dtype=np.float32) / 255.0, self.gamma)
        picture = levels[frame] * gain
        if self.blur > 0.15:
            picture = cv2.GaussianBlur(picture, (0, 0), self.blur)
        # Bright parts bend towards white in place of being cut off, as cameras' curves do.
        picture = np.where(picture > 0.8, 0.8 + 0.2 * np.tanh((picture - 0.8) / 0.2), picture)
        picture = picture * 255.0
        if self.noise > 0.2:
            noise = rng.standard_normal(picture.shape, np.float32)
            picture += self.noise * noise
        pixels = np.clip(np.round(picture), 0, 255).astype(np.uint8)
        quality = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        return cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_UNCHANGED)
