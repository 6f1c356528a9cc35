"""Faces: the detector's arithmetic by hand, finding and tracking on drawn faces, crops."""

from pathlib import Path

import numpy as np
import pytest

from data_pipelines.synthetic import make_clip
from moditalker_jax.errors import InputError
from moditalker_jax.faces import (
    CropBox,
    FaceFinder,
    centre_square,
    clip_crop,
    crop_frames,
    landmarks_from_mesh,
)
from moditalker_jax.faces import detector as detection
from moditalker_jax.faces.mesh import Roi, roi_from_mesh, warp


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder(num_threads=1)


@pytest.fixture(scope="module")
def clip():
    return make_clip(speaker=1, seed=1_000_005, seconds=0.4, resolution=256)


def eye_distances(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Errors in the picture as shares of the distance between the outer eye corners."""
    between = np.linalg.norm(truth[..., 36, :2] - truth[..., 45, :2], axis=-1)[..., None]
    return np.linalg.norm(found[..., :2] - truth[..., :2], axis=-1) / between


def test_anchor_grids_have_the_networks_sizes():
    near = detection.anchor_centres(detection.SHORT_RANGE.grids)
    assert near.shape == (896, 2)
    np.testing.assert_allclose(near[:3], [[1 / 32, 1 / 32], [1 / 32, 1 / 32], [3 / 32, 1 / 32]])
    np.testing.assert_allclose(near[512], [1 / 16, 1 / 16])
    assert detection.anchor_centres(detection.FULL_RANGE.grids).shape == (2304, 2)


def test_decode_counts_from_the_anchor():
    regressors = np.zeros((1, 16), np.float32)
    regressors[0, :6] = [2, 3, 10, 20, 5, 6]
    points = detection.decode(regressors, np.array([[0.25, 0.5]], np.float32), 128)
    np.testing.assert_allclose(points[0, :3], [[29, 57], [39, 77], [37, 70]])


def test_suppression_averages_clusters_and_keeps_others():
    boxes = np.array([[[0, 0], [10, 10]], [[1, 0], [11, 10]], [[50, 50], [60, 60]]], float)
    points = np.concatenate([boxes, np.zeros((3, 6, 2))], axis=1)
    merged = detection.suppress(points, np.array([0.9, 0.3, 0.8]))
    assert [score for _, score in merged] == [0.9, 0.8]
    np.testing.assert_allclose(merged[0][0][:2], [[0.25, 0], [10.25, 10]])
    np.testing.assert_allclose(detection.overlap(boxes[0], boxes), [1, 9 / 11, 0])


def test_letterbox_keeps_the_shape():
    image = np.full((50, 200, 3), 255, np.uint8)
    canvas, scale, offset = detection.letterbox(image, 100)
    assert scale == 0.5
    assert offset.tolist() == [0, 37]
    assert canvas[37:62].min() == 255
    assert canvas[:37].max() == canvas[62:].max() == 0


def test_warp_takes_the_rotated_region():
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 20:30] = 255  # A mark left of the centre, in a picture turned by a quarter.
    roi = Roi(centre=np.array([50.0, 50.0]), size=80.0, angle=np.pi / 2)
    crop = warp(image, roi.to_image(80), 80)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    np.testing.assert_allclose([columns.mean(), rows.mean()], [40, 64.5], atol=1.0)


def test_landmarks_blend_vertices():
    mesh = np.random.default_rng(0).standard_normal((2, 468, 3))
    landmarks = landmarks_from_mesh(mesh)
    np.testing.assert_allclose(landmarks[:, 8], mesh[:, 152])
    np.testing.assert_allclose(landmarks[:, 0], (mesh[:, 162] + mesh[:, 127]) / 2)
    np.testing.assert_allclose(landmarks_from_mesh(2 * mesh + 1), 2 * landmarks + 1)


def test_finds_a_drawn_face(finder, clip):
    faces = finder.find(clip.frames[0])
    assert len(faces) == 1
    left, top, right, bottom = faces[0].box
    nose = clip.landmarks[0, 30]
    assert left < nose[0] < right
    assert top < nose[1] < bottom
    assert eye_distances(faces[0].landmarks, clip.landmarks[0]).mean() < 0.06
    # Depth points to the viewer: the nose stands out from the jaw's ends.
    assert faces[0].landmarks[30, 2] > faces[0].landmarks[[0, 16], 2].max()


def test_finds_nothing_in_noise(finder):
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    assert finder.find(noise) == []
    assert np.isnan(finder.track([noise, noise])).all()


def test_several_faces_come_largest_first(finder, clip):
    picture = np.full((256, 384, 3), 90, np.uint8)
    picture[64:192, 256:] = clip.frames[0][::2, ::2]
    picture[:, :256] = clip.frames[0]
    faces = finder.find(picture)
    assert len(faces) == 2
    assert faces[0].box[2] < 256 < faces[1].box[0]


def test_finds_a_small_face(finder, clip):
    picture = np.full((1280, 960, 3), 90, np.uint8)
    picture[300:428, 500:628] = clip.frames[0][::2, ::2]
    (face,) = finder.find(picture)
    truth = clip.landmarks[0] / 2 + [500, 300, 0]
    assert eye_distances(face.landmarks, truth).mean() < 0.1


def test_tracks_and_finds_again_after_a_loss(finder, clip):
    blank = np.zeros_like(clip.frames[0])
    shifted = np.roll(clip.frames[6:], 20, axis=2)
    landmarks = finder.track([*clip.frames[:4], blank, *shifted])
    assert landmarks.dtype == np.float32
    assert np.isnan(landmarks[4]).all()
    np.testing.assert_array_less(eye_distances(landmarks[:4], clip.landmarks[:4]).mean(1), 0.06)
    truth = clip.landmarks[6:] + [20, 0, 0]
    np.testing.assert_array_less(eye_distances(landmarks[5:], truth).mean(1), 0.06)


def test_tracking_nothing_gives_nothing(finder):
    assert finder.track([]).shape == (0, 68, 3)


def test_tracking_region_follows_tilt_and_scale(finder, clip):
    mesh = finder.find(clip.frames[0])[0].mesh
    roi = roi_from_mesh(mesh)
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = mesh.copy()
    turned[:, :2] = 2 * mesh[:, :2] @ turn
    other = roi_from_mesh(turned)
    np.testing.assert_allclose(other.centre, 2 * roi.centre @ turn, atol=1e-2)
    np.testing.assert_allclose(other.size, 2 * roi.size, rtol=1e-5)
    np.testing.assert_allclose(other.angle - roi.angle, np.pi / 2, atol=1e-5)


def test_crop_box_maps_both_ways():
    points = np.random.default_rng(0).uniform(0, 100, (3, 68, 3)).astype(np.float32)
    box = CropBox(left=-10, top=20, size=50)
    assert box.to_crop(np.array([[-10.0, 20.0, 25.0]])).tolist() == [[0, 0, 0.5]]
    np.testing.assert_allclose(box.to_image(box.to_crop(points, 128), 128), points, atol=1e-4)


def test_crop_frames_the_face_as_hdtf_does(clip):
    far = clip.landmarks * 0.4 + [300, 200, 0]
    box = clip_crop(far)
    inside = box.to_crop(far)
    assert inside[..., :2].min() > 0.05
    assert inside[..., :2].max() < 0.95
    brows_to_chin = inside[:, 8, 1] - inside[:, 17:27, 1].mean(axis=1)
    assert 0.4 < np.median(brows_to_chin) < 0.55


def test_crop_leaves_out_missing_frames_and_needs_one(clip):
    gappy = clip.landmarks.copy()
    gappy[2] = np.nan
    complete = np.delete(clip.landmarks, 2, axis=0)
    assert clip_crop(gappy) == clip_crop(complete)
    with pytest.raises(InputError, match="no face"):
        clip_crop(np.full((2, 68, 3), np.nan))


def test_crop_grows_with_motion(clip):
    moving = np.concatenate([clip.landmarks, clip.landmarks + [150, 0, 0]])
    inside = clip_crop(moving).to_crop(moving)
    assert inside[..., 0].min() > 0
    assert inside[..., 0].max() < 1


def test_crop_stays_inside_the_picture_where_it_can(clip):
    tight = clip.landmarks * 1.2 - [30, 30, 0]
    box = clip_crop(tight, frame_size=(256, 256))
    assert (box.left, box.top, box.size) == (0, 0, 256)
    corner = clip.landmarks * 0.5
    box = clip_crop(corner, frame_size=(600, 400))
    assert box.left >= 0
    assert box.top >= 0


def test_crop_frames_cut_exactly_and_repeat_edges():
    frame = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
    cut = crop_frames([frame], CropBox(left=2, top=3, size=4), 4)
    np.testing.assert_array_equal(cut[0], frame[3:7, 2:6])
    outside = crop_frames([frame], CropBox(left=-2, top=0, size=4), 4)[0, 0, :, 0]
    assert outside.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("name", ["down_wide", "down_tall", "up", "same"])
def test_centre_square_is_the_releases(name):
    goldens = np.load(Path(__file__).parent / "goldens" / "data_path.npz")
    frames = goldens[f"resize_crop/{name}/in_u8"].transpose(0, 2, 3, 1)
    expected = goldens[f"resize_crop/{name}/out"].transpose(1, 2, 3, 0)
    made = np.stack([centre_square(frame, 16) for frame in frames])
    np.testing.assert_allclose(made, expected, atol=1e-3)
