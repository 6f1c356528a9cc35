"""Data sets as arrays: the same records as from shards, and training without TensorFlow."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from data_pipelines import reading
from data_pipelines.arrays.__main__ import main
from data_pipelines.arrays.store import ArraySet, is_arrays, write_arrays
from data_pipelines.builder import write_dataset
from data_pipelines.records import LATENT_NAMES, latent_metadata
from moditalker_jax.config import STAGES
from moditalker_jax.errors import InputError
from moditalker_jax.training.timed import PROBED_STEPS
from tests.clips import MEAN_FACE, MOTION_SCALE, make_clip, make_metadata

WINDOW = 12


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One data set as shards and as arrays."""
    folder = tmp_path_factory.mktemp("data")
    train = [make_clip(f"t{i}", n, value=20 * i) for i, n in enumerate((8, 20, 26, 31, 40))]
    validation = [make_clip(f"v{i}", 20 + i) for i in range(5)]
    write_dataset(
        folder / "shards", {"train": train, "validation": validation}, make_metadata(kept=3)
    )
    assert main(["--data", str(folder / "shards"), "--out", str(folder / "arrays")]) == 0
    return folder / "shards", folder / "arrays"


def by_name(batches):
    return {
        name: {field: array[k] for field, array in batch.items()}
        for batch in batches
        for k, name in enumerate(batch["name"])
    }


def test_one_pass_reads_what_the_shards_hold(both):
    assert [is_arrays(folder) for folder in both] == [False, True]
    assert reading.load_metadata(both[0]) == reading.load_metadata(both[1])
    assert [reading.held_out_split(folder) for folder in both] == ["validation"] * 2
    for read in (reading.atom_batches, reading.clip_batches):
        shards, arrays = (
            by_name(read(folder, "validation", 2, seed=None, num_frames=WINDOW)) for folder in both
        )
        assert shards.keys() == arrays.keys() and len(shards) == 5
        for name, window in shards.items():
            assert window.keys() == arrays[name].keys()
            for field, array in window.items():
                # JPEG is decoded by another library: a level or two.
                np.testing.assert_allclose(
                    arrays[name][field], array, atol=2 if array.dtype == np.uint8 else 1e-5
                ) if field != "name" else None
    windows = [list(reading.clip_windows(folder, "train", stride=10)) for folder in both]
    assert [{(w["name"], w["start"]) for w in side} for side in windows][0] == {
        (w["name"], w["start"]) for w in windows[1]
    }


def test_a_stream_goes_on_where_it_was_stopped(both):
    def stream(start, seed=3, **options):
        batches = reading.clip_batches(
            both[1], "train", 2, seed=seed, num_frames=4, start=start, max_frame_stride=3, **options
        )
        return list(itertools.islice(batches, 6))

    whole, rest = stream(0), stream(4)
    for a, b in zip(whole[4:], rest, strict=False):
        for field in a:
            np.testing.assert_array_equal(a[field], b[field])
    assert any((a["name"] != b["name"]).any() for a, b in zip(whole, stream(0, 4), strict=True))
    times = np.concatenate([batch["landmarks"][:, :, 0, 0] * 1000 for batch in whole])
    strides = np.diff(times, axis=1).round().astype(int)
    assert (strides == strides[:, :1]).all() and set(strides[:, 0]) <= {1, 2, 3}
    mirrored = np.concatenate([b["landmarks"] for b in stream(0, mirror=True)])
    assert {True, False} == set((mirrored[..., 0] > 0.5).all(axis=(1, 2)).tolist())


def test_atom_windows_keep_motion_and_speech_together(both):
    batches = reading.atom_batches(both[1], "train", 4, seed=1, num_frames=WINDOW)
    for batch in itertools.islice(batches, 8):
        times = (batch["motion"] / MOTION_SCALE + MEAN_FACE)[:, :, 0, 0]
        heard = batch["audio_features"][:, ::2, 0] / 2
        np.testing.assert_allclose(times[batch["mask"]], heard[batch["mask"]], atol=1e-3)


