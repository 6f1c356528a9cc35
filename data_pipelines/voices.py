"""A data set's speech in other voices and rooms, for AToM: few speakers stand for many.

    python -m data_pipelines.voices --data data/grid --out data/grid_voices --voices 4

Each recording is said again in voices whose pitch, formants and rate are changed together, as
between a child and a large man, through another equaliser, room and noise; its landmarks keep step.
With --faces they move the mean faces of another data set, so that what a face looks like says
nothing of how it moves. Recordings of one voice are joined to takes of up to 28 s: Whisper hears
30 s at a time, whether they are full or not. The new data set holds motion and sound alone.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import librosa
import numpy as np
from scipy.signal import fftconvolve
from tqdm import tqdm

from data_pipelines.builder import load_metadata, read_clips, split_sizes, write_dataset
from data_pipelines.folds import read_speech_clips
from data_pipelines.records import SAMPLES_PER_FRAME, PreparedClip, pcm16
from moditalker_jax.audio_features import AudioEncoder, encoder_metadata, get_audio_encoder
from moditalker_jax.errors import InputError, command
from moditalker_jax.flags import at_least
from moditalker_jax.spec import AUDIO_SAMPLE_RATE, FPS

TAKE_FRAMES = 28 * FPS


@dataclasses.dataclass(frozen=True)
class Voice:
    """How a recording is said again.

    Attributes:
      speed: times the own rate; pitch and formants rise as much.
      equaliser: gains in dB at `BANDS`.
      room: seconds in which the room's echo falls by 60 dB; 0 for none.
      echo: the echo's energy against the voice's.
      noise_db: of the noise against the voice.
      noise_slope: by which the noise falls, in dB an octave.
    """

    speed: float = 1.0
    equaliser: tuple[float, ...] = (0.0,) * 8
    room: float = 0.0
    echo: float = 0.0
    noise_db: float = -80.0
    noise_slope: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> "Voice":
        """As people's voices, microphones and rooms differ."""
        return cls(
            speed=float(np.exp(rng.uniform(np.log(0.82), np.log(1.35)))),
            equaliser=tuple(np.cumsum(rng.normal(0.0, 2.5, len(BANDS))).tolist()),
            room=float(rng.choice([0.0, rng.uniform(0.1, 0.7)])),
            echo=float(rng.uniform(0.05, 0.5)),
            noise_db=float(rng.uniform(-50.0, -12.0)),
            noise_slope=float(rng.uniform(-6.0, 0.0)),
        )


