"""PSNR, SSIM, LPIPS, CPBD and the seams: the reference's values, and videos made by hand."""

import numpy as np
import pytest

from moditalker_jax.metrics import sharpness
from moditalker_jax.metrics.continuity import frame_changes, seam_ratio
from moditalker_jax.metrics.lpips import lpips
from moditalker_jax.metrics.pixels import psnr, ssim
from moditalker_jax.metrics.sharpness import cpbd
from tests.goldens_eval_recipe import GOLDENS, image, lpips_pairs

CPBD_PICTURES = ("astro_s0", "astro_s1", "astro_s2", "astro_s4", "recipe", "flat", "step")


@pytest.fixture(scope="module")
def pictures():
    return dict(np.load(GOLDENS / "psnr_ssim.npz"))


@pytest.fixture(scope="module")
def cpbd_goldens():
    return dict(np.load(GOLDENS / "cpbd.npz"))


def test_psnr_and_both_forms_of_ssim_match_the_reference(pictures):
    frames = np.stack([pictures["blur"], pictures["noise"]])
    truth = np.stack([pictures["ref"]] * 2)
    measured = {
        "psnr": psnr(frames, truth),
        "ssim_skimage_gauss_wang": ssim(frames, truth),
        "ssim_skimage_default": ssim(frames, truth, form="skimage"),
    }
    for name, values in measured.items():
        expected = [pictures[f"blur_{name}"], pictures[f"noise_{name}"]]
        np.testing.assert_allclose(values, expected, atol=1e-6)


def test_psnr_of_a_known_error_and_of_equal_frames():
    truth = np.full((3, 4, 4, 3), 100, np.uint8)
    frames = truth + np.array([10, 0, 250], np.uint8)[:, None, None, None]  # 94 after the wrap
    expected = [20 * np.log10(25.5), np.inf, 20 * np.log10(255 / 6)]
    np.testing.assert_allclose(psnr(frames, truth), expected)


def test_equal_frames_have_ssim_one_and_lpips_zero():
    frames = image("lpips.a", 2, 64, 64)
    np.testing.assert_allclose(ssim(frames, frames), 1)
    np.testing.assert_allclose(lpips(frames, frames), 0, atol=1e-12)


@pytest.mark.parametrize("measure", [psnr, ssim, lpips])
def test_videos_of_floats_or_of_two_shapes_are_refused(measure):
    frames = image("lpips.a", 2, 64, 64)
    with pytest.raises(ValueError, match="uint8"):
        measure(frames / 255, frames)
    with pytest.raises(ValueError, match="one shape"):
        measure(frames[:1], frames)


@pytest.mark.parametrize(("network", "golden"), [("alexnet", "alex"), ("vgg16", "vgg")])
def test_lpips_of_a_video_longer_than_a_batch(network, golden):
    frames, truth = lpips_pairs()
    expected = np.load(GOLDENS / "lpips.npz")[golden]
    values = lpips(np.tile(frames, (6, 1, 1, 1)), np.tile(truth, (6, 1, 1, 1)), network=network)
    np.testing.assert_allclose(values, np.tile(expected, 6), atol=1e-5)


def cpbd_picture(goldens, name):
    if name == "recipe":
        return image("cpbd.recipe", 1, 128, 200, cell=16, noise=2.0)[0, :, :, 0]
    return np.full((128, 128), 77, np.uint8) if name == "flat" else goldens[f"{name}_img"]


@pytest.mark.parametrize("name", CPBD_PICTURES)
def test_cpbd_its_edges_and_their_widths_match_the_reference(cpbd_goldens, name):
    picture = cpbd_picture(cpbd_goldens, name)
    assert cpbd(picture) == pytest.approx(float(cpbd_goldens[f"{name}_cpbd"]), abs=1e-9)
    edges = np.unpackbits(cpbd_goldens[f"{name}_sobel"], count=picture.size)
    grey = picture.astype(np.float64)
    np.testing.assert_array_equal(sharpness._sobel_edges(grey).ravel(), edges)
    np.testing.assert_array_equal(sharpness._edge_widths(grey), cpbd_goldens[f"{name}_widths"])


def test_cpbd_of_colours_is_that_of_their_luma():
    picture = image("cpbd.recipe", 1, 128, 200, cell=16, noise=2.0)[0]
    luma = (picture.astype(np.int64) @ [19595, 38470, 7471] + 2**15) // 2**16
    assert cpbd(picture) == cpbd(luma.astype(np.uint8)) > 0


def test_edges_are_followed_for_a_hundred_pixels_at_most():
    ramp = np.arange(256.0)[None]
    widths = sharpness._run_lengths(ramp)[0]
    assert widths[[0, 1, 50, 150, 255]].tolist() == [102, 102, 151, 202, 102]


def test_cpbd_refuses_what_it_cannot_judge():
    with pytest.raises(ValueError, match="64 pixels"):
        cpbd(np.zeros((63, 128), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        cpbd(np.zeros((128, 128)))


def moving(brightness):
    """The changes of a grey video with this brightness (T,) in each frame."""
    grey = np.uint8(brightness)[:, None, None, None]
    return frame_changes(np.broadcast_to(grey, (len(brightness), 4, 4, 3)))


def test_seams_show_as_greater_changes():
    assert seam_ratio(moving(range(0, 24, 2)), [4, 8]) == pytest.approx(1)
    jumping = moving([0, 2, 4, 6, 16, 18, 16, 14, 8, 10])  # Falls count as much as rises.
    assert seam_ratio(jumping, [4, 8]) == pytest.approx((10 + 6) / 2 / 2)
    assert seam_ratio(jumping, [1, 5]) < 1


def test_seams_that_cannot_be_compared_are_refused():
    video = moving(range(10))
    for boundaries in ([], [0], [10], [-1, 4]):
        with pytest.raises(ValueError, match="boundaries within 1..9"):
            seam_ratio(video, boundaries)
    with pytest.raises(ValueError, match="nothing changes inside"):
        seam_ratio(moving([5, 5, 9, 9]), [2])