def test_processes_share_a_split(both):
    names = [
        {
            name.split(b"@")[0]
            for batch in reading.clip_batches(
                both[1], "validation", 1, seed=None, process_index=k, process_count=2
            )
            for name in batch["name"]
        }
        for k in range(2)
    ]
    assert not names[0] & names[1] and [len(n) for n in names] == [2, 2]


def test_latents_are_written_in_the_form_of_their_clips(both, tmp_path):
    sizes = {"xy": (2, 2), "yt": (2, 2), "xt": (2, 2)}
    metadata = latent_metadata(
        plane_sizes=sizes, latent_channels=3, autoencoder="a", landmark_autoencoder="b"
    )
    windows = [
        {"name": f"c{k}", "start": k, **dict.fromkeys(LATENT_NAMES, np.full((12, 3), k / 8))}
        for k in range(4)
    ]
    for form, beside in zip(("shards", "arrays"), both, strict=True):
        out = tmp_path / form
        reading.write_latents(out, {"train": windows}, metadata, beside=beside)
        assert is_arrays(out) == (form == "arrays")
        found = by_name(reading.latent_batches(out, "train", 2, seed=None))
        assert set(found) == {b"c0@0", b"c1@1", b"c2@2", b"c3@3"}
        assert (found[b"c3@3"]["video"] == 3 / 8).all()
    with pytest.raises(InputError, match="holds latents, not clips"):
        reading.load_metadata(tmp_path / "arrays")


def test_mistakes_are_one_line(both, tmp_path):
    with pytest.raises(InputError, match="no split 'test'"):
        next(reading.clip_batches(both[1], "test", 1, seed=0))
    with pytest.raises(InputError, match="not empty"):
        write_arrays(both[1], "clips", {}, {})
    with pytest.raises(InputError, match="nothing to write"):
        write_arrays(tmp_path / "new", "clips", {"train": []}, {})
    assert not (tmp_path / "new").exists() and not list(tmp_path.iterdir())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "arrays.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as arrays"):
        ArraySet(tmp_path / "broken", "clips")


WITHOUT_TENSORFLOW = '''
import sys

BLOCKED = {"tensorflow", "tensorflow_datasets", "tensorboardX", "ml_collections", "transformers",
           "librosa", "av", "ai_edge_litert", "sklearn", "skimage", "matplotlib"}

class Hiding:
    """A finder of modules that does not see those."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.split(".")[0] in BLOCKED
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hiding, sys.meta_path)

from moditalker_jax.training.timed import main

status = main(sys.argv[1:])
assert not {name.split(".")[0] for name in sys.modules} & BLOCKED
'''


def test_all_stages_train_in_given_minutes_without_tensorflow(both, tmp_path):
    workdir = tmp_path / "run"
    flags = {"--data": both[1], "--workdir": workdir, "--minutes": 0.01, "--variant": "tiny"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, *map(str, itertools.chain(*flags.items()))],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert is_arrays(workdir / "latents")
    facts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [name for fact in facts for name in fact] == list(STAGES)
    for fact in facts:
        (values,) = fact.values()
        assert values["steps"] == PROBED_STEPS and np.isfinite(values["loss"])
    assert set(STAGES) <= {path.name for path in (workdir / "exported").iterdir()}


def test_any_frame_of_a_clip_may_identify_its_windows(both):
    for any_reference in (False, True):
        shards, arrays = (
            {
                (window["name"], window["start"]): window
                for window in reading.clip_windows(
                    folder, "train", stride=10, any_reference=any_reference
                )
            }
            for folder in both
        )
        own = []
        for key, window in shards.items():
            # Frame t has grey level 2t and more: the reference says which frame it is.
            levels = [w["reference"].astype(int) for w in (window, arrays[key])]
            assert np.abs(levels[0] - levels[1]).max() <= 2
            own.append((window["reference"] == window["video"][0]).all())
        assert all(own) if not any_reference else sum(own) < len(own) / 2
