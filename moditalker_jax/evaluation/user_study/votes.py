"""What participants of a user study chose: reading their files, and the methods' shares."""

import collections
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from scipy.stats import binomtest

from moditalker_jax.errors import InputError
from moditalker_jax.media.files import require_file, written_aside

LARGEST_ANSWERS = 1_000_000
"""Bytes; the files that the page makes have some thousands."""

_ADVICE = "ask for the file that the page makes"


@dataclasses.dataclass(frozen=True)
class Sample:
    """The same seconds of every method's video.

    Attributes:
      name: of the videos.
      start: where the segment begins, in seconds.
      videos: the method of each video on the page, by the video's name there.
    """

    name: str
    start: float
    videos: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Key:
    """What a study's participants do not know.

    Attributes:
      study: name of the study.
      methods: names.
      questions: text of each question by its name.
      samples: by their names on the page.
    """

    study: str
    methods: Sequence[str]
    questions: Mapping[str, str]
    samples: Mapping[str, Sample]

    @classmethod
    def read(cls, path: Path) -> "Key":
        """Reads what `write` wrote; InputError if it is something else."""
        try:
            values = json.loads(require_file(path).read_text())
            samples = {label: Sample(**sample) for label, sample in values.pop("samples").items()}
            return cls(**values, samples=samples)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{path}: is not the key of a study; give its key.json") from error

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        with written_aside(path) as aside:
            aside.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")


@dataclasses.dataclass(frozen=True)
class Answers:
    """What one participant chose: the method, by question and sample."""

    participant: str
    methods: Mapping[str, Mapping[str, str]]


@dataclasses.dataclass(frozen=True)
class Votes:
    """The answers of several participants; `by_method` counts them by question and method."""

    participants: int
    by_method: Mapping[tuple[str, str], int]


def read_answers(path: Path, key: Key) -> Answers:
    """Reads a participant's file, which may hold anything.

    Raises:
      InputError: it is not a whole set of answers to this study.
    """
    if require_file(path).stat().st_size > LARGEST_ANSWERS:
        raise InputError(f"{path}: is too large for answers; {_ADVICE}")
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not readable JSON; {_ADVICE}") from error
    if not _has_keys(values, ("study", "participant", "answers")):
        raise InputError(f"{path}: is not a file of answers; {_ADVICE}")
    if values["study"] != key.study:
        raise InputError(f"{path}: is of another study than the key; give that one's key")
    participant = values["participant"]
    if not (isinstance(participant, str) and re.fullmatch("[0-9a-f]{16}", participant)):
        raise InputError(f"{path}: names no participant; {_ADVICE}")
    if not _has_keys(values["answers"], key.questions):
        raise InputError(f"{path}: does not answer the study's questions; {_ADVICE}")
    methods = {}
    for question in key.questions:
        chosen = values["answers"][question]
        if not _has_keys(chosen, key.samples):
            raise InputError(f"{path}: does not answer {question!r} for all samples; {_ADVICE}")
        methods[question] = {
            label: _method(path, sample, label, chosen[label])
            for label, sample in key.samples.items()
        }
    return Answers(participant, methods)


def tally(key: Key, paths: Sequence[Path]) -> tuple[Votes, list[str]]:
    """Counts the answers in participants' files; a participant counts once.

    Returns:
      The votes, and why files were left out, a line each.
    """
    counted: dict[str, Path] = {}
    votes: collections.Counter[tuple[str, str]] = collections.Counter()
    left_out = []
    for path in paths:
        try:
            answers = read_answers(path, key)
        except InputError as error:
            left_out.append(str(error))
            continue
        if known := counted.get(answers.participant):
            left_out.append(f"{path}: is of the same participant as {known}, which is counted")
            continue
        counted[answers.participant] = path
        for question, methods in answers.methods.items():
            votes.update((question, method) for method in methods.values())
    return Votes(len(counted), votes), left_out


def votes_table(key: Key, votes: Votes) -> str:
    """Markdown: the methods' shares of each question's answers, of one participant at least."""
    answers = votes.participants * len(key.samples)
    rows = [["", *(question.replace("_", " ") for question in key.questions)]]
    rows.append(["---"] * len(rows[0]))
    for method in key.methods:
        shares = (_share(votes.by_method[question, method], answers) for question in key.questions)
        rows.append([method.replace("|", "\\|"), *shares])
    rows.append(["answers", *[str(answers)] * len(key.questions)])
    return "\n".join(
        [
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            *(f"- {name.replace('_', ' ')}: {text}" for name, text in key.questions.items()),
            f"- Participants: {votes.participants}, samples of each question: {len(key.samples)}.",
            "- In brackets Wilson's 95 % interval, for answers that do not depend on each other; "
            "those of one participant may.",
        ]
    )


def _has_keys(values: object, keys: Iterable[str]) -> bool:
    return isinstance(values, dict) and values.keys() == set(keys)


def _method(path: Path, sample: Sample, label: str, video: object) -> str:
    """The method of a video that was chosen."""
    if not isinstance(video, str) or video not in sample.videos:
        raise InputError(f"{path}: chooses what is no video of sample {label}; {_ADVICE}")
    return sample.videos[video]


def _share(votes: int, answers: int) -> str:
    interval = binomtest(votes, answers).proportion_ci(0.95, method="wilson")
    return f"{100 * votes / answers:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
