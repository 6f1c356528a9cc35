"""Detail given back from the reference: where it goes, and where it must not."""

import numpy as np

from moditalker_jax.generation.detail import restore_detail, sampling_map
from moditalker_jax.landmarks import MEAN_FACE

SIDE = 96


def face(*, opening=0.0, right=0.0):
    """Landmarks (68, 3) of the mean face in a frame, its mouth open by a share of its width."""
    points = (MEAN_FACE * [1, -1, 1] * 0.25 + [0.5 + right, 0.5, 0.0]).astype(np.float32)
    points[[65, 66, 67, 55, 56, 57, 58, 59], 1] += opening
    return points


def frames(seed=0):
    return np.random.default_rng(seed).integers(40, 200, (1, SIDE, SIDE, 3)).astype(np.uint8)


def inside_mouth(points):
    x, y = points[60:68, :2].mean(axis=0) * SIDE
    return slice(int(y) - 1, int(y) + 2), slice(int(x) - 1, int(x) + 2)


def test_a_face_that_does_not_move_is_the_reference_again():
    reference = frames()
    blurred = np.full_like(reference, 100)
    still = face()[None]
    made = restore_detail(blurred / 127.5 - 1, blurred, reference, still, still)
    pixels = (made + 1) * 127.5
    below_the_nose = pixels[0, 50:], reference[0, 50:].astype(float)
    near = np.abs(below_the_nose[0] - below_the_nose[1]).max(axis=-1) < 0.1
    assert near.mean() > 0.9
    # Between the lips there is only the tint.
    mouth = pixels[0][inside_mouth(still[0])]
    assert np.ptp(mouth) < 40 < np.ptp(reference[0][inside_mouth(still[0])].astype(int))


def test_a_tint_is_taken_off_everywhere():
    truth = np.full((1, SIDE, SIDE, 3), 120, np.uint8)
    tinted = (truth + np.array([20, 0, -30])).astype(np.uint8)
    made = restore_detail(tinted / 127.5 - 1, tinted, truth, face(opening=0.1)[None], face()[None])
    np.testing.assert_allclose((made + 1) * 127.5, truth, atol=0.5)


def test_detail_moves_with_the_landmarks():
    unmoved = sampling_map(face(), face(), SIDE)
    x, y = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    np.testing.assert_allclose(unmoved, np.stack([x, y], -1), atol=1e-3)
    moved = sampling_map(face(right=0.05), face(), SIDE)
    chin = (face(right=0.05)[8, :2] * SIDE).round().astype(int)
    shift = moved[chin[1], chin[0]] - chin
    np.testing.assert_allclose(shift, [-0.05 * SIDE, 0], atol=0.3)
    assert np.abs(moved[0, 0]).max() < 0.1  # Far from the face nothing moves.


def test_teeth_of_the_reference_are_not_drawn_on_closed_lips():
    reference = np.full((1, SIDE, SIDE, 3), 120, np.uint8)
    smiling = face(opening=0.08)
    reference[0][inside_mouth(smiling)] = 250
    plain = np.full_like(reference, 120)
    made = restore_detail(plain / 127.5 - 1, plain, reference, face()[None], smiling[None])
    assert ((made + 1) * 127.5).max() < 150
