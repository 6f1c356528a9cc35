"""The release's own data: small trees in its layouts, read without trusting a pickle."""

import io
import os
import pickle

import cv2
import numpy as np
import pytest

from data_pipelines.builder import load_metadata
from data_pipelines.loader import atom_batches, clip_batches
from data_pipelines.release.__main__ import main
from data_pipelines.release.arrays_only import load_arrays
from moditalker_jax.audio_features import RELEASE_AUDIO_ENCODER
from moditalker_jax.errors import InputError
from moditalker_jax.speech.encoders import HuBERTFeatures

MEAN = np.random.default_rng(0).uniform(-1, 1, (68, 3)).astype(np.float32)
INDEX_BYTES = 4096


@pytest.fixture
def mean_face(tmp_path):
    np.save(tmp_path / "mean.npy", MEAN)
    return str(tmp_path / "mean.npy")


def item(number, frames=30, **changes):
    rng = np.random.default_rng(number)
    return {
        "item_id": f"speaker{number}_00001",
        "mel": np.zeros((2 * frames, 80)),
        "hubert": rng.normal(size=(2 * frames + 1, 1024)),
        "idexp_lm3d": rng.normal(size=(frames, 68, 3)).astype(np.float32),
        **changes,
    }


def write_indexed(stem, items, *, older=False):
    """As GeneFace's IndexedDatasetBuilder leaves it: room for an index, then pickles."""
    stored = [i if isinstance(i, bytes) else pickle.dumps(i, protocol=2) for i in items]
    offsets = (INDEX_BYTES + np.cumsum([0, *map(len, stored)])).tolist()
    index = {"offsets": offsets, "id2pos": {}, "meta": {"chunk_begin": [0], "gzip": False}}
    packed = pickle.dumps(index)
    head = b"" if older else len(packed).to_bytes(32, "little") + packed
    stem.parent.mkdir(exist_ok=True)
    stem.with_suffix(".data").write_bytes(head.ljust(INDEX_BYTES, b"\0") + b"".join(stored))
    if older:
        with open(stem.with_suffix(".idx"), "wb") as file:
            np.save(file, {"offsets": offsets})


@pytest.mark.parametrize("older", [False, True])
def test_geneface_lrs3_trains_atom(tmp_path, mean_face, older, capsys):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    # Written by numpy 1, whose modules had other names.
    numpy1 = pickle.dumps(item(1), protocol=2).replace(b"numpy._core", b"numpy.core")
    train = [item(0), numpy1, Evil(), item(3, hubert=np.zeros((4, 7))), b"damaged"]
    write_indexed(tmp_path / "lrs3" / "train", train, older=older)
    write_indexed(tmp_path / "lrs3" / "val", [item(9)], older=older)
    arguments = [str(tmp_path / "lrs3"), "--mean-face", mean_face, "--out", str(tmp_path / "out")]
    assert main(["lrs3", *arguments]) == 0
    assert capsys.readouterr().err.count("left out: ") == 3
    assert not (tmp_path / "evil").exists()
    metadata = load_metadata(tmp_path / "out")
    assert metadata["landmark_backend"] == "deep3d-bfm/68" and metadata["motion_scale"] == 10.0
    assert metadata["audio_encoder"] == RELEASE_AUDIO_ENCODER
    (batch,) = atom_batches(tmp_path / "out", "train", 2, seed=None, num_frames=30)
    batch = {
        name: array[np.argsort(array[:, 0].sum((-1, -2)) if name == "motion" else [0, 1])]
        for name, array in batch.items()
    }
    expected = sorted((item(k)["idexp_lm3d"] for k in (0, 1)), key=lambda x: x[0].sum())
    np.testing.assert_allclose(batch["motion"], expected, atol=1e-4)
    assert batch["audio_features"].shape == (2, 60, 1024)
    with pytest.raises(InputError, match="holds no pictures"):
        clip_batches(tmp_path / "out", "train", 1, seed=0)


def test_the_release_encoder_is_ours():
    assert HuBERTFeatures.version == RELEASE_AUDIO_ENCODER["version"]


