"""Generated videos against real ones: figures, what is left out, resuming, and the report."""

import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest

from data_pipelines.synthetic import make_clip
from moditalker_jax.errors import InputError
from moditalker_jax.evaluation.__main__ import main
from moditalker_jax.evaluation.comparison import measures, reading
from moditalker_jax.evaluation.comparison.compare import compare
from moditalker_jax.evaluation.comparison.figures import MAX_CUT_FRAMES
from moditalker_jax.evaluation.comparison.measures import Measure
from moditalker_jax.evaluation.comparison.pairs import REAL, find_scenes
from moditalker_jax.evaluation.comparison.records import record
from moditalker_jax.media.video import iterate_frames, write_video

FRAMES, SIDE = 56, 96


@pytest.fixture(scope="module")
def clips():
    return [
        make_clip(speaker=speaker, seed=2_000_000, seconds=FRAMES / 25, resolution=SIDE)
        for speaker in (1, 2)
    ]


@pytest.fixture(scope="module")
def videos(clips, tmp_path_factory):
    """Folders: real, and what is made of it."""
    root = tmp_path_factory.mktemp("videos")
    for name, clip in zip(("ann", "deep/bob"), clips, strict=True):
        frames, audio = clip.frames, clip.audio
        late = np.concatenate([np.repeat(frames[:1], 5, axis=0), frames[:-5]])
        write_video(root / "real" / f"{name}.mp4", frames, audio=audio)
        write_video(root / "late" / f"{name}.mp4", late, audio=audio)
        blurred = [cv2.GaussianBlur(frame, (0, 0), 1.5) for frame in frames]
        write_video(root / "blurred" / f"{name}.mp4", blurred, audio=audio)
    return root


def evaluate(videos, out, *methods, **options):
    """The command's status, and report.json."""
    arguments = ["--real", str(videos / "real"), "--out", str(out), "--lpips", "alexnet"]
    for method in methods:
        arguments += ["--generated", str(method)]
    for option, value in options.items():
        arguments += [f"--{option.replace('_', '-')}", str(value)]
    status = main(arguments)
    return status, json.loads((out / "report.json").read_text())


def values(report, method, video):
    (found,) = (v for v in report["videos"] if (v["method"], v["video"]) == (method, video))
    return found["values"]


def left_out(capsys):
    """What the command told on stderr."""
    return re.findall(r"left out: (.*)", capsys.readouterr().err)


