"""A user study as the paper's (section 5.4, appendix E): its page, and the count of its answers.

    python -m moditalker_jax.evaluation.user_study make --method MoDiTalker=FOLDER \
        --method Wav2Lip=FOLDER --identity FOLDER --out STUDY
    python -m moditalker_jax.evaluation.user_study tally --key STUDY/key.json answers*.json

`make` cuts the same 5 s out of every method's video of a name, for names that all methods have.
STUDY/participants is for the participants: they open index.html, choose, and send back the file of
answers that it makes. STUDY/key.json says which video is whose; they must not get it.
`tally` prints the methods' shares of the votes and writes them beside the key. Exits with 0 if all
files were counted; with 3 if some were not, each told on stderr; with 2 if nothing could be done.
"""

import argparse
import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_pipelines.prepare.split import list_videos
from moditalker_jax.errors import SOMETHING_LEFT_OUT, InputError, command
from moditalker_jax.evaluation.user_study.page import PICTURES, VIDEOS, Item, write_page
from moditalker_jax.evaluation.user_study.votes import Key, Sample, tally, votes_table
from moditalker_jax.flags import at_least
from moditalker_jax.media.audio import SAMPLES_PER_FRAME
from moditalker_jax.media.files import written_aside
from moditalker_jax.media.image import is_image, read_image, write_png
from moditalker_jax.media.video import (
    estimate_frames,
    iterate_frames,
    read_video_audio,
    write_video,
)
from moditalker_jax.spec import FPS

QUESTIONS = {
    "lip_sync": "Which video do you think has the best lip synchronization?",
    "identity": "Which video do you think preserves identity the most?",
    "quality": "Which video do you think has the highest quality?",
}
"""The paper's."""

SECONDS = 5
FRAMES = SECONDS * FPS
PARTICIPANTS, KEY, VOTES = "participants", "key.json", "votes.md"


def make_study(
    methods: Mapping[str, Path],
    out: Path,
    *,
    identity: Path | None = None,
    seed: int = 0,
    samples: int = 15,
) -> Key:
    """Writes a study: `participants` with the page and its videos, and `key.json`.

    The seed fixes samples, segments and the order on the page. Names of files are drawn anew each
    time, so that nobody can reckon them.

    Args:
      methods: folders of videos by the method's name, two or more.
      out: folder to write, new or empty.
      identity: folder of pictures or videos of the persons by the same names; a video's first frame
        is shown. Without it nobody is asked about identity.
      seed: of the draw.
      samples: of each question, each of another name.

    Raises:
      InputError: a folder is missing, there are fewer than `samples` usable names, or `out` cannot
        be written.
    """
    if len(methods) < 2:
        raise InputError("a study compares methods: give --method NAME=FOLDER twice or more")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is not an empty folder; remove it or choose another one")
    videos = {method: list_videos([_folder(path)]) for method, path in methods.items()}
    persons = None if identity is None else _files_by_name(_folder(identity))
    names = set.intersection(*map(set, videos.values()), *([set(persons)] if persons else []))
    rng = np.random.default_rng(seed)
    study = secrets.token_hex(8)
    questions = {name: text for name, text in QUESTIONS.items() if persons or name != "identity"}
    taken: dict[str, Sample] = {}
    pictures: dict[str, str] = {}
    with _written_folder(out) as folder, tqdm(total=samples, unit="sample", desc="cut") as bar:
        page = folder / PARTICIPANTS
        for name in rng.permutation(sorted(names)).tolist():
            if len(taken) == samples:
                break
            label = f"{len(taken) + 1:02d}"
            files = {method: videos[method][name] for method in methods}
            try:
                picture = _first_picture(persons[name]) if persons else None
                taken[label] = _cut(name, files, page / VIDEOS, rng)
            except InputError as error:
                bar.write(f"left out: {name}: {error}", file=sys.stderr)
                continue
            if picture is not None:
                pictures[label] = secrets.token_hex(8)
                write_png(page / PICTURES / f"{pictures[label]}.png", picture)
            bar.update()
        if len(taken) < samples:
            raise InputError(
                f"{len(taken)} names have usable videos of all methods, {samples} are wanted; give "
                "fewer --samples or more videos"
            )
        items = [
            Item(
                question=question,
                sample=label,
                videos=[list(sample.videos)[place] for place in rng.permutation(len(methods))],
                picture=pictures[label] if question == "identity" else None,
            )
            for question in questions
            for label, sample in taken.items()
        ]
        write_page(page, study, questions, items)
        key = Key(study, list(methods), questions, taken)
        key.write(folder / KEY)
    return key