BANDS = (60.0, 125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
"""Hz at which an equaliser has its gains."""


def say_again(audio: np.ndarray, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """Sound (n,) float32 at 16 kHz in another voice, about n / speed long, as loud as before."""
    if voice.speed != 1.0:
        audio = librosa.resample(
            audio, orig_sr=AUDIO_SAMPLE_RATE, target_sr=AUDIO_SAMPLE_RATE / voice.speed
        )
    loudness = float(np.sqrt(np.mean(np.square(audio)))) + 1e-6
    spectrum = np.fft.rfft(audio)
    frequencies = np.maximum(np.fft.rfftfreq(len(audio), 1 / AUDIO_SAMPLE_RATE), 20.0)
    gains = np.interp(np.log(frequencies), np.log(BANDS), voice.equaliser)
    changed = np.fft.irfft(spectrum * 10 ** (gains / 20), len(audio))
    if voice.room:
        times = np.arange(round(voice.room * AUDIO_SAMPLE_RATE)) / AUDIO_SAMPLE_RATE
        tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / voice.room)
        tail *= np.sqrt(voice.echo / np.sum(np.square(tail)))
        tail[0] += 1.0
        changed = fftconvolve(changed, tail)[: len(audio)]
    changed *= loudness / (float(np.sqrt(np.mean(np.square(changed)))) + 1e-9)
    noise = np.fft.rfft(rng.standard_normal(len(audio)))
    noise = np.fft.irfft(noise * (frequencies / 1000.0) ** (voice.noise_slope / 6.0), len(audio))
    noise *= loudness * 10 ** (voice.noise_db / 20) / np.sqrt(np.mean(np.square(noise)))
    return np.clip(changed + noise, -1.0, 1.0).astype(np.float32)


def stretch(landmarks: np.ndarray, num_frames: int) -> np.ndarray:
    """Landmarks (T, 68, 3) at `num_frames` evenly spaced times, linearly between their own."""
    times = np.linspace(0, len(landmarks) - 1, num_frames)
    before = np.minimum(times.astype(int), len(landmarks) - 2)
    share = (times - before)[:, None, None]
    return ((1 - share) * landmarks[before] + share * landmarks[before + 1]).astype(np.float32)


def takes(
    clips: Sequence[PreparedClip],
    voices: Sequence[Voice],
    encoder: AudioEncoder,
    rng: np.random.Generator,
    name: str,
    *,
    faces: np.ndarray | None = None,
) -> Iterator[PreparedClip]:
    """Joined recordings, one after the other in an order drawn anew, each take in one voice.

    Args:
      clips: the recordings.
      voices: that the takes have in turn.
      encoder: of the audio features.
      rng: of the order, of rooms and noise, and of faces.
      name: that the takes' names begin with.
      faces: (F, 68, 3) frontal mean landmarks of other people; each take wears one of them.
    """
    order = rng.permutation(len(clips))
    position, number = 0, 0
    while position < len(order):
        voice = voices[number % len(voices)]
        sounds, motions, frames = [], [], 0
        while position < len(order):
            clip = clips[order[position]]
            length = round(len(clip) / voice.speed)
            if sounds and frames + length > TAKE_FRAMES:
                break
            sound = say_again(clip.audio.astype(np.float32) / 32768.0, voice, rng)
            samples = length * SAMPLES_PER_FRAME
            sounds.append(np.pad(sound[:samples], (0, max(0, samples - len(sound)))))
            motions.append(stretch(clip.frontal_landmarks, length))
            frames, position = frames + length, position + 1
        audio, motion = np.concatenate(sounds), np.concatenate(motions)
        if faces is not None:
            motion += faces[rng.integers(len(faces))] - motion.mean(axis=0)
        yield PreparedClip(
            name=f"{name}-{number:05d}",
            speaker=clip.speaker,
            frames=np.zeros((0, 0, 0, 3), np.uint8),
            landmarks=np.zeros((0, 68, 3), np.float32),
            frontal_landmarks=motion,
            audio_features=encoder(audio),
            audio=pcm16(audio, len(motion)),
        )
        number += 1


def mean_faces(directory: Path) -> np.ndarray:
    """(F, 68, 3) the mean frontal landmarks of each clip of a data set."""
    return np.stack([c.frontal_landmarks.mean(axis=0) for c in read_speech_clips(directory)])


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    encoder = get_audio_encoder(options.audio_encoder)
    faces = None if options.faces is None else mean_faces(options.faces)
    metadata = load_metadata(options.data)
    sizes = split_sizes(options.data)

    def made(split: str) -> Iterator[PreparedClip]:
        rng = np.random.default_rng([options.seed, len(split)])
        clips = [
            dataclasses.replace(clip, frames=clip.frames[:0], landmarks=clip.landmarks[:0])
            for clip in read_clips(options.data, split)
            if len(clip.audio)
        ]
        if not clips:
            raise InputError(f"{options.data}: split {split!r} has no sound; prepare it with sound")
        seconds = sum(map(len, clips)) / FPS
        rounds = options.voices if split == "train" else 1
        with tqdm(total=round(seconds * rounds), desc=split, unit="s") as bar:
            for round_number in range(rounds):
                worn = faces if split == "train" else None
                own = split != "train" or round_number == 0
                voices = [Voice()] if own else [Voice.random(rng) for _ in range(len(clips))]
                for take in takes(
                    clips, voices, encoder, rng, f"{split}{round_number}", faces=worn
                ):
                    yield take
                    bar.update(round(len(take) / FPS))

    write_dataset(
        options.out,
        {split: made(split) for split in sizes},
        metadata | {"resolution": 0, "audio_encoder": encoder_metadata(encoder)},
        max_clip_frames=TAKE_FRAMES + 5 * FPS,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_pipelines.voices",
        description="A data set's speech in other voices and rooms, for AToM.",
    )
    parser.add_argument("--data", type=Path, required=True, help="shards of clips with sound")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; new or empty")
    parser.add_argument(
        "--voices",
        type=at_least(1),
        default=4,
        help="how often everything is said, the own voice once",
    )
    parser.add_argument("--faces", type=Path, help="data set whose faces speak in training")
    parser.add_argument("--audio-encoder", default="whisper-tiny.en", help="of the audio features")
    parser.add_argument("--seed", type=int, default=0, help="other voices")
    return parser


if __name__ == "__main__":
    sys.exit(main())