@pytest.fixture(scope="module")
def evaluated(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report"
    methods = [f"same={videos / 'real'}", videos / "blurred", videos / "late"]
    status, report = evaluate(videos, out, *methods)
    assert status == 0
    return out, report


def test_a_video_against_itself_is_perfect(evaluated):
    _, report = evaluated
    perfect = values(report, "same", "deep/bob")
    assert perfect["psnr"] == 100
    assert perfect["ssim"] == perfect["mouth_correlation"] == pytest.approx(1)
    for key in ("lpips_alexnet", "lmd", "mouth_lag", "still_mouth_ratio"):
        assert perfect[key] == pytest.approx(0, abs=1e-6)
    real = values(report, REAL, "deep/bob")
    assert "psnr" not in real
    assert all(value == perfect[key] for key, value in real.items())


def test_blur_and_delay_show(evaluated):
    _, report = evaluated
    for name in ("ann", "deep/bob"):
        blurred, real = values(report, "blurred", name), values(report, REAL, name)
        assert blurred["cpbd"] < 0.5 * real["cpbd"]
        assert 20 < blurred["psnr"] < 40
        assert blurred["lpips_alexnet"] > 0.05
        assert values(report, "late", name)["mouth_lag"] == 5
        assert values(report, "late", name)["mouth_correlation"] < 0.8


def test_the_files_hold_the_means(evaluated):
    out, report = evaluated
    means = report["methods"]["blurred"]["means"]
    psnr = np.mean([values(report, "blurred", name)["psnr"] for name in ("ann", "deep/bob")])
    assert means["psnr"] == pytest.approx(psnr)
    markdown, page = ((out / f"report.{x}").read_text() for x in ("md", "html"))
    (row,) = re.findall(r"\| blurred .*\|", markdown.split("\n\n")[1])
    heads = markdown.split("\n\n")[1].splitlines()[0].split("|")
    assert heads[3].strip() == "FID ↓"
    assert heads[5].strip() == "PSNR ↑"
    assert row.split("|")[5].strip() == f"{psnr:.2f}"
    assert f"<td>{psnr:.2f}</td>" in page
    assert page.count("<svg") == 1
    # Two videos of three methods by three figures.
    assert page.count("data:image/jpeg") == 2 * 3 * 3
    assert not re.search(r'(src|href)="(?!data:)[^#]', page)


def test_missing_weights_are_words_and_no_numbers(evaluated):
    out, report = evaluated
    assert set(report["missing"]) == {"fid", "fvd", "csim", "lse_d", "lse_c"}
    assert report["missing"]["fid"].startswith("weights missing: pt_inception")
    for method in report["methods"].values():
        assert not set(report["missing"]) & set(method["means"])
    for name in ("report.md", "report.html"):
        assert "FID: weights missing: pt_inception" in (out / name).read_text()


@pytest.fixture
def counted(monkeypatch):
    """Names of the files whose frames are read."""
    read = []

    def count(path, **options):  # A generator: nothing happens before the first frame is asked for.
        read.append(path.parent.name + "/" + path.name)
        yield from iterate_frames(path, **options)

    monkeypatch.setattr(reading, "iterate_frames", count)
    return read


def test_a_second_call_measures_only_what_changed(videos, tmp_path, counted):
    root = tmp_path / "videos"
    shutil.copytree(videos, root)
    out = tmp_path / "report"
    status, first = evaluate(root, out, root / "blurred")
    assert status == 0 and len(counted) == 4
    counted.clear()
    assert evaluate(root, out, root / "blurred") == (0, first)
    assert counted == []
    shutil.copy(root / "late" / "ann.mp4", root / "blurred" / "ann.mp4")
    _, changed = evaluate(root, out, root / "blurred")
    assert sorted(counted) == ["blurred/ann.mp4", "real/ann.mp4"]
    assert values(changed, "blurred", "ann")["mouth_lag"] == 5
    assert values(changed, "blurred", "deep/bob") == values(first, "blurred", "deep/bob")
    counted.clear()
    _, sampled = evaluate(root, out, root / "blurred", every=8)
    assert len(counted) == 4
    assert values(sampled, "blurred", "ann")["lmd"] == values(changed, "blurred", "ann")["lmd"]


def test_an_interrupted_call_goes_on(videos, tmp_path, counted, monkeypatch):
    out = tmp_path / "report"
    save = reading.Record.save

    def stop(kept, arrays):
        if len(list((out / "records").glob("*.npz"))) == 6:
            raise KeyboardInterrupt
        save(kept, arrays)

    monkeypatch.setattr(reading.Record, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate(videos, out, videos / "blurred")
    assert not (out / "report.json").exists()
    monkeypatch.undo()
    status, report = evaluate(videos, out, videos / "blurred")
    assert status == 0
    assert report["methods"]["blurred"]["videos"] == 2


def test_damaged_and_foreign_records_do_not_count(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"x")
    kept = record(tmp_path / "records", "part", [video], {"every": 1})
    assert kept.load() is None
    kept.save({"values": np.arange(3)})
    np.testing.assert_array_equal(kept.load()["values"], [0, 1, 2])
    assert record(tmp_path / "records", "part", [video], {"every": 2}).load() is None
    os.utime(video, ns=(1, 1))
    assert record(tmp_path / "records", "part", [video], {"every": 1}).load() is None
    kept.path.write_bytes(kept.path.read_bytes()[:-40])
    assert kept.load() is None
    np.savez(kept.path, made_of=np.array([{}], object))
    assert kept.load() is None


def test_each_bad_pair_is_one_line_and_the_rest_goes_on(clips, videos, tmp_path, capsys):
    real, made = tmp_path / "real", tmp_path / "made"
    frames, audio = clips[0].frames, clips[0].audio
    noise = np.random.default_rng(0).integers(0, 256, frames.shape, np.uint8)
    write_video(real / "good.mp4", frames, audio=audio)
    for name in ("alone", "short", "small", "slow", "noise", "damaged", "silent", "padded"):
        shutil.copy(real / "good.mp4", real / f"{name}.mp4")
    made.mkdir()
    shutil.copy(real / "good.mp4", made / "good.avi")
    shutil.copy(real / "good.mp4", made / "stray.mp4")
    write_video(made / "short.mp4", frames[:-3], audio=audio)
    write_video(made / "padded.mp4", frames[:-MAX_CUT_FRAMES], audio=audio)
    write_video(made / "small.mp4", frames[:, 8:-8, 8:-8], audio=audio)
    write_video(made / "slow.mp4", frames[::2], fps=12, audio=audio)
    write_video(made / "noise.mp4", noise, audio=audio)
    write_video(made / "silent.mp4", frames)
    shutil.copy(real / "good.mp4", made / "broken.mp4")
    for path in (made / "damaged.mp4", real / "broken.mp4"):
        path.write_bytes((real / "good.mp4").read_bytes()[:500])
    status, report = evaluate(tmp_path, tmp_path / "out", made)
    lines = left_out(capsys)
    assert status == 3
    expected = {
        "alone": r"real/alone.mp4: has no partner in .*made",
        "stray": r"made/stray.mp4: has no partner in .*real",
        "short": r"made/short.mp4: has 53 frames at 25 fps, .*real/short.mp4 has 56$",
        "small": r"small.mp4: is 80x80 at 25 fps, .* is 96x96 at 25 fps \(PSNR, SSIM, .*, LMD\)",
        "slow": r"slow.mp4: is 96x96 at 12 fps, .* is 96x96 at 25 fps \(PSNR, SSIM, .*, LMD\)",
        "noise": r"made/noise.mp4: no face in 56 of 56 frames \(LMD, Mouth correlation, .*drift\)",
        "damaged": r"made/damaged.mp4: not a readable media file",
        "broken": r"real/broken.mp4: not a readable media file",
    }
    for name, pattern in expected.items():
        (line,) = (line for line in lines if f"/{name}." in line)
        assert re.search(pattern, line)
    assert len(lines) == len(expected)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "made/short.mp4: has 53 frames" in page
    measured = {video["video"] for video in report["videos"] if video["method"] == "made"}
    assert measured == {"good", "small", "slow", "noise", "silent", "padded"}
    assert report["methods"]["made"]["means"]["psnr"] > 30
    assert values(report, "made", "small")["mouth_correlation"] > 0.8
    assert values(report, "made", "noise")["face_found"] == 0
    assert any("padded.mp4: 2 frame(s)" in note for note in report["notes"])


def test_two_files_are_a_pair(videos, tmp_path):
    arguments = ["--real", videos / "real/ann.mp4", "--generated", videos / "late/deep/bob.mp4"]
    arguments = [*arguments, "--out", tmp_path, "--lpips", "vgg16", "--every", "28"]
    assert main([str(argument) for argument in arguments]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert values(report, "bob", "ann")["lpips_vgg16"] > 0.2
    assert values(report, "bob", "ann")["psnr"] < 20


def test_what_cannot_be_begun_is_refused(videos, tmp_path, capsys):
    real, late = videos / "real", videos / "late"
    for methods, message in (
        ({"a": tmp_path / "nothing"}, "no such file or folder"),
        ({"a": late / "ann.mp4"}, "two folders, or two files"),
        ({"a": tmp_path}, "holds no video files"),
    ):
        with pytest.raises(InputError, match=message):
            compare(real, methods, tmp_path / "out")
    (tmp_path / "other.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match="no video has a partner"):
        find_scenes(real, {"a": tmp_path})
    arguments = ["--real", str(real), "--generated", str(late), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--generated", f"late={real}"]) == 2
    assert "late is taken" in capsys.readouterr().err


def test_of_two_files_with_one_name_none_is_taken(videos, tmp_path):
    shutil.copytree(videos / "late", tmp_path / "late")
    shutil.copy(videos / "late" / "ann.mp4", tmp_path / "late" / "ann.avi")
    scenes, left_out = find_scenes(videos / "real", {"late": tmp_path / "late"})
    assert [scene.name for scene in scenes] == ["deep/bob"]
    assert "ann.avi and ann.mp4 of one name" in left_out[0].message


def test_another_networks_weights_are_told_and_the_rest_goes_on(videos, tmp_path, capsys):
    weights = tmp_path / "weights.npz"
    np.savez(weights, **{"netcnnlip.0.weight": np.zeros(3)})
    status, report = evaluate(
        videos, tmp_path / "out", videos / "late", every=28, inception_weights=weights
    )
    assert status == 3
    (line,) = left_out(capsys)
    assert "holds SyncNet, not Inception-v3" in line and line.endswith("(FID)")
    assert report["missing"]["fid"].startswith("weights unusable: ")
    assert report["methods"]["late"]["means"]["psnr"] > 10


@pytest.fixture
def simple_networks(monkeypatch):
    """Networks whose features are easy to see, in place of the large ones."""
    monkeypatch.setattr(
        measures, "fid_features", lambda _, frames: frames.mean((1, 2)).astype(np.float32)
    )
    monkeypatch.setattr(
        measures, "i3d_logits", lambda _, clips: clips.mean((1, 2, 3)).astype(np.float32)
    )
    monkeypatch.setattr(
        measures,
        "face_embeddings",
        lambda _, faces: faces.reshape(len(faces), -1)[:, : 512 * 73 : 73].astype(np.float32),
    )
    lips = np.random.default_rng(0).normal(size=(224 * 224 * 15, 8)).astype(np.float32)
    sound = np.random.default_rng(1).normal(size=(260, 8)).astype(np.float32)
    monkeypatch.setattr(measures, "lip_features", lambda _, x: x.reshape(len(x), -1) / 255 @ lips)
    monkeypatch.setattr(measures, "sound_features", lambda _, x: x.reshape(len(x), -1) @ sound)
    monkeypatch.setattr(measures, "load_variables", lambda network, path: {})


def test_figures_of_networks(videos, tmp_path, simple_networks, capsys):
    weights = {f"{name}_weights": tmp_path for name in ("inception", "i3d", "arcface", "syncnet")}
    methods = [f"same={videos / 'real'}", videos / "blurred"]
    status, report = evaluate(videos, tmp_path / "out", *methods, every=7, **weights)
    assert status == 0 and not report["missing"]
    means = {method: facts["means"] for method, facts in report["methods"].items()}
    assert means["same"]["fid"] == pytest.approx(0, abs=1e-6)
    assert means["same"]["csim"] == pytest.approx(1)
    assert means["blurred"]["csim"] < 1
    assert means["blurred"]["fid"] > 0
    assert means[REAL]["lse_d"] == means["same"]["lse_d"] > 0
    assert means[REAL]["lse_c"] != means["blurred"]["lse_c"]
    # Three whole clips of each video.
    kept = [np.load(path)["logits"] for path in (tmp_path / "out/records").glob("*-i3d.npz")]
    assert [array.shape for array in kept] == [(3, 3)] * 4


def test_a_silent_video_lacks_only_what_needs_sound(
    clips, videos, tmp_path, simple_networks, capsys
):
    write_video(tmp_path / "silent.mp4", clips[0].frames)
    arguments = ["--real", videos / "real/ann.mp4", "--generated", tmp_path / "silent.mp4"]
    arguments += ["--out", tmp_path / "out", "--lpips", "alexnet", "--every", "28"]
    arguments += ["--syncnet-weights", tmp_path]
    assert main([str(argument) for argument in arguments]) == 3
    (line,) = left_out(capsys)
    assert re.search(r"silent.mp4: has no sound; .*\(LSE-D, LSE-C\)", line)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert "lse_d" in report["methods"][REAL]["means"]
    assert "lse_d" not in report["methods"]["silent"]["means"]
    assert report["methods"]["silent"]["means"]["psnr"] > 30


def test_a_measure_sees_the_frames_that_it_shall():
    def take(measure, count):
        for t in range(count):
            measure.add(np.full((2, 2), t))
        return measure.finish()

    def brightness(frames):
        assert len(frames) <= 16
        return {"levels": frames[:, 0, 0]}

    levels = take(Measure(brightness, {}, every=3), 100)["levels"]
    np.testing.assert_array_equal(levels, np.arange(0, 100, 3))
    whole = take(Measure(brightness, {}, whole_batches=True), 40)["levels"]
    np.testing.assert_array_equal(whole, np.arange(32))
    assert take(Measure(brightness, {}, whole_batches=True), 15) == {}