def test_only_arrays_and_strings_are_unpickled():
    kept = {"a": np.arange(3), "b": "text", "c": [1.5, None, np.float32(2)], 4: np.array(["x"])}
    loaded = load_arrays(io.BytesIO(pickle.dumps(kept)), "file")
    np.testing.assert_array_equal(loaded["a"], kept["a"])
    assert loaded["b"] == "text" and loaded["c"] == kept["c"] and loaded[4][0] == "x"
    for bad in (np.array([print], object), io.StringIO, pickle.Pickler):
        with pytest.raises(InputError, match="file: cannot be read .*only arrays and strings"):
            load_arrays(io.BytesIO(pickle.dumps(bad)), "file")


def hdtf(folder, identities, frames, missing=()):
    """Squares of grey level 5t, landmarks on a ring that the picture shows at its middle."""
    ring = np.stack([np.cos(np.arange(68)), np.sin(np.arange(68)), np.arange(68) / 68], axis=1)
    for name in identities:
        kinds = {
            "non-face-centric/posed": 100 + 20 * ring[:, :2] * [1, -1],
            "face-centric/posed": ring,
            "face-centric/unposed": MEAN,
        }
        for t in range(frames):
            picture = folder / "frames" / name / f"{t:05d}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), np.full((200, 200, 3), 5 * t, np.uint8))
            for kind, points in kinds.items():
                path = folder / "keypoints" / kind / name / f"{t:05d}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                if t not in missing:
                    np.save(path, points)


def test_hdtf_frames_train_mtov(tmp_path, mean_face, capsys):
    hdtf(tmp_path / "hdtf", ["RD_Radio1_000", "WRA_Test_000"], 40, missing=(20,))
    (tmp_path / "hdtf" / "train_id.txt").write_text("WRA_Test_000.mp4\n")
    bad = tmp_path / "hdtf" / "keypoints" / "face-centric" / "posed" / "RD_Radio1_000"
    np.save(bad / "00039.npy", np.array([{}], object))
    arguments = [str(tmp_path / "hdtf"), "--mean-face", mean_face, "--resolution", "32"]
    assert main(["hdtf", *arguments, "--out", str(tmp_path / "out")]) == 0
    assert "00039.npy: cannot be read as an array" in capsys.readouterr().err
    batches = list(clip_batches(tmp_path / "out", "train", 1, seed=None))
    assert len(batches) == 2, "the gap at frame 20 parts the clip"
    for batch in batches:
        assert batch["video"].shape == (1, 16, 32, 32, 3)
        landmarks = batch["landmarks"][0, 0]
        np.testing.assert_allclose(landmarks[:, 0], 0.5 + 0.1 * np.cos(np.arange(68)), atol=5e-3)
        np.testing.assert_allclose(landmarks[:, 1], 0.5 - 0.1 * np.sin(np.arange(68)), atol=5e-3)
        depth = landmarks[:, 2] - landmarks[:, 2].mean()
        np.testing.assert_allclose(depth, 0.1 * (np.arange(68) - 33.5) / 68, atol=1e-3)
    assert len(list(clip_batches(tmp_path / "out", "test", 1, seed=None))) == 2
    with pytest.raises(InputError, match="holds no audio features"):
        atom_batches(tmp_path / "out", "train", 1, seed=0)


@pytest.mark.parametrize(
    ("data", "told"),
    [("lrs3", "train.data: is missing"), ("hdtf", "holds no frames/ID/00000.jpg")],
)
def test_another_layout_is_told(tmp_path, mean_face, data, told, capsys):
    out = tmp_path / "out"
    assert main([data, str(tmp_path), "--mean-face", mean_face, "--out", str(out)]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_another_mean_face_is_told(tmp_path, capsys):
    np.save(tmp_path / "mean.npy", MEAN[:5])
    arguments = ["hdtf", str(tmp_path), "--mean-face", str(tmp_path / "mean.npy"), "--out", "x"]
    assert main(arguments) == 2
    assert "mean.npy: the mean face has shape (5, 3)" in capsys.readouterr().err
