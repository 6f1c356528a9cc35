"""Generation with small random networks: lengths, chaining, blending, seeds and notebooks."""

import cv2
import jax
import numpy as np
import pytest

import moditalker_jax
from moditalker_jax.errors import InputError
from moditalker_jax.generation.blending import blend, edge_colours, face_mask
from moditalker_jax.generation.reference import Reference
from moditalker_jax.landmark_backends import bfm_backend
from moditalker_jax.landmarks import MEAN_FACE
from tests.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def pipeline(checkpoint):
    return moditalker_jax.load(checkpoint)


def face_in_frame(count: int) -> np.ndarray:
    """The mean face in the middle of a frame, in units of its width, drifting to the right."""
    points = MEAN_FACE * [0.2, -0.2, 0.2] + [0.5, 0.5, 0.0]
    drift = np.linspace(0, 0.05, count)[:, None, None] * [1.0, 0.0, 0.0]
    return (points + drift).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    frames = np.random.RandomState(0).randint(0, 255, (5, 32, 32, 3)).astype(np.uint8)
    return Reference(frames, face_in_frame(5))


@pytest.fixture(scope="module")
def speech():
    return np.random.RandomState(1).uniform(-0.3, 0.3, 16_000 * 2).astype(np.float32)


@pytest.fixture(scope="module")
def video(pipeline, speech, reference):
    return pipeline.generate(speech, reference, seed=3)


def test_video_is_as_long_as_the_audio(video, speech):
    assert video.frames.shape == (50, 32, 32, 3)
    assert len(video.audio) == len(speech)
    assert video.landmarks.shape == video.frontal_landmarks.shape == (50, 68, 3)


def test_a_seed_reproduces_and_another_differs(pipeline, speech, reference, video):
    again = pipeline.generate(speech[:8000], reference, seed=3)
    np.testing.assert_array_equal(
        again.frames, pipeline.generate(speech[:8000], reference, seed=3).frames
    )
    other = pipeline.generate(speech[:8000], reference, seed=4)
    assert not np.array_equal(again.frontal_landmarks, other.frontal_landmarks)


def test_motion_windows_are_chained(pipeline):
    features = np.random.RandomState(2).normal(size=(60, 80)).astype(np.float32)
    frames = pipeline.motion.atom.model.num_frames
    told = []
    landmarks = pipeline.motion(
        features, MEAN_FACE, jax.random.key(0), on_window=lambda *done: told.append(done)
    )
    assert landmarks.shape == (30, 68, 3)
    assert told == [(1, 3), (2, 3), (3, 3)]
    scale = pipeline.motion.atom.data["motion_scale"]
    # Each residual lies in [-1, 1] around the last frame of the window before.
    step = np.abs(landmarks[frames : 2 * frames] - landmarks[frames - 1]).max() * scale
    assert step <= 1.0 + 1e-5
    alone = pipeline.motion(features[:24], MEAN_FACE, jax.random.key(0))
    np.testing.assert_allclose(alone, landmarks[:frames], atol=1e-6)


def test_identity_of_a_clip_is_its_first_reference_frame(pipeline, reference):
    played = reference.played_for(40)
    identities = []
    generate = pipeline.frames._generate

    def spy(landmarks, frames, frame_landmarks, identity, audio_features, key):
        identities.append(identity)
        return generate(landmarks, frames, frame_landmarks, identity, audio_features, key)

    pipeline.frames._generate = spy
    try:
        finished = pipeline.frames(
            played.landmarks,
            played.frames,
            played.landmarks,
            jax.random.key(0),
            audio_features=np.zeros((80, 1), np.float32),
            finish=lambda frames, start: np.full(frames.shape, start, np.uint8),
        )
    finally:
        pipeline.frames._generate = generate
    assert finished.shape == (40, 32, 32, 3)
    assert len(identities) == 3
    for start, identity in zip((0, 16, 32), identities, strict=True):
        np.testing.assert_array_equal(identity, played.frames[start])
    assert [finished[k].mean() for k in (0, 16, 32)] == [0, 16, 32]


def test_a_video_is_played_to_and_fro_and_a_photo_stands(reference):
    played = reference.played_for(11).landmarks[:, 0, 0]
    order = [0, 1, 2, 3, 4, 3, 2, 1, 0, 1, 2]
    np.testing.assert_array_equal(played, reference.landmarks[order, 0, 0])
    photo = Reference(reference.frames[:1], reference.landmarks[:1]).played_for(7)
    assert len(photo.frames) == 7
    assert (photo.frames == photo.frames[0]).all()


