"""Puppets: the command from portraits and recordings to shards, and what a puppet's mouth does."""

import cv2
import numpy as np
import pytest

from data_pipelines.arrays.loader import CLIPS
from data_pipelines.arrays.store import ArraySet
from data_pipelines.builder import load_metadata, read_clips
from data_pipelines.prepare.clip import Rejected
from data_pipelines.puppets.__main__ import main
from data_pipelines.puppets.driver import inner_gap, read_driver
from data_pipelines.puppets.pairs import pair
from data_pipelines.puppets.portrait import close_mouth, keep_lips_apart, read_portrait
from data_pipelines.puppets.puppet import Style, mesh_motion, pose
from data_pipelines.puppets.raster import rasterize
from data_pipelines.synthetic import make_clip
from moditalker_jax.errors import InputError
from moditalker_jax.faces import FaceFinder
from moditalker_jax.landmarks import mouth_opening
from moditalker_jax.media.image import write_png
from moditalker_jax.media.video import write_video

SECONDS = 0.8


@pytest.fixture(scope="module")
def finder():
    return FaceFinder(num_threads=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Ten portraits and ten short recordings of drawn heads, and portraits that are no use."""
    folder = tmp_path_factory.mktemp("puppets")
    for speaker in range(2):
        clip = make_clip(speaker=speaker, seed=5, seconds=SECONDS, resolution=200)
        for copy in range(5):
            write_png(folder / "portraits" / f"{speaker}{copy}.png", clip.frames[3 * copy])
            audio = None if copy == 4 else clip.audio
            write_video(folder / "recordings" / f"{speaker}{copy}.mp4", clip.frames, audio=audio)
    face = clip.frames[0]
    write_png(folder / "bad" / "blank.png", np.full_like(face, 128))
    write_png(folder / "bad" / "two.png", np.concatenate([face, face], axis=1))
    grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    write_png(folder / "bad" / "grey.png", grey)
    return folder


@pytest.fixture(scope="module")
def driver(folders, finder):
    return read_driver(folders / "recordings" / "00.mp4", finder)


def command(folders, out, *more):
    return main(
        ["--portraits", str(folders / "portraits"), "--recordings", str(folders / "recordings")]
        + ["--out", str(out), "--resolution", "64", "--audio-encoder", "log_mel"]
        + ["--workers", "0", "--count", "3", *more]
    )


def test_the_command_writes_the_records_of_prepare(folders, tmp_path, capsys):
    assert command(folders, tmp_path / "shards") == 0
    clips = list(read_clips(tmp_path / "shards", "train"))
    assert len(clips) == 3 and len({clip.speaker for clip in clips}) == 3
    metadata = load_metadata(tmp_path / "shards")
    assert metadata["source"] == "puppets" and metadata["resolution"] == 64
    for clip in clips:
        assert clip.frames.shape == (20, 64, 64, 3)
        assert np.ptp(clip.frames.mean(axis=(1, 2, 3))) < 20
        assert 0.2 < clip.landmarks[..., :2].mean() < 0.8
        assert mouth_opening(clip.frontal_landmarks).std() > 0
        assert len(clip.audio_features) == (40 if len(clip.audio) else 0)
    assert "prepared 4 of 4" in capsys.readouterr().out
    # The same call with another form: the same clips, and no shards.
    assert command(folders, tmp_path / "arrays", "--form", "arrays") == 0
    records = ArraySet(tmp_path / "arrays", CLIPS).split("train")
    by_name = {clip.name: clip for clip in clips}
    assert {fact["name"] for fact in records.facts} == set(by_name)
    for index, fact in enumerate(records.facts):
        np.testing.assert_array_equal(
            records.whole(index, "landmarks"), by_name[fact["name"]].landmarks
        )


@pytest.mark.parametrize(
    ("file", "reason"), [("blank", "no face"), ("two", "2 faces"), ("grey", "no colours")]
)
def test_portraits_that_are_no_use_are_told_by_name(folders, finder, file, reason):
    with pytest.raises(Rejected, match=f"{file}.png: .*{reason}"):
        read_portrait(folders / "bad" / f"{file}.png", finder)


def test_held_out_portraits_and_recordings_stay_apart(folders):
    names = {f"p{k}": folders for k in range(20)}, {f"r{k}": folders for k in range(30)}
    sources = pair(*names, 45)
    assert len({source.name for source in sources}) == len(sources) == 50
    used = {
        split: [source.name.split("--") for source in sources if source.split == split]
        for split in ("train", "validation")
    }
    for side in (0, 1):
        train, held_out = ({names[side] for names in used[split]} for split in used)
        assert not train & held_out
    counts = np.unique([names[0] for names in used["train"]], return_counts=True)[1]
    assert np.ptp(counts) <= 2
    assert [s.name for s in pair(*names, 45)] == [s.name for s in sources]
    with pytest.raises(InputError, match="too few"):
        pair({"one": folders}, names[1], 3)


def test_a_puppet_opens_its_mouth_as_the_recording(folders, finder, driver):
    portrait = read_portrait(folders / "portraits" / "10.png", finder)
    length = len(driver)
    still = np.repeat(np.eye(3)[None], length, axis=0)
    shift, blink = np.zeros((length, 2)), np.zeros(length)
    for amplitude in (1.0, 0.5):
        style = Style(amplitude=amplitude, rest=0.0, rotation=still, shift=shift, blink=blink)
        gap = inner_gap(mesh_motion(portrait, driver, style))
        expected = amplitude * inner_gap(driver.motion)
        assert np.corrcoef(gap, expected)[0, 1] > 0.99
        assert gap.min() < 0.01 and abs(np.ptp(gap) / np.ptp(expected) - 1) < 0.15
    # Nothing but the mouth moves where the head stands still and the eyes are open.
    puppet = pose(portrait, np.repeat(portrait.frontal[None], length, axis=0), style)
    np.testing.assert_allclose(puppet.meshes[0, :, :2], portrait.mesh[:, :2], atol=0.05)


def test_lips_never_pass_through_each_other(folders, finder, driver):
    portrait = read_portrait(folders / "portraits" / "02.png", finder)
    opening = np.zeros((468, 3))
    assert (close_mouth(portrait, opening) == keep_lips_apart(portrait.frontal)).all()
    crossed = portrait.frontal.copy()
    crossed[13, 1], crossed[14, 1] = 0.0, 0.1
    apart = keep_lips_apart(crossed)
    assert apart[13, 1] == apart[14, 1] == 0.05


def test_triangles_become_a_sampling_map():
    targets = np.float32([[0, 0], [8, 0], [0, 8], [8, 8]])
    sampling, depth = np.full((9, 9, 2), -1, np.float32), np.full((9, 9), -9, np.float32)
    triangles = np.int32([[0, 1, 2], [1, 3, 2]])
    rasterize(targets, np.zeros(4, np.float32), 2 * targets + 1, triangles, sampling, depth)
    x, y = np.meshgrid(np.arange(9), np.arange(9))
    np.testing.assert_allclose(sampling, np.stack([2 * x + 1, 2 * y + 1], -1), atol=1e-4)
    behind = np.full(4, -1, np.float32)
    rasterize(targets, behind, 0 * targets, triangles, sampling, depth)
    assert (sampling >= 1).all()
