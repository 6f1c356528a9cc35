"""Who is speaking: voice, face shape and colours, all drawn from the speaker's number.

The first speakers come from hand-picked palettes so that a small set is varied; later numbers mix
the palettes at random.
"""

from dataclasses import dataclass

import numpy as np

_SKIN = (
    (226, 184, 158),
    (141, 94, 68),
    (240, 205, 183),
    (198, 148, 112),
    (104, 70, 52),
    (214, 166, 134),
)
_HAIR = ((74, 48, 32), (28, 22, 20), (196, 152, 92), (44, 32, 28), (22, 19, 20), (128, 62, 36))
_EYES = ((88, 110, 92), (62, 38, 24), (84, 122, 152), (92, 62, 36), (52, 34, 24), (108, 124, 104))
_LIPS = (
    (196, 104, 100),
    (140, 72, 66),
    (204, 112, 112),
    (176, 88, 80),
    (122, 62, 58),
    (190, 92, 94),
)
_CLOTHES = ((44, 58, 92), (150, 64, 58), (64, 96, 84), (56, 56, 60), (196, 184, 164), (92, 62, 106))
_BACKDROPS = (
    (98, 116, 128),
    (150, 138, 116),
    (92, 118, 104),
    (134, 112, 128),
    (86, 98, 130),
    (146, 124, 104),
)
_STYLES = ("short", "short", "long", "short", "crop", "long")


@dataclass(frozen=True)
class Speaker:
    """One person. Colours are RGB in [0, 255]; shape factors multiply the mean face's measures.

    Attributes:
      number: the speaker's number, which seeds everything else about them.
      pitch: base frequency of the voice in Hz.
      formant_scale: resonances relative to an adult male's.
      rate: speed of speech.
      hair_style: "short", "long" or "crop".
      shape: face measures (height, jaw, eye_size, eye_gap, nose, mouth, chin, brow).
    """

    number: int
    pitch: float
    formant_scale: float
    rate: float
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lips: np.ndarray
    clothes: np.ndarray
    backdrop: np.ndarray
    hair_style: str
    shape: dict[str, float]


def get_speaker(number: int) -> Speaker:
    """The person with this number (0 or larger); the same number is always the same person."""
    rng = np.random.default_rng([20240319, number])

    def pick(palette):
        index = number if number < len(palette) else rng.integers(len(palette))
        colour = np.asarray(palette[index], dtype=float)
        return np.clip(colour * rng.uniform(0.96, 1.04, size=3), 0, 255)

    style = _STYLES[number] if number < len(_STYLES) else str(rng.choice(_STYLES))
    high_voice = style == "long"
    spread = {"height": 0.04, "jaw": 0.06, "eye_size": 0.06, "eye_gap": 0.03, "nose": 0.05}
    spread |= {"mouth": 0.06, "chin": 0.04, "brow": 0.04}
    shape = {name: 1 + rng.uniform(-width, width) for name, width in spread.items()}
    if high_voice:
        shape["jaw"] -= 0.04
    return Speaker(
        number=number,
        pitch=rng.uniform(175, 225) if high_voice else rng.uniform(95, 140),
        formant_scale=rng.uniform(1.1, 1.2) if high_voice else rng.uniform(0.95, 1.05),
        rate=rng.uniform(0.9, 1.1),
        skin=pick(_SKIN),
        hair=pick(_HAIR),
        iris=pick(_EYES),
        lips=pick(_LIPS),
        clothes=pick(_CLOTHES),
        backdrop=pick(_BACKDROPS),
        hair_style=style,
        shape=shape,
    )