def test_blending_keeps_the_frame_outside_the_face():
    landmarks = face_in_frame(1)
    reference = np.full((1, 64, 64, 3), 200, np.uint8)
    generated = np.full((1, 64, 64, 3), 150 / 127.5 - 1.0)
    row, column = (landmarks[0, 62, 1::-1] * 64).astype(int)
    generated[0, row, column] = -1.0
    made = blend(generated, reference, landmarks, landmarks)
    mask = face_mask(landmarks[0], 64)
    assert (made[0][mask == 0] == 200).all()
    assert (mask == 0).any()
    assert 0 < mask[(mask > 0) & (mask < 1)].mean() < 1
    # Skin takes the colour around the mask, and what is darker than it stays as much darker.
    assert abs(int(made[0, row, column, 0]) - 50) <= 2
    skin = np.delete(made[0][mask > 0.9].ravel(), np.flatnonzero(made[0][mask > 0.9] < 100))
    assert (abs(skin.astype(int) - 200) <= 2).all()


def test_colours_at_the_edge_are_carried_inwards_smoothly():
    rng = np.random.default_rng(0)
    masks = np.repeat(face_mask(face_in_frame(1)[0], 64)[None, ..., None], 3, axis=0)
    reference = rng.integers(90, 110, (3, 64, 64, 3)).astype(np.uint8)
    tint = np.array([30.0, -10.0, 5.0])
    added = edge_colours(reference - tint, reference, masks)
    np.testing.assert_allclose(added, np.broadcast_to(tint, added.shape), atol=0.5)
    shade = np.linspace(-20, 20, 64)[None, None, :, None]
    carried = edge_colours(reference - shade, reference, masks)[..., 0]
    assert np.abs(np.diff(carried, axis=1)).max() < 1.5 and np.ptp(carried[32]) > 10


def test_result_shows_itself_in_a_notebook(video):
    html = video._repr_html_()
    assert html.startswith("<video controls src=")
    assert len(html) > 5000


def test_a_stage_of_another_kind_is_told(checkpoint, tmp_path):
    (tmp_path / "atom").symlink_to(checkpoint / "mtov")
    with pytest.raises(InputError, match="stage 'mtov', not 'atom'"):
        moditalker_jax.generation.pipeline.load_stage(tmp_path / "atom", stage="atom")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"audio_encoder": {"name": "log_mel", "width": 80, "version": 0}}, "version 0"),
        ({"landmark_backend": "deep3d-bfm/68", "mean_face": None}, "again with --mean-face"),
        ({"audio_encoder": {"name": "hubert", "width": 80, "version": 1}}, "'hubert' is no folder"),
    ],
)
def test_checkpoints_of_other_data_are_told(tmp_path, data, told):
    directory = write_checkpoint(tmp_path / "other", **data)
    with pytest.raises(InputError, match=told):
        moditalker_jax.load(directory)


def test_landmarks_of_the_bfm_come_from_the_user(tmp_path, checkpoint, pipeline, speech):
    mean = 0.5 * MEAN_FACE
    backend = bfm_backend(mean).metadata()
    bfm = moditalker_jax.load(write_checkpoint(tmp_path / "bfm", **backend))
    face = tmp_path / "face.png"
    cv2.imwrite(str(face), np.full((64, 64, 3), 90, np.uint8))
    np.save(tmp_path / "face.npy", 64 * face_in_frame(1)[0])
    speech = speech[:6400]
    video = bfm.generate(speech, face, landmarks=tmp_path / "face.npy")
    assert video.frames.shape == (10, 32, 32, 3)
    # Its frontal faces are of the backend's size, those of the other backend's twice as large.
    widths = np.ptp(video.frontal_landmarks[:, 36:48, 0], axis=1)
    np.testing.assert_allclose(widths, np.ptp(mean[36:48, 0]), rtol=0.3)
    with pytest.raises(InputError, match="'deep3d-bfm/68'.* give those of the identity with"):
        bfm.generate(speech, face)
    with pytest.raises(InputError, match="which are found here; leave --landmarks out"):
        pipeline.generate(speech, face, landmarks=tmp_path / "face.npy")
    np.save(tmp_path / "two.npy", 64 * face_in_frame(2))
    with pytest.raises(InputError, match="has 1 frames at 25 fps, the landmarks are of 2"):
        bfm.generate(speech, face, landmarks=tmp_path / "two.npy")
    np.save(tmp_path / "bad.npy", np.zeros((3, 68, 2)))
    with pytest.raises(InputError, match="bad.npy: holds no landmarks"):
        bfm.generate(speech, face, landmarks=tmp_path / "bad.npy")
