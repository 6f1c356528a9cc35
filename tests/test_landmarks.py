"""Landmarks: drawing, masking and pose arithmetic against the goldens; alignment both ways."""

from pathlib import Path

import numpy as np
import pytest

from moditalker_jax import landmarks as lib
from moditalker_jax.pose import rigid_transform, rotation_from_angles, undo_crop

GOLDEN = np.load(Path(__file__).parent / "goldens" / "data_path.npz")


def white_pixels(frames: np.ndarray) -> np.ndarray:
    assert set(np.unique(frames)) <= {0, 255}
    assert (frames == frames[..., :1]).all()
    return np.argwhere(frames[..., 0] == 255)


def posed_faces(num_frames: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Speaking faces in image axes and pixels, and the same faces frontal."""
    rng = np.random.default_rng(seed)
    frontal = np.repeat(lib.MEAN_FACE[None].astype(np.float64), num_frames, axis=0)
    frontal[:, 48:] += 0.1 * rng.standard_normal((num_frames, 20, 3))
    frontal[:, 3:14] += 0.1 * rng.standard_normal((num_frames, 11, 3))
    angles = rng.uniform(-0.5, 0.5, (num_frames, 3))
    turned = rigid_transform(frontal, rotation_from_angles(angles), np.zeros((num_frames, 3)))
    size = rng.uniform(50, 90, (num_frames, 1, 1))
    image = (turned * size) * [1, -1, 1] + rng.uniform(80, 200, (num_frames, 1, 3))
    return image.astype(np.float32), frontal.astype(np.float32)


def test_drawing_pixel_landmarks_matches_golden():
    frames = lib.draw_landmarks(GOLDEN["draw/pixel_lm_WH512"] * (256 / 512), 256, 3)
    assert frames.shape == (2, 256, 256, 3)
    np.testing.assert_array_equal(white_pixels(frames), GOLDEN["draw/pixel_out_nonzero"])


@pytest.mark.parametrize("flip", [False, True])
def test_drawing_normalised_landmarks_matches_golden(flip):
    points = (GOLDEN["draw/norm_lm3d"][..., :2] + 1) / 2 * 256
    if flip:
        points[..., 1] = 256 - points[..., 1]
    name = "draw/norm_out_flip_nonzero" if flip else "draw/norm_out_nonzero"
    np.testing.assert_array_equal(white_pixels(lib.draw_landmarks(points, 256)), GOLDEN[name])


def test_disc_is_the_golden_one():
    frame = lib.draw_landmarks(np.array([[[3.9, 3.0]]]), 7, 3)[0, ..., 0]
    np.testing.assert_array_equal(frame, GOLDEN["draw/disc_7x7"])


def test_drawing_skips_missing_and_far_points():
    points = np.array([[[np.nan, 1.0], [1e12, -1e12], [2.0, 2.0]]])
    assert len(white_pixels(lib.draw_landmarks(points, 8, 1.5))) == 9


def test_mask_below_nose_matches_golden():
    frames = GOLDEN["crop_lower/in"].transpose(1, 2, 0)[None]
    masked = lib.mask_below_nose(frames, GOLDEN["crop_lower/landmarks"][None])
    expected = GOLDEN["crop_lower/out_u8"].transpose(1, 2, 0)[None]
    np.testing.assert_array_equal(masked.astype(np.uint8), expected)


def test_mask_follows_each_frame():
    points = np.zeros((2, 68, 3))
    points[:, 33, 1] = [1.9, 3.2]
    masked = lib.mask_below_nose(np.full((2, 5, 5, 3), 9, np.uint8), points)
    assert (masked[:, :, 0, 0] == [[9, 0, 0, 0, 0], [9, 9, 9, 0, 0]]).all()


def test_rotation_and_rigid_transform_match_golden():
    rotation = rotation_from_angles(GOLDEN["align/angles"])
    np.testing.assert_allclose(rotation, GOLDEN["align/rotation"], atol=1e-6)
    moved = rigid_transform(GOLDEN["align/vs"], rotation, GOLDEN["align/translation"])
    np.testing.assert_allclose(moved, GOLDEN["align/rigid"], atol=1e-6)


def test_five_points_match_golden():
    points = lib.five_points(GOLDEN["align/vs"])[..., :2]
    np.testing.assert_allclose(points, GOLDEN["align/lm5"], atol=1e-6)


def test_undo_crop_matches_golden():
    size, scale = GOLDEN["align/de_img_size"], GOLDEN["align/de_s"]
    width, height = (size * scale[:, None]).astype(int).T
    points = undo_crop(
        GOLDEN["align/de_lm224"],
        image_size=size,
        # The release stacks widths over heights and then reads the pairs row by row.
        resized_size=np.stack([width, height]).reshape(-1, 2),
        centre=GOLDEN["align/de_t"][..., 0],
        scale=scale,
    )
    np.testing.assert_allclose(points, GOLDEN["align/de_out"], atol=1e-9)


def test_mean_face_is_frontal_and_two_wide():
    mean = lib.MEAN_FACE
    np.testing.assert_allclose(np.linalg.norm(mean[16] - mean[0]), 2.0, atol=1e-3)
    np.testing.assert_allclose(mean[:17] * [-1, 1, 1], mean[16::-1], atol=2e-3)
    np.testing.assert_allclose(mean.mean(axis=0), 0.0, atol=2e-3)
    assert mean[8, 1] < mean[57, 1] < mean[30, 1] < mean[27, 1] < mean[19, 1]
    assert mean[:, 2].argmax() == 30


def test_frontalize_undoes_pose_and_keeps_speech():
    image, frontal = posed_faces()
    found, poses = lib.frontalize(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, frontal, atol=1e-4)
    np.testing.assert_allclose(np.linalg.det(poses.rotation), 1.0, atol=1e-9)


def test_frontalize_does_not_depend_on_unit_or_speech():
    image, _ = posed_faces()
    pixels, _ = lib.frontalize(image)
    fractions, _ = lib.frontalize(image / 256)
    np.testing.assert_allclose(pixels, fractions, atol=1e-4)
    speaking = image.copy()
    speaking[:, 48:] += 5
    np.testing.assert_array_equal(lib.frontalize(speaking)[0][:, :48], pixels[:, :48])


def test_align_to_poses_inverts_frontalize():
    image, _ = posed_faces()
    frontal, poses = lib.frontalize(image)
    for reference in (None, image):
        back = lib.align_to_poses(frontal, poses, reference)
        np.testing.assert_allclose(back, image, atol=1e-3)


def test_align_to_poses_matches_five_point_means():
    image, _ = posed_faces()
    other, _ = posed_faces(seed=1)
    _, poses = lib.frontalize(image)
    placed = lib.align_to_poses(lib.frontalize(other)[0] + 0.1, poses, image)
    means = [lib.five_points(points).mean(axis=1) for points in (placed, image)]
    np.testing.assert_allclose(*means, atol=1e-3)


def test_mouth_opening_measures_the_inner_lips():
    shut = lib.MEAN_FACE[None].copy()
    shut[:, [67, 66, 65]] = shut[:, [61, 62, 63]]
    open_mouth = shut.copy()
    open_mouth[:, [67, 66, 65], 1] -= 0.25
    np.testing.assert_allclose(lib.mouth_opening(shut), 0.0, atol=1e-7)
    np.testing.assert_allclose(lib.mouth_opening(open_mouth), 0.25, atol=1e-6)


def test_missing_landmarks_are_held():
    points = np.arange(5.0)[:, None, None] * np.ones((5, 68, 3))
    points[[0, 3]] = np.nan
    assert lib.fill_missing_landmarks(points)[:, 0, 0].tolist() == [1, 1, 2, 2, 4]
    with pytest.raises(ValueError, match="no frame"):
        lib.fill_missing_landmarks(np.full((2, 68, 3), np.nan))


def test_smoothing_is_centred_and_leaves_gaps():
    track = np.array([0.0, 0, 4, 0, 0, np.nan, 3, 3])[:, None, None] * np.ones((8, 68, 3))
    smooth = lib.smooth_landmarks(track)[:, 0, 0]
    np.testing.assert_allclose(smooth[:5], [0, 1, 2, 1, 0])
    assert np.isnan(smooth[5])
    np.testing.assert_allclose(smooth[6:], 3)
    steady = np.ones((4, 68, 3), np.float32)
    np.testing.assert_array_equal(lib.smooth_landmarks(steady), steady)
    assert lib.smooth_landmarks(steady).dtype == np.float32


def test_the_mirror_swaps_left_and_right():
    assert (lib.MIRRORED_LANDMARKS[lib.MIRRORED_LANDMARKS] == np.arange(68)).all()
    mirrored = lib.MEAN_FACE[lib.MIRRORED_LANDMARKS] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, lib.MEAN_FACE, atol=0.03)
