"""User studies: what participants see and must not see, and whose answers count."""

import json
from html.parser import HTMLParser
from statistics import NormalDist

import numpy as np
import pytest

from moditalker_jax.errors import InputError
from moditalker_jax.evaluation.user_study import __main__ as user_study
from moditalker_jax.evaluation.user_study.votes import Key, read_answers, tally, votes_table
from moditalker_jax.media.image import write_png
from moditalker_jax.media.video import read_video, write_video

METHODS = ("ours_v2", "wav2lip")
NAMES = ("obama", "radio7", "kennedy", "merkel")
FRAMES = 140
ONSET = 70
"""The frame from which on a video is heard."""
DARK = {METHODS[0]: 20, METHODS[1]: 90}


def write_speech(path, method, *, frames=FRAMES, sound=True):
    """A picture that turns from dark to light as the sound begins, less so with one method."""
    pictures = np.full((frames, 32, 32, 3), DARK[method], np.uint8)
    pictures[ONSET:] = 220
    audio = np.random.RandomState(0).uniform(-0.5, 0.5, frames * 640).astype(np.float32)
    audio[: ONSET * 640] = 0
    write_video(path, pictures, audio=audio if sound else None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods")
    for method in METHODS:
        for name in NAMES:
            write_speech(folder / method / f"{name}.mp4", method)
        write_speech(folder / method / "short.mp4", method, frames=100)
        write_speech(folder / method / "silent.mp4", method, sound=method == METHODS[0])
    write_speech(folder / METHODS[0] / "alone.mp4", METHODS[0])
    for name in (*NAMES, "short", "silent", "nobody"):
        write_png(folder / "persons" / f"{name}.png", np.full((16, 16, 3), 90, np.uint8))
    return folder


def make(folder, out, *more, samples=4, seed=0, identity=True):
    arguments = [f"--method={method}={folder / method}" for method in METHODS]
    if identity:
        arguments.append(f"--identity={folder / 'persons'}")
    arguments += [f"--out={out}", f"--samples={samples}", f"--seed={seed}", *more]
    return user_study.main(["make", *arguments])


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "study"
    assert make(folder, out) == 0
    return out


@pytest.fixture(scope="module")
def key(study):
    return Key.read(study / "key.json")


class Page(HTMLParser):
    """What the page shows: for each choice its question, sample, text, videos and picture."""

    def __init__(self, path):
        super().__init__()
        self.choices, self.study, self._tag = [], None, None
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        values, self._tag = dict(attributes), tag
        if tag == "body":
            self.study = values["data-study"]
        elif tag == "fieldset":
            self.choices.append({**values, "videos": [], "sources": [], "picture": None})
        elif tag == "input":
            self.choices[-1]["videos"].append(values["value"])
        elif tag in ("video", "img"):
            place = self.choices[-1]
            if tag == "video":
                place["sources"].append(values["src"])
            else:
                place["picture"] = values["src"]

    def handle_data(self, data):
        if self._tag == "h2" and self.choices and data.strip():
            self.choices[-1].setdefault("text", data.strip())


def answers_by(key, choose, participant="0" * 16):
    """A file's values in which `choose(question, sample, methods)` names the chosen method."""
    return {
        "study": key.study,
        "participant": participant,
        "answers": {
            question: {
                label: next(
                    video
                    for video, method in sample.videos.items()
                    if method == choose(question, label)
                )
                for label, sample in key.samples.items()
            }
            for question in key.questions
        },
    }


def write_answers(path, values):
    path.write_text(json.dumps(values))
    return path


def test_page_asks_the_papers_questions_of_every_sample(study, key):
    page = Page(study / "participants" / "index.html")
    assert page.study == key.study
    assert [(x["data-question"], x["data-sample"]) for x in page.choices] == [
        (question, label) for question in user_study.QUESTIONS for label in key.samples
    ]
    for choice in page.choices:
        assert choice["text"] == user_study.QUESTIONS[choice["data-question"]]
        assert set(choice["videos"]) == set(key.samples[choice["data-sample"]].videos)
        assert choice["sources"] == [f"videos/{video}.mp4" for video in choice["videos"]]
        assert (choice["picture"] is not None) == (choice["data-question"] == "identity")
        for source in filter(None, (*choice["sources"], choice["picture"])):
            assert (study / "participants" / source).is_file()


def test_names_that_all_have_and_can_be_used_are_sampled_once(key):
    assert sorted(sample.name for sample in key.samples.values()) == sorted(NAMES)
    for sample in key.samples.values():
        assert set(sample.videos.values()) == set(METHODS)


def test_participants_folder_tells_no_method_and_no_name(study):
    files = [path for path in (study / "participants").rglob("*") if path.is_file()]
    told = " ".join(path.name for path in files) + (files[0].parent / "index.html").read_text()
    for word in (*METHODS, *NAMES):
        assert word not in told
    assert len(files) == 1 + 4 * len(METHODS) + 4
    assert {path.name for path in study.iterdir()} == {"participants", "key.json"}


def test_page_asks_for_nothing_from_elsewhere(study):
    text = (study / "participants" / "index.html").read_text()
    assert "http" not in text
    assert "//" not in text


def test_segments_are_the_same_seconds_of_all_methods(study, key):
    for sample in key.samples.values():
        first = round(sample.start * 25)
        assert 0 <= first <= FRAMES - 125
        for name, method in sample.videos.items():
            video = read_video(study / "participants" / "videos" / f"{name}.mp4")
            levels = video.frames.mean((1, 2, 3))
            assert len(levels) == 125
            assert np.argmax(levels > 150) == ONSET - first
            assert abs(levels[0] - DARK[method]) < 10
            loud = np.abs(video.audio) > 0.1
            assert abs(np.argmax(loud) - (ONSET - first) * 640) < 200
    assert len({sample.start for sample in key.samples.values()}) > 1


def test_a_seed_fixes_samples_segments_and_order_but_not_names(folder, study, key, tmp_path):
    assert make(folder, tmp_path / "again") == 0
    assert make(folder, tmp_path / "other", seed=1) == 0
    again, other = (Key.read(tmp_path / name / "key.json") for name in ("again", "other"))

    def drawn(out, key):
        page = Page(out / "participants" / "index.html")
        return [
            (sample.name, sample.start, [sample.videos[video] for video in choice["videos"]])
            for choice in page.choices
            for sample in [key.samples[choice["data-sample"]]]
        ]

    assert drawn(tmp_path / "again", again) == drawn(study, key)
    assert drawn(tmp_path / "other", other) != drawn(study, key)
    assert not {*again.samples["01"].videos} & {*key.samples["01"].videos}
    assert len({tuple(methods) for _, _, methods in drawn(study, key)}) == 2


def test_without_persons_nobody_is_asked_about_them(folder, tmp_path, capsys):
    assert make(folder, tmp_path / "study", identity=False) == 0
    assert list(Key.read(tmp_path / "study" / "key.json").questions) == ["lip_sync", "quality"]
    assert "without --identity" in capsys.readouterr().err


def test_too_few_usable_names_are_told_with_their_reasons(folder, tmp_path, capsys):
    assert make(folder, tmp_path / "study", samples=5) == 2
    told = capsys.readouterr().err
    assert "4 names have usable videos of all methods, 5 are wanted" in told
    assert "short.mp4: is shorter than 5 s" in told
    assert "silent.mp4: has no sound" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method=a=METHODS/ours_v2"], "twice or more"),
        (["--method=a=METHODS/ours_v2", "--method=a=METHODS/wav2lip"], "each name once"),
        (["--method=METHODS/ours_v2", "--method=b=METHODS/wav2lip"], "give NAME=FOLDER"),
        (["--method=a=METHODS/ours_v2", "--method=b=METHODS/gone"], "gone: is not a folder"),
    ],
)
def test_bad_calls_are_one_line(folder, tmp_path, capsys, arguments, words):
    given = [part.replace("METHODS", str(folder)) for part in arguments]
    assert user_study.main(["make", *given, f"--out={tmp_path / 'study'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error:") and words in line


def test_a_folder_that_holds_something_is_left_alone(folder, study, capsys):
    before = (study / "key.json").read_bytes()
    assert make(folder, study) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert (study / "key.json").read_bytes() == before


def test_shares_and_intervals_of_known_votes(key, tmp_path):
    """Three participants: all choose ours for lips, one for identity, nobody for quality."""
    paths = []
    for number in range(3):
        liked = {"lip_sync": True, "identity": number == 0, "quality": False}
        values = answers_by(
            key, lambda question, _, liked=liked: METHODS[not liked[question]], f"{number:016x}"
        )
        paths.append(write_answers(tmp_path / f"answers{number}.json", values))
    votes, left_out = tally(key, paths)
    assert not left_out
    assert votes.participants == 3
    rows = votes_table(key, votes).splitlines()
    assert rows[0] == "|  | lip sync | identity | quality |"

    def wilson(k, n):
        z = NormalDist().inv_cdf(0.975)
        middle = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
        low, high = max(0, middle - half), min(1, middle + half)
        return f"{100 * k / n:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"

    assert rows[2] == f"| ours_v2 | {wilson(12, 12)} | {wilson(4, 12)} | {wilson(0, 12)} |"
    assert rows[3] == f"| wav2lip | {wilson(0, 12)} | {wilson(8, 12)} | {wilson(12, 12)} |"
    assert rows[4] == "| answers | 12 | 12 | 12 |"
    assert "- Participants: 3, samples of each question: 4." in rows


def changed(values, where, what):
    """A copy in which the value at a path of keys is another, or gone if `what` is ...."""
    values = json.loads(json.dumps(values))
    inner = values
    for step in where[:-1]:
        inner = inner[step]
    if what is ...:
        del inner[where[-1]]
    else:
        inner[where[-1]] = what
    return values


@pytest.mark.parametrize(
    ("where", "what", "words"),
    [
        (["study"], "f" * 16, "of another study"),
        (["study"], ["x"], "of another study"),
        (["participant"], ..., "not a file of answers"),
        (["participant"], 7, "names no participant"),
        (["participant"], "\x1b[2J" + "0" * 13, "names no participant"),
        (["more"], 1, "not a file of answers"),
        (["answers"], [], "does not answer the study's questions"),
        (["answers", "quality"], ..., "does not answer the study's questions"),
        (["answers", "quality"], "01", "does not answer 'quality' for all samples"),
        (["answers", "quality", "02"], ..., "does not answer 'quality' for all samples"),
        (["answers", "quality", "99"], "x", "does not answer 'quality' for all samples"),
        (["answers", "quality", "02"], "unknown", "no video of sample 02"),
        (["answers", "quality", "02"], {"a": 1}, "no video of sample 02"),
        (["answers", "quality", "02"], None, "no video of sample 02"),
    ],
)
def test_untrusted_answers_are_refused(key, tmp_path, where, what, words):
    values = answers_by(key, lambda *_: METHODS[0])
    path = write_answers(tmp_path / "answers.json", values)
    assert read_answers(path, key).methods["quality"]["02"] == METHODS[0]
    write_answers(path, changed(values, where, what))
    with pytest.raises(InputError, match=words):
        read_answers(path, key)


def test_a_video_of_another_sample_is_refused(key, tmp_path):
    values = answers_by(key, lambda *_: METHODS[0])
    values["answers"]["quality"]["01"] = values["answers"]["quality"]["02"]
    with pytest.raises(InputError, match="no video of sample 01"):
        read_answers(write_answers(tmp_path / "answers.json", values), key)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"{", "not readable JSON"),
        (b"\xff\xfe\xff", "not readable JSON"),
        (b"[" * 200_000, "not readable JSON"),
        (b"1" * 5_000, "not readable JSON"),
        (b"null", "not a file of answers"),
        (b" " * 1_000_001, "too large"),
    ],
)
def test_files_that_are_no_answers_are_refused(key, tmp_path, content, words):
    path = tmp_path / "answers.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_answers(path, key)