def _cut(name: str, files: Mapping[str, Path], folder: Path, rng: np.random.Generator) -> Sample:
    """Cuts one random segment out of all methods' files; leaves nothing if one is not usable."""
    shortest = min(files.values(), key=estimate_frames)
    room = estimate_frames(shortest) - FRAMES
    if room < 0:
        raise InputError(f"{shortest}: is shorter than {SECONDS} s")
    first = int(rng.integers(room + 1))
    videos = {secrets.token_hex(8): method for method in files}
    paths = {method: folder / f"{video}.mp4" for video, method in videos.items()}
    try:
        # In random order, since the files' times tell the order in which they were written.
        for method in rng.permutation(list(files)).tolist():
            _cut_one(files[method], paths[method], first)
    except InputError:
        for path in paths.values():
            path.unlink(missing_ok=True)
        raise
    return Sample(name, first / FPS, videos)


def _cut_one(source: Path, path: Path, first: int) -> None:
    """Writes `FRAMES` frames of a video from the `first` on, with their sound."""
    sound = read_video_audio(source)
    if sound is None:
        raise InputError(f"{source}: has no sound; give it its sound track")
    frames = list(iterate_frames(source, start=first / FPS, stop=(first + FRAMES) / FPS))
    if len(frames) < FRAMES:
        raise InputError(f"{source}: ends earlier than its header says; save it anew")
    write_video(path, frames, audio=sound[first * SAMPLES_PER_FRAME :])


def _first_picture(path: Path) -> np.ndarray:
    """A picture, or the first one of a video."""
    return read_image(path) if is_image(path) else next(iterate_frames(path))


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"{path}: is not a folder; check the path")
    return path


def _files_by_name(folder: Path) -> dict[str, Path]:
    """Files by their path inside the folder, without the suffix."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if not files:
        raise InputError(f"{folder}: holds no files; name another folder")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in files}


@contextlib.contextmanager
def _written_folder(out: Path) -> Iterator[Path]:
    """Yields a folder that takes the place of `out` when the block succeeds."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as aside:
            folder = Path(aside) / "study"
            folder.mkdir()
            yield folder
            os.replace(folder, out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    if options.step == "make":
        key = make_study(
            _methods(options.method),
            options.out,
            identity=options.identity,
            seed=options.seed,
            samples=options.samples,
        )
        if "identity" not in key.questions:
            print("note: without --identity nobody is asked about identity", file=sys.stderr)
        print(f"for participants: {options.out / PARTICIPANTS}")
        print(f"not for them: {options.out / KEY}")
        return 0
    key = Key.read(options.key)
    votes, left_out = tally(key, options.answers)
    for line in left_out:
        print(f"left out: {line}", file=sys.stderr)
    if not votes.participants:
        raise InputError(f"no answers to the study of {options.key}; the reasons stand above")
    table = votes_table(key, votes)
    with written_aside(options.key.with_name(VOTES)) as aside:
        aside.write_text(table + "\n")
    print(table)
    return SOMETHING_LEFT_OUT if left_out else 0


def _methods(given: Sequence[str]) -> dict[str, Path]:
    """Folders by the method's name."""
    methods: dict[str, Path] = {}
    for text in given:
        name, _, path = text.partition("=")
        if not name or not path or name in methods:
            raise InputError(f"--method {text}: give NAME=FOLDER, each name once")
        methods[name] = Path(path)
    return methods


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moditalker_jax.evaluation.user_study",
        description="A user study: which method's videos do people choose?",
    )
    steps = parser.add_subparsers(dest="step", required=True)
    make = steps.add_parser("make", help="write the page, its videos, and the key")
    make.add_argument(
        "--method",
        action="append",
        required=True,
        metavar="NAME=FOLDER",
        help="a method's videos; give two methods or more",
    )
    make.add_argument(
        "--identity",
        type=Path,
        help="folder of pictures or videos of the persons; without it nobody is asked about them",
    )
    make.add_argument("--out", type=Path, required=True, help="folder to write, new or empty")
    make.add_argument("--seed", type=int, default=0, help="the same seed, the same samples")
    make.add_argument(
        "--samples", type=at_least(1), default=15, help="of each question; default 15"
    )
    count = steps.add_parser("tally", help="count the answers")
    count.add_argument("--key", type=Path, required=True, help="the study's key.json")
    count.add_argument("answers", nargs="+", type=Path, help="the participants' files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
