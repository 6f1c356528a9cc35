"""Synthetic talking heads: sound, lips and picture belong together, and the face is found."""

import numpy as np
import pytest

from data_pipelines.loader import clip_batches, clip_windows
from data_pipelines.synthetic import HELD_OUT_SEED, make_clip
from data_pipelines.synthetic.__main__ import main
from data_pipelines.synthetic.articulation import mouth_tracks, random_motion
from data_pipelines.synthetic.head import expressions, get_head
from data_pipelines.synthetic.phonemes import INVENTORY, Segment, random_utterance
from data_pipelines.synthetic.shards import utterances
from data_pipelines.synthetic.template import FIELDS, MEAN
from data_pipelines.synthetic.voice import synthesize
from moditalker_jax.faces import FaceFinder
from moditalker_jax.landmark_backends import MEDIAPIPE
from moditalker_jax.landmarks import frontalize, mouth_opening
from moditalker_jax.media.video import read_video


@pytest.fixture(scope="module")
def clip():
    return make_clip(speaker=0, seed=5, seconds=2.4, resolution=128)


def _say(*symbols: str, seconds: float = 0.2) -> list[Segment]:
    return [
        Segment(INVENTORY[symbol], k * seconds, (k + 1) * seconds, 1.0, 1.0, 1.0)
        for k, symbol in enumerate(symbols)
    ]


def test_shapes_and_ranges(clip):
    assert clip.frames.shape == (60, 128, 128, 3) and clip.frames.dtype == np.uint8
    assert clip.audio.shape == (60 * 640,) and clip.audio.dtype == np.float32
    assert clip.landmarks.shape == (60, 68, 3) and clip.landmarks.dtype == np.float32
    assert 0.3 < np.abs(clip.audio).max() <= 1.0
    assert (clip.landmarks[..., :2] > 0).all() and (clip.landmarks[..., :2] < 127).all()


def test_phonemes_cover_the_clip_without_gaps(clip):
    symbols, starts, ends = zip(*clip.phonemes, strict=True)
    assert set(symbols) <= set(INVENTORY)
    assert starts[0] == 0 and ends[-1] == pytest.approx(2.4)
    np.testing.assert_allclose(starts[1:], ends[:-1])


def test_clip_follows_from_speaker_and_seed(clip):
    again = make_clip(speaker=0, seed=5, seconds=2.4, resolution=128)
    np.testing.assert_array_equal(again.frames, clip.frames)
    np.testing.assert_array_equal(again.audio, clip.audio)
    other_words = make_clip(speaker=0, seed=6, seconds=0.8, resolution=64)
    other_person = make_clip(speaker=1, seed=5, seconds=0.8, resolution=64)
    assert not np.allclose(other_words.audio, clip.audio[: other_words.audio.size])
    assert not np.allclose(other_person.audio, clip.audio[: other_person.audio.size])


def test_resolution_scales_landmarks_but_not_speech(clip):
    large = make_clip(speaker=0, seed=5, seconds=2.4, resolution=64)
    np.testing.assert_array_equal(large.audio, clip.audio)
    centres = (clip.landmarks[..., :2] + 0.5) / 2 - 0.5
    np.testing.assert_allclose(large.landmarks[..., :2], centres, atol=1e-3)


def test_lips_close_for_bilabials_and_open_for_a():
    motion = mouth_tracks(_say("a", "m", "a", "f", "a", "u"), 30)
    at = {k: motion["opening"][round((k + 0.5) * 0.2 * 25 - 0.5)] for k in range(6)}
    assert at[1] < 0.05 < 0.35 < at[0]
    assert at[3] < 0.25 and at[5] < 0.5 * at[4]
    assert motion["rounding"][-3] > 0.8 and motion["tuck"][17] > 0.8


def test_voiced_sounds_have_the_speakers_pitch_and_hiss_is_high():
    rng = np.random.default_rng(0)
    sound = synthesize(_say("_", "a", "s", seconds=0.4), pitch=120, formant_scale=1.0, rng=rng)
    silence, vowel, hiss = (sound[k * 6400 + 1600 : k * 6400 + 4800] for k in range(3))
    assert silence.std() < 0.02 * vowel.std()
    correlation = np.correlate(vowel, vowel, "full")[vowel.size - 1 :]
    period = 60 + np.argmax(correlation[60:260])
    assert 16000 / period == pytest.approx(120, rel=0.06)

    def centroid(part):
        power = np.abs(np.fft.rfft(part)) ** 2
        return (power * np.fft.rfftfreq(part.size, 1 / 16000)).sum() / power.sum()

    assert centroid(vowel) < 1500 < 4000 < centroid(hiss)


def test_mean_face_and_expressions_are_symmetric():
    mirrored = MEAN * [-1, 1, 1]
    distance = np.linalg.norm(mirrored[:, None] - MEAN[None], axis=-1).min(axis=1)
    assert distance.max() < 1e-9
    assert np.linalg.norm(MEAN[0] - MEAN[16]) == pytest.approx(2.0)
    assert all(field[[8, 27, 51, 57], 0].max() == 0 for field in FIELDS.values())


