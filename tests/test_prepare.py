"""Preparing many videos: bad ones left out, splits, resuming, the report, and the command."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data_pipelines.builder import load_metadata
from data_pipelines.datasets.base import SourceVideo
from data_pipelines.folds import read_speech_clips
from data_pipelines.loader import atom_batches, clip_batches
from data_pipelines.prepare.__main__ import main
from data_pipelines.prepare.batch import prepare_dataset
from data_pipelines.prepare.clip import Settings
from data_pipelines.prepare.split import held_out_tail, held_out_videos, list_videos
from data_pipelines.quiet_tensorflow import tfds
from data_pipelines.synthetic import make_clip
from moditalker_jax.errors import InputError
from moditalker_jax.media.video import write_video
from tests.videos import SMALL, KnownFace, source, write_clip


@pytest.fixture(scope="module")
def talking_head(tmp_path_factory):
    """The video file of a synthetic clip."""
    clip = make_clip(speaker=1, seed=3, seconds=4.4, resolution=160)
    path = tmp_path_factory.mktemp("videos") / "talking.mp4"
    write_video(path, clip.frames, audio=clip.audio)
    return path


def test_videos_are_found_and_named_once(tmp_path):
    for name in ("b/1.mp4", "a/1.mp4", "a/deep/2.MOV", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    videos = list_videos([tmp_path / "a", tmp_path / "b" / "1.mp4", tmp_path / "a" / "1.mp4"])
    assert {name: path.name for name, path in videos.items()} == {
        "1": "1.mp4",
        "deep/2": "2.MOV",
        "1-2": "1.mp4",
    }
    (tmp_path / "c").mkdir()
    with pytest.raises(InputError, match="no video files"):
        list_videos([tmp_path / "c"])


def test_the_rule_of_the_split():
    names = [f"video{k}" for k in range(35)]
    held = held_out_videos(names)
    assert len(held) == 3
    assert held == held_out_videos(names[::-1])
    assert not held_out_videos(names[:9])
    assert [held_out_tail(n) for n in (99, 100, 500, 10_000)] == [0, 25, 50, 300]


def prepare_all(out, sources, settings=SMALL, **options):
    options = {"workers": 0, "finder": KnownFace()} | options
    return prepare_dataset(out, sources, settings, audio_encoder="log_mel", **options)


def frames_by_split(outcomes):
    totals = {}
    for clip in (clip for outcome in outcomes for clip in outcome.clips):
        totals[clip["split"]] = totals.get(clip["split"], 0) + clip["frames"]
    return totals


def test_one_bad_video_does_not_end_the_batch(tmp_path, capsys):
    sources = [
        source(write_clip(tmp_path / "good.mp4", seconds=6.0)),
        source(tmp_path / "missing.mp4"),
        source(write_clip(tmp_path / "dark.mp4", dark=range(50))),
        source(write_clip(tmp_path / "other.mp4")),
    ]
    out = tmp_path / "new" / "shards"
    settings = Settings(resolution=32, min_side=16, max_seconds=3.0)
    outcomes = prepare_all(out, sources, settings)
    assert [o.reason for o in outcomes] == [None, "unreadable", "no_face", None]
    assert frames_by_split(outcomes) == {"train": 125 + 50, "validation": 25}
    errors = capsys.readouterr().err
    assert "missing.mp4" in errors and "dark.mp4" in errors
    assert [path.name for path in out.parent.iterdir()] == ["shards"]
    metadata = load_metadata(out)
    assert (metadata["resolution"], metadata["audio_encoder"]["name"]) == (32, "log_mel")
    batch = next(clip_batches(out, "validation", batch_size=1, seed=None, num_frames=16))
    assert batch["video"].shape == (1, 16, 32, 32, 3)
    lines = (out / "report.jsonl").read_text().splitlines()
    assert len(lines) == 4 and '"reason": "no_face"' in lines[2]
    page = (out / "report.html").read_text()
    assert "2 of 4" in page and "left out: no face" in page and "data:image/jpeg" in page


def test_large_sets_hold_out_whole_videos(tmp_path):
    path = write_clip(tmp_path / "a.mp4", seconds=1.0)
    sources = [SourceVideo(name=f"video{k}", speaker="a", path=path) for k in range(11)]
    outcomes = prepare_all(tmp_path / "out", sources)
    assert frames_by_split(outcomes) == {"train": 250, "validation": 25}


def test_a_named_data_set_is_loaded_by_tfds(tmp_path):
    path = write_clip(tmp_path / "a.mp4", seconds=1.0)
    splits = ("train", "test")
    sources = [SourceVideo(name=s, speaker=s, path=path, split=s) for s in splits]
    out = tmp_path / "data" / "hdtf" / "1.2.0"
    prepare_all(out, sources, name="hdtf", version="1.2.0", citation="Zhang et al.")
    data, info = tfds.load("hdtf", data_dir=str(tmp_path / "data"), with_info=True)
    assert (info.name, str(info.version), info.citation) == ("hdtf", "1.2.0", "Zhang et al.")
    (record,) = tfds.as_numpy(data["test"])
    assert record["frames"].shape == (25, 32, 32, 3)


def test_records_of_another_version_are_refused(tmp_path):
    sources = [source(write_clip(tmp_path / "a.mp4", seconds=1.0), split="train")]
    prepare_all(tmp_path / "out", sources, version="2.0.0")
    with pytest.raises(InputError, match=r"of version 2.0.0, this code reads 1"):
        load_metadata(tmp_path / "out")


def shards(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if "tfrecord" in p.name}


def test_work_that_was_stopped_goes_on_with_what_is_missing(tmp_path):
    sources = [source(write_clip(tmp_path / f"{c}.mp4", seconds=4.4)) for c in "abc"]
    prepare_all(tmp_path / "whole", sources)

    class Stops(KnownFace):
        """Fails, as a power cut does, at the third video."""

        count = 0

        def tracker(self):
            Stops.count += 1
            if Stops.count == 3:
                raise KeyboardInterrupt
            return super().tracker()

    with pytest.raises(KeyboardInterrupt):
        prepare_all(tmp_path / "resumed", sources, finder=Stops())
    assert not (tmp_path / "resumed").exists()
    Stops.count = -10
    prepare_all(tmp_path / "resumed", sources, finder=Stops())
    assert Stops.count == -9  # only the one that was missing
    assert shards(tmp_path / "resumed") == shards(tmp_path / "whole")
    assert not (tmp_path / ".resumed.work").exists()


def test_unfinished_work_with_other_settings_is_told(tmp_path):
    sources = [source(write_clip(tmp_path / "a.mp4"))]

    class Stops(KnownFace):
        def tracker(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_all(tmp_path / "out", sources, finder=Stops())
    with pytest.raises(InputError, match=r"\.out\.work: holds an unfinished preparation"):
        prepare_all(tmp_path / "out", sources, Settings(resolution=16, min_side=16))


def test_processes_that_were_killed_leave_work_to_go_on_with(tmp_path, talking_head):
    """The command with worker processes: killed with -9 in the middle, run again."""
    for name in "abc":
        (tmp_path / f"{name}.mp4").write_bytes(talking_head.read_bytes())
    options = [str(tmp_path / f"{name}.mp4") for name in "abc"]
    options += ["--resolution", "32", "--workers", "1", "--audio-encoder", "log_mel"]
    to_out = [*options, "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "data_pipelines.prepare", *to_out]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    work = tmp_path / ".out.work"
    outcomes = lambda: [p for p in work.glob("*.json") if p.name != "settings.json"]  # noqa: E731
    deadline = time.monotonic() + 120
    while not (work.is_dir() and outcomes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert outcomes() and not (tmp_path / "out").exists()
    first = min(outcomes())
    written = first.stat().st_mtime_ns
    time.sleep(2.5)  # The worker notices that it is alone.
    assert first.stat().st_mtime_ns == written
    assert main(to_out) == 0
    assert main([*options, "--out", str(tmp_path / "whole")]) == 0
    assert shards(tmp_path / "out") == shards(tmp_path / "whole")


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "noise.mp4").write_bytes(b"noise" * 100)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    for out, needle in (("out", "noise.mp4"), ("full", "not empty")):
        arguments = ["--out", str(tmp_path / out), "--workers", "0", str(tmp_path / "noise.mp4")]
        assert main(arguments) == 2
        errors = capsys.readouterr().err
        assert needle in errors and "error: " in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "noise.mp4"]


def test_the_command_prepares_a_talking_head(tmp_path, talking_head, capsys):
    out, people = tmp_path / "shards", tmp_path / "people"
    (people / "ann").mkdir(parents=True)
    (people / "ann" / "clip.mp4").write_bytes(talking_head.read_bytes())
    options = ["--resolution", "64", "--workers", "0", "--speaker-folders"]
    assert main(["--out", str(out), *options, str(people)]) == 0
    assert "prepared 1 of 1; 3.4 s train, 1.0 s validation" in capsys.readouterr().out
    batch = next(atom_batches(out, "train", batch_size=1, seed=0, num_frames=32))
    assert np.abs(batch["motion"]).max() < 3
    assert batch["audio_features"].shape == (1, 64, 384)
    assert load_metadata(out)["audio_encoder"]["name"] == "whisper-tiny.en"
    assert [clip.speaker for clip in read_speech_clips(out)] == ["ann"]
