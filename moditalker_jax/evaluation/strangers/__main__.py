"""What a checkpoint makes of strangers: figures of each stage, and contact sheets to look at.

    python -m moditalker_jax.evaluation.strangers --photos PHOTOS --speech SPEECH \
        --recordings RECORDINGS --out report

Photos say the speech files in turn; recordings of talking faces are reconstructed, their mouths
predicted from their sound, and say their own words again. Measure on people that the checkpoint was
not trained on. One that cannot be used is told and left out; the exit status is then 3.

--late FILE names recordings whose sound trails the lips, one "NAME,MILLISECONDS" a line.
--ridge DATA puts ridge regression beside AToM, fitted on the speech of a data set.
"""

import argparse
import csv
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data_pipelines.folds import read_speech_clips
from data_pipelines.prepare.split import list_pictures, list_videos
from moditalker_jax.errors import SOMETHING_LEFT_OUT, InputError, command
from moditalker_jax.evaluation.ridge import RidgeMouth
from moditalker_jax.evaluation.strangers import figures, sheets
from moditalker_jax.generation.command import warnings_on_stderr
from moditalker_jax.generation.pipeline import MoDiTalker
from moditalker_jax.generation.reference import Reference, read_reference
from moditalker_jax.landmarks import frontalize
from moditalker_jax.media.video import read_video_audio
from moditalker_jax.spec import MOUTH

PARTS = ("autoencoder", "atom", "mtov")
_DEMO = Path(__file__).parents[2] / "demo" / "checkpoint"
RIDGE_FRAMES = 12_000
"""Eight minutes: more of one speaker changes little, and takes gigabytes."""
_SOUNDS = frozenset((".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac"))
Rows = dict[str, figures.Figures]


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the figures; returns the exit status."""
    options = _parser().parse_args(arguments)
    pipeline = MoDiTalker.from_checkpoint(options.checkpoint)
    recordings = list_videos(options.recordings) if options.recordings else {}
    photos = list_pictures(options.photos) if options.photos else {}
    stick = _Stick(pipeline, options.out, _late(options.late), _ridge(options.ridge))
    if "autoencoder" in options.parts:
        stick.each("autoencoder", recordings, stick.autoencoder)
    if "atom" in options.parts:
        stick.each("atom", recordings, stick.atom)
    if "mtov" in options.parts:
        voices = itertools.cycle(_sounds(options.speech) if photos else [])
        spoken = {name: (photo, next(voices)) for name, photo in photos.items()}
        stick.each("photos", spoken, stick.photo)
        stick.each("recordings", recordings, stick.recording)
    stick.write()
    return SOMETHING_LEFT_OUT if stick.left_out else 0


class _Stick:
    """Measures one item after the other and keeps figures and strips."""

    def __init__(self, pipeline, out: Path, late: dict[str, float], ridge: RidgeMouth | None):
        self._pipeline, self._out, self._late, self._ridge = pipeline, out, late, ridge
        self._rows: dict[str, Rows] = {}
        self._strips: dict[str, list[np.ndarray]] = {}
        self._name = ""
        self.left_out: list[str] = []

    def each(
        self,
        part: str,
        items: Mapping[str, Any],
        measure: Callable[[str, Any], Iterator[tuple[str, figures.Figures]]],
    ) -> None:
        """Measures items; what one gives goes under the part's name and what it says of the way."""
        self._name = part
        for name, item in tqdm(items.items(), desc=part):
            try:
                for way, row in measure(name, item):
                    self._rows.setdefault(f"{part}{way}", {})[name] = row
            except (InputError, ValueError, ArithmeticError) as error:
                self.left_out.append(f"{part}: {name}: {error}")
                tqdm.write(f"left out: {self.left_out[-1]}", file=sys.stderr)

    def autoencoder(self, _: str, path: Path) -> Iterator[tuple[str, figures.Figures]]:
        """Frames through the autoencoder."""
        made = figures.reconstruct(self._reference(path), self._pipeline.frames)
        self._keep(sheets.strip(made.frames), sheets.strip(made.made))
        yield "", made.figures

    def atom(self, name: str, path: Path) -> Iterator[tuple[str, figures.Figures]]:
        """The mouth from the recording's sound."""
        reference = self._reference(path)
        truth = frontalize(reference.landmarks)[0]
        features = self._pipeline.encoder(self._sound(name, path, len(truth)))
        one, mean = figures.follow_speech(truth, features, self._pipeline.motion)
        yield ", one sample", one
        yield f", mean of {figures.SAMPLES}", mean
        if self._ridge is not None:
            regressed = np.broadcast_to(truth.mean(axis=0), truth.shape).copy()
            regressed[:, list(MOUTH)] += self._ridge(features)
            yield ", ridge regression", figures.motion_figures(regressed, truth)

    def photo(self, name: str, spoken: tuple[Path, Path]) -> Iterator[tuple[str, figures.Figures]]:
        """A photo that says a file."""
        photo, voice = spoken
        video = self._pipeline.generate(voice, photo)
        video.save(self._out / "photos" / f"{name}.mp4")
        self._keep(sheets.strip(video.frames))
        yield "", figures.asked_and_seen(video, self._pipeline.finder)

    def recording(self, name: str, path: Path) -> Iterator[tuple[str, figures.Figures]]:
        """A recording that says its own words."""
        reference = self._reference(path)
        sound = self._sound(name, path, len(reference.frames))
        video = self._pipeline.generate(sound, reference)
        video.save(self._out / "recordings" / f"{name}.mp4")
        self._keep(sheets.strip(reference.frames), sheets.strip(video.frames))
        finder = self._pipeline.finder
        yield "", figures.asked_and_seen(video, finder)
        yield " beside the truth", figures.beside_truth(video, reference, finder)

    def write(self) -> None:
        """Prints the table; writes figures.json and the sheets."""
        print(table(self._rows))
        self._out.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"figures": self._rows, "left_out": self.left_out}, indent=1)
        (self._out / "figures.json").write_text(text + "\n")
        for part, rows in self._strips.items():
            sheets.write_sheets(self._out, part, rows)
        print(f"{self._out}: figures.json and {', '.join(f'{p}_*.png' for p in self._strips)}")

    def _keep(self, *strips: np.ndarray) -> None:
        self._strips.setdefault(self._name, []).extend(strips)

    def _reference(self, path: Path) -> Reference:
        return read_reference(
            path, resolution=self._pipeline.frames.resolution, finder=self._pipeline.finder
        )

    def _sound(self, name: str, path: Path, num_frames: int) -> np.ndarray:
        advance = self._late.get(name, self._late.get(path.name, 0.0)) / 1000
        sound = read_video_audio(path, num_frames, advance=advance)
        if sound is None:
            raise InputError(f"{path}: has no sound; give a recording with its sound")
        return sound