def test_head_pose_is_rigid():
    rng = np.random.default_rng(3)
    motion = random_motion(random_utterance(rng, 2.0, 1.0), 50, rng)
    assert np.degrees(np.abs(motion.rotation)).max(axis=0) == pytest.approx([8, 5, 3], abs=7)
    still = frontalize(expressions(get_head(2), motion))[0]
    turned = frontalize(make_clip(speaker=2, seed=9, seconds=2.0, resolution=64).landmarks)[0]
    nose = slice(27, 36)
    assert np.ptp(turned[:, nose], axis=0).max() < np.ptp(still[:, nose], axis=0).max() + 0.05


def test_motion_stays_in_model_range_and_is_lively(clip):
    frontal = frontalize(clip.landmarks)[0]
    residual = MEDIAPIPE.motion_scale * (frontal - frontal[:1])
    assert 0.3 < np.abs(residual).max() < 1.0
    assert mouth_opening(clip.landmarks[..., :2]).std() > 1.5


def test_speech_predicts_mouth_better_than_other_speech(clip):
    """Linear regression from nearby short-time spectra explains most of the opening."""
    clip = make_clip(speaker=1, seed=7, seconds=8.0, resolution=64)
    frames = clip.audio.reshape(-1, 640)
    power = np.log(np.abs(np.fft.rfft(frames * np.hanning(640), axis=1)) ** 2 + 1e-3)
    bands = power[:, :300].reshape(len(power), 12, 25).mean(axis=2)
    near = np.concatenate([np.roll(bands, shift, axis=0) for shift in (-1, 0, 1)], axis=1)
    design = np.c_[near, np.ones(len(near))]
    opening = mouth_opening(clip.landmarks)
    fit = np.linalg.lstsq(design[:150], opening[:150], rcond=None)[0]
    assert np.corrcoef(design[150:] @ fit, opening[150:])[0, 1] > 0.5
    assert abs(np.corrcoef(design[150:] @ fit, np.roll(opening[150:], 12))[0, 1]) < 0.5


@pytest.mark.parametrize("speaker", range(6))
def test_face_finder_finds_every_face_and_its_mouth(speaker):
    clip = make_clip(speaker=speaker, seed=21, seconds=1.6, resolution=256)
    found = FaceFinder().track(clip.frames)
    assert np.isfinite(found).all()
    width = np.linalg.norm(clip.landmarks[:, 0] - clip.landmarks[:, 16], axis=-1)[:, None]
    offset = np.linalg.norm((found - clip.landmarks)[..., :2], axis=-1) / width
    assert offset.mean() < 0.03
    both = [mouth_opening(points) for points in (found, clip.landmarks)]
    assert np.corrcoef(*both)[0, 1] > 0.85


def test_splits_share_no_utterance():
    plan = utterances(3, 24)
    assert {split: len(chosen) for split, chosen in plan.items()} == {
        "train": 60,
        "validation": 6,
        "test": 6,
    }
    everything = sum(plan.values(), [])
    assert len(set(everything)) == len(everything)
    assert max(seed for _, seed in plan["train"]) < HELD_OUT_SEED


def test_command_writes_videos_with_exact_landmarks(tmp_path):
    arguments = ["--write", "videos", "--speakers", "1", "--clips-per-speaker", "3"]
    arguments += ["--seconds", "0.8", "--resolution", "64", "--out", str(tmp_path / "new")]
    assert main(arguments) == 0
    videos = sorted((tmp_path / "new").glob("*.mp4"))
    assert len(videos) == 3
    video = read_video(videos[0])
    truth = np.load(videos[0].with_suffix(".npz"))
    assert video.frames.shape == (20, 64, 64, 3) and video.audio.size == 20 * 640
    assert truth["landmarks"].shape == (20, 68, 3)


def test_command_writes_shards_that_the_loader_reads(tmp_path):
    arguments = ["--speakers", "1", "--clips-per-speaker", "3", "--seconds", "0.8"]
    arguments += ["--workers", "2"]
    assert main([*arguments, "--resolution", "64", "--out", str(tmp_path)]) == 0
    found = FaceFinder().track(make_clip(speaker=0, seed=0, seconds=0.8, resolution=256).frames)
    record = next(iter(clip_windows(tmp_path, "train", num_frames=20, stride=20, resolution=64)))
    assert record["name"] == "speaker000-0000000"
    np.testing.assert_allclose(
        mouth_opening(record["landmarks"]) / mouth_opening(record["landmarks"]).max(),
        mouth_opening(found) / mouth_opening(found).max(),
        atol=1e-4,
    )
    batch = next(iter(clip_batches(tmp_path, "train", 1, seed=0, num_frames=16, resolution=64)))
    assert batch["video"].shape == (1, 16, 64, 64, 3)
    assert batch["landmarks"][..., :2].min() > 0 and batch["landmarks"][..., :2].max() < 1


def test_command_tells_in_one_line_that_it_cannot_write(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ["--write", "videos", "--seconds", "0.8", "--out", str(tmp_path / "file")]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")
