"""The experiments: who says what, equal crops, what is left out, and what is made again."""

import contextlib
import dataclasses
import io
import json
import re

import numpy as np
import pytest

from configs import experiments
from data_pipelines.synthetic import make_clip
from moditalker_jax.errors import InputError
from moditalker_jax.evaluation import reenactment, takes
from moditalker_jax.evaluation.comparison.catalogue import FIGURES
from moditalker_jax.generation.pipeline import MoDiTalker
from moditalker_jax.landmark_backends import bfm_backend
from moditalker_jax.media.video import read_video, write_video
from tests.checkpoints import write_checkpoint

FRAMES = {"anna": 20, "ben": 24, "cleo": 28}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Three videos that differ in length and in what is said, and a file that is no video."""
    folder = tmp_path_factory.mktemp("real")
    for seed, (name, frames) in enumerate(FRAMES.items()):
        clip = make_clip(speaker=0, seed=seed, seconds=frames / 25, resolution=192)
        write_video(folder / f"{name}.mp4", clip.frames, audio=clip.audio)
    (folder / "dora.mp4").write_bytes(np.random.RandomState(0).bytes(4000))
    return folder


def experiment(name, **changes):
    found = takes.Experiment(**experiments.get_config(name).to_dict())
    return dataclasses.replace(found, **changes)


def run(checkpoint, real, out, name, *more):
    arguments = {"--experiment": name, "--checkpoint": checkpoint, "--real": real, "--out": out}
    return reenactment.main([str(part) for pair in arguments.items() for part in pair] + [*more])


@pytest.fixture(scope="module")
def crossed(checkpoint, real, tmp_path_factory):
    """The folder of the cross-identity experiment, its exit status, and what it said."""
    out, said = tmp_path_factory.mktemp("crossed"), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        status = run(checkpoint, real, out, "cross_identity")
    return out, status, said.getvalue()


def test_metrics_of_the_configs_are_the_catalogue_s():
    for name in experiments.EXPERIMENTS:
        assert set(experiment(name).metrics) <= FIGURES.keys()
    assert set(experiment("table_1").paper) == set(experiment("table_1").metrics)
    with pytest.raises(ValueError, match="table_1, cross_identity, one_shot, speed"):
        experiments.get_config("table_9")


def test_everyone_speaks_once_with_the_next_one_s_voice(tmp_path):
    videos = {name: tmp_path / f"{name}.mov" for name in ("b", "c/d", "a")}
    planned = takes.plan_takes(experiment("cross_identity"), videos, tmp_path)
    assert [(take.identity.stem, take.audio.stem) for take in planned] == [
        ("a", "b"),
        ("b", "d"),
        ("d", "a"),
    ]
    assert planned[2].generated == tmp_path / "generated" / "c" / "d.mp4"
    with pytest.raises(InputError, match="no next video"):
        takes.plan_takes(experiment("cross_identity"), {"a": videos["a"]}, tmp_path)


def test_one_bad_video_is_told_and_the_rest_is_made(crossed):
    out, status, said = crossed
    assert status == 3
    # dora is no video, so that cleo has nothing to say either.
    for name in ("cleo", "dora"):
        assert len(re.findall(f"left out: {name}: .*dora.mp4: not a readable", said)) == 1
    assert "2 of 4 videos" in said
    assert re.search(r"Figures that apply.*: FID, FVD, CPBD, CSIM, LSE-D", said)
    assert {path.name for path in (out / "generated").iterdir()} == {"anna.mp4", "ben.mp4"}
    assert {path.name for path in (out / "real").iterdir()} == {"anna.mp4", "ben.mp4"}


def test_a_face_speaks_as_long_as_the_other_voice(crossed):
    out, *_ = crossed
    for name, voice in (("anna", "ben"), ("ben", "cleo")):
        made, cropped = (read_video(out / side / f"{name}.mp4") for side in ("generated", "real"))
        assert made.frames.shape == (FRAMES[voice], 32, 32, 3)
        assert cropped.frames.shape == (FRAMES[name], 32, 32, 3)
        assert made.audio is not None and cropped.audio is not None


def test_upper_faces_of_both_sides_lie_on_each_other(crossed):
    """Blending leaves the brows of the reference: another crop would move them."""
    out, *_ = crossed
    made, cropped = (read_video(out / side / "anna.mp4").frames for side in ("generated", "real"))
    difference = made[: len(cropped), :10].astype(float) - cropped[:, :10]
    moved = np.roll(cropped[:, :10], 1, axis=2) - cropped[:, :10].astype(float)
    assert np.abs(difference).mean() < 0.5 * np.abs(moved).mean()


def test_a_second_call_makes_only_what_is_missing(crossed, checkpoint, real, monkeypatch):
    out, *_ = crossed
    kept, lost = out / "generated" / "anna.mp4", out / "generated" / "ben.mp4"
    before = lost.read_bytes()
    lost.unlink()
    made = []
    generate = MoDiTalker.generate

    def counted(self, audio, identity, **options):
        made.append(len(identity.frames))
        return generate(self, audio, identity, **options)

    monkeypatch.setattr(MoDiTalker, "generate", counted)
    time = kept.stat().st_mtime_ns
    assert run(checkpoint, real, out, "cross_identity") == 3
    assert made == [FRAMES["ben"]]
    assert kept.stat().st_mtime_ns == time
    assert lost.read_bytes() == before


@pytest.mark.parametrize("change", [("--seed", "1"), ("--seconds", "0.5")])
def test_videos_of_other_settings_are_not_taken_for_these(
    crossed, checkpoint, real, capsys, change
):
    out, *_ = crossed
    assert run(checkpoint, real, out, "cross_identity", *change) == 2
    assert "with other settings" in capsys.readouterr().err


def test_videos_of_another_checkpoint_are_not_taken_for_these(crossed, checkpoint, real, capsys):
    out, *_ = crossed
    settings = json.loads((out / "experiment.json").read_text())
    settings["checkpoint"]["mtov"] = "0" * 64
    kept = (out / "experiment.json").read_text()
    (out / "experiment.json").write_text(json.dumps(settings, indent=1) + "\n")
    assert run(checkpoint, real, out, "cross_identity") == 2
    assert "another checkpoint" in capsys.readouterr().err
    (out / "experiment.json").write_text(kept)


@pytest.mark.parametrize("name", ["table_1", "one_shot"])
def test_with_a_true_video_both_are_compared(checkpoint, real, tmp_path, capsys, name):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "anna.mp4").write_bytes((real / "anna.mp4").read_bytes())
    status = run(checkpoint, tmp_path / "real", tmp_path / "out", name)
    report = json.loads((tmp_path / "out" / "report" / "report.json").read_text())
    assert status == (3 if report["left_out"] else 0)
    assert report["methods"]["MoDiTalker"]["videos"] == 1
    assert report["methods"]["MoDiTalker"]["means"]["psnr"] > 5
    assert report["settings"]["clip_frames"] == 16
    table = (tmp_path / "out" / "table.md").read_text()
    assert table in capsys.readouterr().out
    assert ("MoDiTalker in the paper | – | 14.15 | 0.46 | 35.82" in table) == (name == "table_1")


def test_one_shot_speaks_from_the_first_frame(checkpoint, real, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(
        MoDiTalker,
        "generate",
        lambda self, audio, identity, **options: (
            given.append((len(audio), identity)) or pytest.fail("enough")
        ),
    )
    pipeline = MoDiTalker.from_checkpoint(checkpoint)
    one_shot = experiment("one_shot")
    (take,) = takes.plan_takes(one_shot, {"ben": real / "ben.mp4"}, tmp_path)
    with pytest.raises(pytest.fail.Exception, match="enough"):
        takes.make_takes([take], pipeline, one_shot, seed=0)
    face = takes.read_face(take, pipeline, None)
    (samples, identity) = given[0]
    assert samples == FRAMES["ben"] * 640
    np.testing.assert_array_equal(identity.frames, face.frames[:1])
    np.testing.assert_array_equal(identity.landmarks, face.landmarks[:1])


def test_speed_stands_beside_the_paper_s(checkpoint, real, tmp_path, capsys):
    out = tmp_path / "speed"
    assert run(checkpoint, real / "anna.mp4", out, "speed", "--seconds", "1") == 0
    lines = (out / "table.md").read_text().splitlines()
    assert lines[2].startswith("| MoDiTalker, this checkpoint | 1 | ")
    assert float(lines[2].split("|")[3]) > 0
    assert lines[3:6] == [
        "| MoDiTalker, in the paper | 5 | 23 | RTX 3090 |",
        "| Diffused Heads, in the paper | 5 | 716 | RTX 3090 |",
        "| DiffTalk, in the paper | 5 | 1003 | RTX 3090 |",
    ]
    assert "32x32 pixels" in lines[7]


def test_landmarks_that_are_not_found_here_are_supplied(real, tmp_path, capsys):
    names = bfm_backend(np.random.RandomState(0).normal(size=(68, 3))).metadata()
    checkpoint = write_checkpoint(tmp_path / "checkpoint", **names)
    video = real / "anna.mp4"
    assert run(checkpoint, video, tmp_path / "out", "cross_identity") == 2
    assert run(checkpoint, video, tmp_path / "out", "table_1") == 2
    assert "not found here" in capsys.readouterr().err


def test_landmarks_are_taken_from_a_folder(checkpoint, real, tmp_path):
    pipeline = MoDiTalker.from_checkpoint(checkpoint)
    (take,) = takes.plan_takes(experiment("table_1"), {"anna": real / "anna.mp4"}, tmp_path)
    supplied = pipeline.finder.track(read_video(take.identity).frames)
    supplied[:, 62, 1] += 2.0
    np.save(tmp_path / "anna.npy", supplied)
    (with_file,) = takes.plan_takes(
        experiment("table_1"), {"anna": take.identity}, tmp_path, tmp_path
    )
    found, face = (takes.read_face(one, pipeline, 0.4) for one in (take, with_file))
    assert len(face.frames) == 10
    np.testing.assert_array_equal(face.frames, found.frames)
    # The last one's smoothing knows the frames behind it.
    moved = (face.landmarks - found.landmarks)[:9]
    assert (moved[:, 62, 1] > 0.005).all()
    moved[:, 62, 1] = 0
    np.testing.assert_allclose(moved, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"real": "missing"}, "no such file or folder"),
        ({"out": "real/out"}, "choose another folder to write"),
        ({"checkpoint": "missing"}, "no such directory"),
        ({"real": "real/dora.mp4"}, "no video could be made"),
    ],
)
def test_bad_input_is_one_line(checkpoint, real, tmp_path, capsys, changes, words):
    places = {"checkpoint": checkpoint, "real": real, "out": tmp_path / "out"}
    (tmp_path / "link").symlink_to(real)
    for name, value in changes.items():
        places[name] = tmp_path / value.replace("real", "link", 1)
    assert run(places["checkpoint"], places["real"], places["out"], "table_1") == 2
    errors = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error:")]
    assert len(errors) == 1
    assert words in errors[0]
