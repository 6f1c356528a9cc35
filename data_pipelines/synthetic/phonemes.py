"""The sounds of the synthetic language, and random utterances made of them.

Each phoneme carries what the voice needs (formants, voicing, noise) and what the mouth does
(targets in [0, 1] for every articulator). Values follow textbook phonetics: vowel formants of an
adult male in Hz, and the visible classes of speech reading (bilabial, labiodental, rounded, ...).
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Phoneme:
    """One sound.

    Attributes:
      symbol: a short ASCII name.
      formants: first three resonances in Hz.
      voicing: amplitude of the glottal source, 0 to 1.
      noise: amplitude of the turbulent source, 0 to 1.
      noise_band: centre and width of the turbulence in Hz.
      duration: shortest and longest duration in seconds.
      opening: how far the jaw opens, 0 closed to 1 wide.
      spread: lip corners, -1 drawn together to 1 drawn apart.
      rounding: protruded, rounded lips, 0 to 1.
      closure: lips pressed together (m, b, p), 0 to 1.
      tuck: lower lip raised to the upper teeth (f, v), 0 to 1.
      burst: a plosive's release is heard after this fraction of it; 0 for no plosive.
    """

    symbol: str
    formants: tuple[float, float, float]
    voicing: float
    noise: float
    noise_band: tuple[float, float]
    duration: tuple[float, float]
    opening: float
    spread: float = 0.0
    rounding: float = 0.0
    closure: float = 0.0
    tuck: float = 0.0
    burst: float = 0.0


def _vowel(symbol, formants, opening, spread=0.0, rounding=0.0):
    return Phoneme(
        symbol,
        formants,
        voicing=1.0,
        noise=0.01,
        noise_band=(2500, 2000),
        duration=(0.09, 0.18),
        opening=opening,
        spread=spread,
        rounding=rounding,
    )


def _sonorant(symbol, formants, voicing, opening, **lips):
    return Phoneme(symbol, formants, voicing, 0.0, (2500, 2000), (0.06, 0.10), opening, **lips)


def _fricative(symbol, band, noise, voicing, opening, **lips):
    formants = (300, 1500, 2500)
    return Phoneme(symbol, formants, voicing, noise, band, (0.07, 0.12), opening, **lips)


def _plosive(symbol, formants, band, voicing, opening, **lips):
    return Phoneme(symbol, formants, voicing, 0.5, band, (0.06, 0.10), opening, burst=0.6, **lips)


VOWELS = (
    _vowel("a", (750, 1250, 2550), 1.0, spread=0.1),
    _vowel("ae", (680, 1750, 2450), 0.85, spread=0.5),
    _vowel("e", (500, 1900, 2550), 0.55, spread=0.55),
    _vowel("i", (290, 2250, 2950), 0.28, spread=0.95),
    _vowel("er", (480, 1400, 1750), 0.42, rounding=0.25),
    _vowel("o", (480, 850, 2450), 0.62, rounding=0.7),
    _vowel("u", (310, 800, 2300), 0.26, rounding=1.0),
)
CONSONANTS = (
    _sonorant("m", (270, 1000, 2200), 0.45, 0.0, closure=1.0),
    _sonorant("n", (270, 1650, 2600), 0.45, 0.2, spread=0.2),
    _sonorant("l", (360, 1250, 2800), 0.65, 0.35, spread=0.1),
    _sonorant("r", (330, 1150, 1650), 0.65, 0.22, rounding=0.45),
    _sonorant("w", (300, 650, 2250), 0.65, 0.12, rounding=1.0),
    _sonorant("y", (280, 2200, 2950), 0.65, 0.2, spread=0.7),
    _fricative("s", (6000, 2200), 0.55, 0.0, 0.1, spread=0.45),
    _fricative("z", (5800, 2200), 0.35, 0.4, 0.1, spread=0.4),
    _fricative("sh", (3200, 1500), 0.55, 0.0, 0.14, rounding=0.7),
    _fricative("f", (5000, 6000), 0.22, 0.0, 0.08, tuck=1.0),
    _fricative("v", (4500, 6000), 0.10, 0.45, 0.08, tuck=1.0),
    _plosive("p", (350, 900, 2300), (1000, 1800), 0.0, 0.0, closure=1.0),
    _plosive("b", (300, 900, 2300), (900, 1500), 0.30, 0.0, closure=1.0),
    _plosive("t", (350, 1750, 2600), (4500, 3000), 0.0, 0.15, spread=0.2),
    _plosive("d", (300, 1750, 2600), (4000, 3000), 0.30, 0.15, spread=0.2),
    _plosive("k", (350, 1900, 2300), (2200, 1400), 0.0, 0.28),
    _plosive("g", (300, 1900, 2300), (2000, 1400), 0.30, 0.28),
)
SILENCE = Phoneme("_", (500, 1500, 2500), 0.0, 0.0, (2500, 2000), (0.12, 0.5), 0.03)
INVENTORY = {phoneme.symbol: phoneme for phoneme in (*VOWELS, *CONSONANTS, SILENCE)}


@dataclass(frozen=True)
class Segment:
    """One spoken phoneme: its time in seconds, stress (loudness and size) and pitch factors."""

    phoneme: Phoneme
    start: float
    end: float
    stress: float
    pitch_start: float
    pitch_end: float


def _words(rng: np.random.Generator) -> list[Phoneme]:
    """Syllables (consonant, vowel, sometimes a coda) of one pseudo-word."""
    sounds = []
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.92:
            sounds.append(CONSONANTS[rng.integers(len(CONSONANTS))])
        sounds.append(VOWELS[rng.integers(len(VOWELS))])
        if rng.random() < 0.25:
            sounds.append(CONSONANTS[rng.integers(len(CONSONANTS))])
    return sounds


def random_utterance(rng: np.random.Generator, seconds: float, rate: float) -> list[Segment]:
    """Pseudo-words with phrases, stress and falling intonation, exactly `seconds` long.

    Args:
      rng: source of randomness.
      seconds: duration of the whole utterance.
      rate: speed of speech; 1 is normal, larger is faster.
    """
    segments: list[Segment] = []
    now = 0.0

    def say(phoneme, duration, stress, pitch_start, pitch_end):
        nonlocal now
        end = min(now + duration, seconds)
        if end > now:
            segments.append(Segment(phoneme, now, end, stress, pitch_start, pitch_end))
        now = end

    say(SILENCE, rng.uniform(0.08, 0.25), 0.0, 1.0, 1.0)
    while now < seconds:
        words = rng.integers(2, 6)
        for word in range(words):
            base = 1.15 - 0.28 * word / words
            stress = rng.uniform(0.7, 1.1)
            for phoneme in _words(rng):
                accent = rng.uniform(0.94, 1.10)
                say(
                    phoneme,
                    rng.uniform(*phoneme.duration) / rate,
                    stress,
                    base * accent,
                    base * accent * rng.uniform(0.92, 1.02),
                )
            if rng.random() < 0.2:
                say(SILENCE, rng.uniform(0.05, 0.12), 0.0, base, base)
        say(SILENCE, rng.uniform(0.2, 0.5), 0.0, 0.9, 1.0)
    return segments


def sample_track(segments: list[Segment], attribute: str, times: np.ndarray) -> np.ndarray:
    """An attribute of the phoneme spoken at each of `times` (n,): (n,), or (n, k) for tuples."""
    starts = np.array([segment.start for segment in segments])
    index = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(segments) - 1)
    return np.array([getattr(s.phoneme, attribute) for s in segments], dtype=float)[index]
