"""The still layers of a person, painted once: backdrop, body, and the head seen from the front.

The head is shaded from the normals of its surface, so that nose, sockets and cheeks come out of
the same geometry that turns in 3D. Lips and eyes move and are drawn by `render`.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from data_pipelines.synthetic.easel import SIZE, Easel, mirrored, spline, spline_open
from data_pipelines.synthetic.head import VIEW, Head, get_head, personal
from data_pipelines.synthetic.speakers import Speaker, get_speaker

_LIGHT = np.array([-0.42, -0.52, 0.74])
_FILL = np.array([0.75, -0.1, 0.65])


@dataclass(frozen=True)
class Portrait:
    """Layers of size x size pixels over the view.

    `backdrop` (H, W, 3) uint8; `body` and `head` (H, W, 4) uint8, RGB multiplied by alpha.
    """

    backdrop: np.ndarray
    body: np.ndarray
    head: np.ndarray


def _shading(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """Diffuse light around 1 and gloss in [0, 1] of the head's surface."""
    surface = cv2.resize(
        cv2.GaussianBlur(head.surface, (0, 0), 1.5), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
    )
    surface = cv2.GaussianBlur(surface.astype(np.float64), (0, 0), 5)
    step = VIEW / SIZE
    slope_y, slope_x = np.gradient(surface, step)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(slope_x) * 0.9], axis=2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    light, fill = _LIGHT / np.linalg.norm(_LIGHT), _FILL / np.linalg.norm(_FILL)
    key = np.clip((normal @ light + 0.25) / 1.25, 0, 1)
    diffuse = 0.36 + 0.72 * key + 0.16 * np.clip(normal @ fill, 0, 1)
    half = light + np.array([0, 0, 1.0])
    gloss = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 24
    return diffuse, gloss


