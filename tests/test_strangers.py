"""The measuring stick: figures of every stage on photos and recordings, and sheets to look at."""

import json

import numpy as np
import pytest

from data_pipelines.synthetic import make_clip
from moditalker_jax.evaluation.strangers import __main__ as strangers
from moditalker_jax.evaluation.strangers import figures, sheets
from moditalker_jax.generation.reference import Reference
from moditalker_jax.generation.talking_video import TalkingVideo
from moditalker_jax.landmarks import MEAN_FACE
from moditalker_jax.media.audio import write_wav
from moditalker_jax.media.image import read_image, write_png
from moditalker_jax.media.video import write_video
from tests.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The command's folder, status and what it printed, on drawn heads and a tiny network."""
    folder = tmp_path_factory.mktemp("strangers")
    clip = make_clip(speaker=0, seed=1, seconds=1.4, resolution=192)
    write_png(folder / "photos" / "face.png", clip.frames[0])
    write_png(folder / "photos" / "wall.png", np.full((64, 64, 3), 90, np.uint8))
    write_wav(folder / "speech" / "hello.wav", clip.audio[:16_000])
    write_video(folder / "recordings" / "talk.mp4", clip.frames, audio=clip.audio)
    (folder / "late.csv").write_text("talk.mp4,40\n")
    checkpoint = write_checkpoint(folder / "checkpoint")
    flags = {
        "--checkpoint": checkpoint,
        "--photos": folder / "photos",
        "--speech": folder / "speech",
        "--recordings": folder / "recordings",
        "--late": folder / "late.csv",
        "--out": folder / "out",
    }
    status = strangers.main([str(part) for pair in flags.items() for part in pair])
    return folder / "out", status


def test_every_part_has_figures_and_a_bad_photo_is_left_out(measured):
    out, status = measured
    report = json.loads((out / "figures.json").read_text())
    assert status == 3 and len(report["left_out"]) == 1
    assert "wall.png: no face found" in report["left_out"][0]
    rows = report["figures"]
    assert set(rows["autoencoder"]["talk"]) == {"psnr", "mouth_psnr"}
    assert set(rows["atom, mean of 8"]["talk"]) == {"correlation", "error"}
    assert set(rows["photos"]) == {"face"} and set(rows["recordings"]) == {"talk"}
    assert np.isfinite(list(rows["recordings beside the truth"]["talk"].values())[1:]).all()
    assert (out / "photos" / "face.mp4").exists() and (out / "recordings" / "talk.mp4").exists()


def test_sheets_hold_truth_above_what_was_made(measured):
    out, _ = measured
    for part, rows in (("autoencoder", 2), ("photos", 1), ("recordings", 2)):
        sheet = read_image(out / f"{part}_1.png")
        assert sheet.shape == (rows * sheets.SIDE, sheets.MOMENTS * sheets.SIDE, 3)


def test_table_says_medians_of_what_was_measured():
    rows = {"photos": {"a": {"found": 1.0}, "b": {"found": 0.5}, "c": {"found": float("nan")}}}
    assert "| photos | 2 | found | 0.750 | 0.750 | 0.500 | 1.000 |" in strangers.table(rows)


def test_psnr_inside_masks():
    truth = np.zeros((2, 4, 4, 3), np.uint8)
    made, masks = truth.copy(), np.zeros((2, 4, 4), bool)
    made[:, 0, 0], masks[:, 0] = 16, True
    expected = 10 * np.log10(255**2 / (16**2 / 4))
    assert abs(figures.psnr(made, truth, masks) - expected) < 1e-6


class KnownFinder:
    """Finds landmarks that are given."""

    def __init__(self, landmarks):
        self.landmarks = landmarks

    def tracker(self):
        given = iter(self.landmarks)
        return lambda frame: next(given).astype(np.float32)


def test_asked_and_seen_openings_are_compared():
    face = MEAN_FACE * [1, -1, 1] * 0.2 + 0.5
    asked = np.repeat(face[None], 30, axis=0).astype(np.float32)
    opening = 0.02 * (1 + np.sin(0.3 * np.arange(30)))
    asked[:, 65:68, 1] += opening[:, None]
    video = TalkingVideo(np.zeros((30, 256, 256, 3), np.uint8), np.zeros(0), asked, asked)
    half = asked.copy()
    half[:, 65:68, 1] -= opening[:, None] / 2
    row = figures.asked_and_seen(video, KnownFinder(half * 256))
    # Seen landmarks are weakly smoothed over time, which takes a little of the motion.
    assert row["found"] == 1 and row["correlation"] > 0.99 and 0.45 < row["ratio"] < 0.5
    lost = np.full_like(half, np.nan)
    assert figures.asked_and_seen(video, KnownFinder(lost))["found"] == 0


def test_a_recording_beside_itself_is_perfect():
    clip = make_clip(speaker=1, seed=2, seconds=0.4, resolution=128)
    landmarks = (clip.landmarks / 128).astype(np.float32)
    video = TalkingVideo(clip.frames, clip.audio, landmarks, landmarks)
    finder = KnownFinder(landmarks * 256)
    row = figures.beside_truth(video, Reference(clip.frames, landmarks), finder)
    assert row["lower_psnr"] > 90 and row["lower_lpips"] < 1e-6
    assert row["mouth_correlation"] > 0.9
