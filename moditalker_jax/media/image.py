"""Pictures: any common format in, PNG out, always RGB uint8."""

from pathlib import Path

import cv2
import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.media.files import require_file, written_aside

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\x00", b"MM\x00*")


def is_image(path: str | Path) -> bool:
    """Whether a file is a still picture (JPEG, PNG, WebP, BMP or TIFF), told by its first bytes."""
    with require_file(path).open("rb") as file:
        head = file.read(12)
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


def read_image(path: str | Path) -> np.ndarray:
    """Reads a picture, turned upright by its EXIF orientation.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      InputError: missing file, or not a picture.
    """
    data = np.frombuffer(require_file(path).read_bytes(), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path}: not a readable picture; give a JPEG or PNG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Writes (H, W, 3) RGB or (H, W) grey uint8 as PNG; makes the folder.

    Raises:
      InputError: the file cannot be written.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".png", image)
    with written_aside(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