def _strands(rng, easel: Easel, centre, scale: float) -> np.ndarray:
    """Hair-like streaks around 0 that run away from `centre`."""
    angle = np.arctan2(easel.x - centre[0], -(easel.y - centre[1]))
    radius = np.hypot(easel.x - centre[0], easel.y - centre[1])
    noise = rng.standard_normal((64, int(220 * scale)))
    noise = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=7)
    noise /= noise.std()
    u = (angle / (2 * np.pi) + 0.5) * (noise.shape[1] - 1) + 3 * np.sin(radius * 3)
    v = radius / 3.5 * (noise.shape[0] - 1)
    return cv2.remap(
        noise,
        u.astype(np.float32),
        v.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def _hair_colour(easel: Easel, speaker: Speaker, rng, centre) -> np.ndarray:
    streaks = _strands(rng, easel, centre, 1.0) * 0.13 + _strands(rng, easel, centre, 3.0) * 0.08
    sheen = 0.35 * easel.glow((-0.35, -1.35), (0.5, 0.16)) + 0.18 * easel.glow(
        (0.55, -1.3), (0.35, 0.14)
    )
    light = 0.92 - 0.25 * np.clip(easel.x / 1.3, -0.4, 1) - 0.12 * np.clip(easel.y, -1, 1.5)
    return (
        speaker.hair[None, None] * (light + streaks)[..., None]
        + 120 * (sheen * (1 + 2 * streaks))[..., None]
    )


# Left-half outlines: of the hair as a whole, from the crown down, and of the hairline.
_HAIR_BACK = {
    "crop": [
        (0, -1.62), (-0.55, -1.52), (-0.95, -1.12), (-1.07, -0.55), (-1.02, -0.15), (-0.6, -0.2),
    ],
    "short": [
        (0, -1.78), (-0.62, -1.68), (-1.06, -1.25), (-1.17, -0.6), (-1.08, 0.02), (-0.6, 0.0),
    ],
    "long": [
        (0, -1.76), (-0.65, -1.66), (-1.15, -1.2), (-1.34, -0.4), (-1.36, 0.6), (-1.42, 1.5),
        (-1.2, 1.85), (-0.9, 1.6), (-0.8, 1.0), (-0.6, 0.0),
    ],
}  # fmt: skip
_HAIRLINE = {
    "crop": [
        (0, -1.16), (-0.42, -1.15), (-0.66, -1.06), (-0.80, -0.86), (-0.90, -0.6), (-0.99, -0.3),
    ],
    "short": [
        (0, -1.24), (-0.36, -1.18), (-0.62, -1.1), (-0.79, -0.94), (-0.88, -0.62), (-0.95, -0.3),
        (-1.01, 0.0),
    ],
    "long": [
        (0, -1.22), (-0.30, -1.08), (-0.62, -0.86), (-0.86, -0.55), (-0.97, -0.15), (-1.02, 0.5),
    ],
}  # fmt: skip


def _skin_outline(head: Head, speaker: Speaker) -> np.ndarray:
    jaw = head.rest[0:17, :2] * [1.015, 1.0] + [0, 0.012]
    brow = personal(np.array([(0.9, -0.95, 0), (0.5, -1.4, 0), (0, -1.5, 0)]), speaker)[:, :2]
    return spline(np.concatenate([jaw, brow, brow[1::-1] * [-1, 1]]))


def _paint_ears(easel: Easel, skin: np.ndarray, height: float) -> None:
    for side in (-1, 1):
        ear = easel.ellipse((side * 1.06, -0.02 * height), (0.125, 0.30), -0.12 * side, 0.12)
        easel.lay(skin * (0.86 if side < 0 else 0.72), ear)
        easel.darken(0.35 * easel.ellipse((side * 1.075, -0.03), (0.065, 0.19), -0.12 * side, 0.8))


def _paint_skin(easel: Easel, head: Head, speaker: Speaker, rng) -> None:
    diffuse, gloss = _shading(head)
    mask = easel.polygon(_skin_outline(head, speaker), 0.012)
    mottle = sum(
        weight
        * cv2.resize(rng.standard_normal((n, n)), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
        for n, weight in ((24, 0.010), (80, 0.008), (220, 0.008))
    )
    shade = np.clip(diffuse + mottle, 0, 1.5)[..., None] ** np.array([0.85, 1.0, 1.1])
    easel.lay(speaker.skin * shade + 60 * (0.7 * gloss)[..., None], mask)


def _paint_features(easel: Easel, head: Head, speaker: Speaker) -> None:
    """Colour and soft shadows of cheeks, sockets, nose, mouth and chin."""
    rest = head.rest
    warm = np.clip(speaker.skin * [1.0, 0.80, 0.78] + [4, 0, 0], 0, 255)
    nose, chin = rest[30], rest[8]
    for side, eye, wing, corner in (
        (-1, rest[36:42], rest[31], rest[48]),
        (1, rest[42:48], rest[35], rest[54]),
    ):
        middle = eye.mean(axis=0)
        easel.tint(warm, 0.25 * easel.glow((side * 0.62, 0.22), (0.24, 0.18)))
        easel.darken(0.26 * easel.glow((middle[0] - side * 0.06, middle[1] - 0.075), (0.24, 0.06)))
        easel.darken(0.22 * easel.glow((side * 0.20, middle[1] - 0.02), (0.06, 0.12)))
        easel.darken(0.12 * easel.glow((middle[0], middle[1] + 0.15), (0.20, 0.04)))
        easel.darken(0.16 * easel.glow((wing[0] - side * -0.075, wing[1] - 0.03), (0.025, 0.08)))
        nostril = easel.ellipse((side * 0.092, wing[1] + 0.012), (0.062, 0.028), -0.35 * side, 0.6)
        easel.darken(0.72 * nostril)
        fold = easel.ellipse(
            (side * 0.37, 0.5 * (wing[1] + corner[1]) - 0.06), (0.05, 0.21), -0.45 * side, 2
        )
        easel.darken(0.07 * fold**2)
        easel.darken(0.10 * easel.glow((corner[0] + side * 0.04, corner[1]), (0.045, 0.05)))
    easel.darken(0.20 * easel.glow((0, nose[1] + 0.145), (0.15, 0.035)))
    easel.tint(
        np.clip(speaker.skin * 1.22 + 14, 0, 255),
        0.35 * easel.glow((-0.02, nose[1] - 0.12), (0.07, 0.06)),
    )
    easel.tint(
        np.clip(speaker.skin * 1.18 + 10, 0, 255),
        0.22 * easel.glow((-0.02, nose[1] - 0.37), (0.035, 0.22)),
    )
    easel.darken(0.10 * easel.glow((0, 0.45), (0.03, 0.06)))
    easel.darken(0.24 * easel.glow((0, rest[57][1] + 0.075), (0.19, 0.035)))
    easel.tint(
        np.clip(speaker.skin * 1.12 + 6, 0, 255),
        0.2 * easel.glow((-0.03, chin[1] - 0.22), (0.15, 0.1)),
    )
    if speaker.hair_style != "long":
        beard = easel.glow((0, 1.05), (0.55, 0.26)) * (1 - 0.8 * easel.glow((0, 0.7), (0.4, 0.17)))
        easel.tint(0.5 * speaker.skin + 0.35 * speaker.hair, 0.20 * beard)


def _paint_brows(easel: Easel, head: Head, speaker: Speaker, rng) -> None:
    thick = 0.062 if speaker.hair_style != "long" else 0.046
    for brow in (head.rest[17:22], head.rest[26:21:-1]):
        dense = spline(brow[:, :2], 10)[:41]
        taper = (
            thick
            * np.interp(np.linspace(0, 1, 41), [0, 0.35, 0.9, 1], [0.15, 0.8, 1.0, 0.8])[:, None]
        )
        ring = np.concatenate([dense - [0, 0.5] * taper, (dense + [0, 0.6] * taper)[::-1]])
        mask = easel.polygon(ring, 0.012)
        hairs = 0.9 + 0.1 * np.clip(_strands(rng, easel, (brow[4][0], 0.6), 1.5), -1, 1)
        easel.tint(speaker.hair * 0.62, 0.85 * mask * hairs)


def _paint_hair_front(easel: Easel, speaker: Speaker, hair: np.ndarray, rng) -> None:
    style = speaker.hair_style
    top = np.array(_HAIR_BACK[style][:5])
    line = np.array(_HAIRLINE[style])
    outer = top[: 5 if style == "long" else 4]
    side = np.array([[min(outer[-1][0], line[-1][0]) - 0.05, line[-1][1] + 0.04]])
    left = np.concatenate([spline_open(outer), side, spline_open(line)[::-1]])
    across = [[0.02, 0], [0.02, 0]]
    left[[0, -1]] = np.maximum(
        left[[0, -1]], np.array(across) + [[0, left[0, 1]], [0, left[-1, 1]]]
    )
    mask = np.maximum(easel.polygon(left), easel.polygon(left * [-1, 1]))
    mask = _ragged(easel, mask, rng)
    if style == "long":
        mask *= np.clip((0.55 - easel.y) / 0.6, 0, 1)
    easel.darken(0.30 * easel.blur(mask, 0.07) * (1 - mask))
    easel.lay(hair, mask)


def _ragged(easel: Easel, mask: np.ndarray, rng) -> np.ndarray:
    """The mask with its edge broken up into tufts."""
    tufts = _strands(rng, easel, (0.2, -2.3), 1.6)
    soft = easel.blur(mask, 0.03)
    edge = 4 * soft * (1 - soft)
    return np.clip((soft - 0.5 + 0.16 * edge * tufts) * 4 + 0.5, 0, 1)


def _paint_head(number: int, size: int) -> np.ndarray:
    speaker, head = get_speaker(number), get_head(number)
    rng = np.random.default_rng([11, number])
    easel = Easel()
    hair = np.clip(_hair_colour(easel, speaker, rng, (0.2, -2.3)), 0, 255)
    back = _ragged(easel, easel.polygon(spline(mirrored(_HAIR_BACK[speaker.hair_style]))), rng)
    inner = np.clip((np.abs(easel.x) - 0.85) / 0.4, 0, 1)
    easel.lay(hair * (0.45 + 0.45 * inner)[..., None], back)
    if speaker.hair_style != "long":
        _paint_ears(easel, speaker.skin, speaker.shape["height"])
    _paint_skin(easel, head, speaker, rng)
    _paint_features(easel, head, speaker)
    _paint_brows(easel, head, speaker, rng)
    _paint_hair_front(easel, speaker, hair, rng)
    return easel.layer(size)


def _paint_body(speaker: Speaker, size: int) -> np.ndarray:
    easel = Easel()
    rng = np.random.default_rng([12, speaker.number])
    easel.lay(
        speaker.skin,
        easel.polygon(mirrored([(0, 0.7), (-0.62, 0.7), (-0.62, 1.35), (-0.78, 1.75), (0, 2.1)])),
    )
    curve = 0.82 - 0.35 * np.clip(np.abs(easel.x + 0.12) / 0.7, 0, 1) ** 2
    shadow = np.clip((1.78 - easel.y) / 0.5, 0, 1) * 0.5
    easel.colour *= (curve * (1 - shadow))[..., None] ** np.array([0.85, 1.0, 1.1])
    shoulders = [
        (0, 1.98),
        (-0.42, 1.78),
        (-0.72, 1.56),
        (-1.2, 1.68),
        (-1.75, 1.86),
        (-2.3, 2.15),
        (0, 2.6),
    ]
    cloth = easel.polygon(mirrored(shoulders), 0.012)
    folds = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)), (0, 0), sigmaX=10, sigmaY=30)
    light = 0.95 - 0.22 * np.clip(easel.x / 1.6, -0.6, 1) + 0.06 * folds / folds.std()
    easel.darken(0.3 * easel.blur(cloth, 0.06) * (1 - cloth))
    easel.lay(speaker.clothes * light[..., None], cloth)
    return easel.layer(size)


def _paint_backdrop(speaker: Speaker, size: int) -> np.ndarray:
    """A soft gradient with large lights out of focus."""
    rng = np.random.default_rng([13, speaker.number])
    easel = Easel()
    light = 1.08 - 0.16 * easel.x / 2 - 0.20 * easel.y / 2
    easel.lay(speaker.backdrop * light[..., None], np.ones_like(light))
    for _ in range(16):
        centre = rng.uniform(-2, 2, size=2) * [1, 0.8]
        spot = easel.ellipse(centre, np.full(2, rng.uniform(0.12, 0.45)), 0.0, 0.15)
        easel.tint(
            speaker.backdrop * rng.uniform(0.7, 1.35) * rng.uniform(0.92, 1.08, size=3), 0.4 * spot
        )
    easel.colour = easel.blur(easel.colour, 0.05)
    return easel.layer(size)[..., :3].copy()


@lru_cache(maxsize=16)
def get_portrait(number: int, size: int) -> Portrait:
    """The layers of the speaker with this number (cached; about a second to paint)."""
    speaker = get_speaker(number)
    return Portrait(
        backdrop=_paint_backdrop(speaker, size),
        body=_paint_body(speaker, size),
        head=_paint_head(number, size),
    )