def test_bad_files_are_named_and_the_rest_counts(study, key, tmp_path, capsys):
    good = write_answers(tmp_path / "good.json", answers_by(key, lambda *_: METHODS[0]))
    twin = write_answers(tmp_path / "twin.json", answers_by(key, lambda *_: METHODS[1]))
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    files = [str(path) for path in (bad, good, twin, tmp_path / "gone.json")]
    assert user_study.main(["tally", "--key", str(study / "key.json"), *files]) == 3
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert [line.startswith("left out: ") for line in lines] == [True] * 3
    assert "bad.json" in lines[0] and "same participant as" in lines[1] and "gone.json" in lines[2]
    written = (study / "votes.md").read_text()
    assert written == told.out
    assert "| ours_v2 | 100.0 % [" in written and "Participants: 1," in written
    assert user_study.main(["tally", "--key", str(study / "key.json"), str(good)]) == 0


def test_without_one_good_file_there_is_no_table(study, tmp_path, capsys):
    arguments = ["--key", str(study / "key.json"), str(tmp_path / "gone.json")]
    assert user_study.main(["tally", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: no answers to the study")


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"samples": {"01": 3}}'])
def test_a_file_that_is_no_key_is_told(tmp_path, content):
    (tmp_path / "key.json").write_text(content)
    with pytest.raises(InputError, match="is not the key of a study"):
        Key.read(tmp_path / "key.json")