def table(rows: dict[str, Rows]) -> str:
    """Markdown: for each part and way the median and the mean of each figure over the items."""
    lines = [
        "| | items | figure | median | mean | lowest | highest |",
        "|---|---|---|---|---|---|---|",
    ]
    for part, items in rows.items():
        for figure in next(iter(items.values())):
            values = np.array([row[figure] for row in items.values()])
            known = values[np.isfinite(values)]
            numbers = [f(known) for f in (np.median, np.mean, np.min, np.max) if len(known)]
            told = " | ".join(f"{number:.3f}" for number in numbers) or "none | none | none | none"
            lines.append(f"| {part} | {len(known)} | {figure.replace('_', ' ')} | {told} |")
    return "\n".join(lines)


def _late(path: Path | None) -> dict[str, float]:
    if path is None:
        return {}
    try:
        with path.open() as file:
            return {row[0]: float(row[1]) for row in csv.reader(file) if row}
    except (OSError, ValueError, IndexError) as error:
        reason = f"{path}: cannot be read ({error}); write lines of NAME,MILLISECONDS"
        raise InputError(reason) from error


def _ridge(data: Path | None) -> RidgeMouth | None:
    """Fitted on clips drawn at random, as many as have about `RIDGE_FRAMES` frames."""
    if data is None:
        return None
    clips = read_speech_clips(data)
    order = np.random.default_rng(0).permutation(len(clips))
    frames = np.cumsum([len(clips[k].frontal_landmarks) for k in order])
    return RidgeMouth.fit([clips[k] for k in order[: np.searchsorted(frames, RIDGE_FRAMES) + 1]])


def _sounds(paths: Sequence[Path] | None) -> list[Path]:
    found = [
        file
        for path in paths or ()
        for file in (sorted(path.iterdir()) if path.is_dir() else [path])
        if not path.is_dir() or file.suffix.lower() in _SOUNDS
    ]
    if not found:
        raise InputError("--photos need --speech: name files with sound, or a folder of them")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moditalker_jax.evaluation.strangers",
        description="What a checkpoint makes of people that its training never saw.",
    )
    parser.add_argument("--checkpoint", type=Path, default=_DEMO, help="default: what ships")
    parser.add_argument("--photos", type=Path, nargs="+", help="pictures, or folders")
    parser.add_argument("--speech", type=Path, nargs="+", help="sound files, or folders")
    parser.add_argument("--recordings", type=Path, nargs="+", help="videos, or folders")
    parser.add_argument("--late", type=Path, help="CSV: recording, ms by which its sound is late")
    parser.add_argument("--ridge", type=Path, help="data set that ridge regression is fitted on")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    return parser


if __name__ == "__main__":
    with warnings_on_stderr():
        sys.exit(main())
