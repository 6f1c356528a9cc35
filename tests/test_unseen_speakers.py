"""Cross-validation over speakers: recordings put together, folds, ridge regression, the command."""

import dataclasses
import itertools

import numpy as np
import pytest

from data_pipelines.builder import write_dataset
from data_pipelines.folds import SpeechClip, read_speech_clips, speaker_folds, write_fold
from data_pipelines.loader import atom_batches
from moditalker_jax import spec
from moditalker_jax.errors import InputError
from moditalker_jax.evaluation import unseen_speakers
from moditalker_jax.evaluation.ridge import RidgeMouth
from moditalker_jax.mean_face import MEAN_FACE
from moditalker_jax.metrics.landmarks import still_mouth_ratio
from tests.clips import AUDIO_WIDTH, make_clip, make_metadata


def spoken(speaker: str, num_frames: int, seed: int = 0) -> SpeechClip:
    """A mouth whose lower lip follows the first audio feature; the others are noise."""
    rng = np.random.default_rng(seed)
    audio = rng.normal(size=(2 * num_frames, AUDIO_WIDTH)).astype(np.float32)
    opening = 0.05 * audio[::2, 0]
    frontal = np.tile(MEAN_FACE, (num_frames, 1, 1)).astype(np.float32)
    frontal[:, [56, 57, 58, 65, 66, 67], 1] -= opening[:, None]
    return SpeechClip(f"{speaker}/{seed}", speaker, frontal, audio)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "set"
    clips = {}
    for index, speaker in enumerate(["ann", "bob", "cyd", "dan"]):
        clip = spoken(speaker, 30 + 10 * index, seed=index)
        clips[speaker] = dataclasses.replace(
            make_clip(clip.name, len(clip.frontal_landmarks)),
            speaker=speaker,
            frontal_landmarks=clip.frontal_landmarks,
            audio_features=clip.audio_features,
        )
    splits = {
        "train": [clips["ann"], clips["bob"], clips["cyd"].piece(0, 20), clips["dan"]],
        "validation": [clips["cyd"].piece(20, 50)],
    }
    metadata = make_metadata() | {"mean_face": MEAN_FACE.tolist()}
    write_dataset(directory, splits, metadata, max_clip_frames=25)
    return directory


def test_recordings_are_put_together_from_their_pieces(dataset):
    clips = read_speech_clips(dataset)
    assert [clip.name for clip in clips] == ["ann/0", "bob/1", "cyd/2", "dan/3"]
    for index, clip in enumerate(clips):
        expected = spoken(clip.speaker, 30 + 10 * index, seed=index)
        np.testing.assert_array_equal(clip.frontal_landmarks, expected.frontal_landmarks)
        np.testing.assert_array_equal(clip.audio_features, expected.audio_features)


def test_folds_share_speech_and_never_a_speaker():
    clips = [spoken(name, n) for name, n in zip("abcdea", (90, 50, 40, 30, 60, 10), strict=True)]
    folds = speaker_folds(clips, 3)
    assert sorted(itertools.chain(*folds)) == list("abcde")
    lengths = [sum(len(c.frontal_landmarks) for c in clips if c.speaker in fold) for fold in folds]
    assert max(lengths) - min(lengths) <= 20
    assert folds == speaker_folds(clips[::-1], 3)
    with pytest.raises(InputError, match="5 speakers cannot make 6 folds"):
        speaker_folds(clips, 6)


def test_a_fold_trains_without_the_held_out_speakers(dataset, tmp_path):
    clips = read_speech_clips(dataset)
    write_fold(tmp_path / "fold", clips, frozenset({"cyd"}), dataset)
    held = [clip for clip in read_speech_clips(tmp_path / "fold") if clip.speaker == "cyd"]
    assert len(held) == 1
    (batch,) = atom_batches(tmp_path / "fold", "validation", 1, seed=None, num_frames=50)
    np.testing.assert_array_equal(batch["audio_features"][0], held[0].audio_features)


def test_ridge_finds_a_linear_mouth_of_a_speaker_it_never_saw():
    ridge = RidgeMouth.fit([spoken(name, 400, seed) for seed, name in enumerate("abcd")])
    clip = spoken("e", 100, seed=9)
    truth = clip.frontal_landmarks
    predicted = np.broadcast_to(truth.mean(axis=0), truth.shape).copy()
    predicted[:, list(spec.MOUTH)] += ridge(clip.audio_features)
    assert still_mouth_ratio(predicted, truth) < 0.2


def test_the_command_prints_the_table_and_goes_on_where_it_stopped(dataset, tmp_path, capsys):
    arguments = ["--data", str(dataset), "--workdir", str(tmp_path / "runs"), "--folds", "2"]
    tables = []
    for _ in range(2):
        assert unseen_speakers.main([*arguments, "--variant", "tiny"]) == 0
        out = capsys.readouterr().out
        tables.append(out[out.index("| audio") :])
    assert tables[0] == tables[1]
    assert "step 4 of 4" in out
    assert unseen_speakers.main([*arguments, "--variant", "tiny", "--sampling-steps", "1"]) == 0
    one_step = capsys.readouterr().out
    assert "step 4 of 4" in one_step and tables[0] not in one_step
    rows = [line for line in tables[0].splitlines() if line.startswith("| log_mel")]
    assert len(rows) == 5
    assert all(np.isfinite([float(cell) for cell in row.split("|")[3:6]]).all() for row in rows)
    assert "of 4 recordings, medians differ by" in tables[0]


def test_a_difference_stands_beside_ridge_regression_with_its_spread():
    ridge = np.array([0.1, 0.3, 0.5, 0.7, 0.9])

    def told(atom):
        return unseen_speakers.beside_ridge(
            {
                str(index): {
                    unseen_speakers.RIDGE: (1.0, theirs),
                    unseen_speakers.MEAN: (1.0, ours),
                }
                for index, (ours, theirs) in enumerate(zip(atom, ridge, strict=True))
            }
        )

    # Higher by as much on every recording: the pairs leave nothing open.
    assert told(ridge + 0.05).endswith(
        "higher on 5 of 5 recordings, medians differ by 0.050 (0.050 to 0.050), "
        "means differ by 0.050 (0.050 to 0.050)"
    )
    assert "higher on 2 of 5" in told(ridge + [0.2, -0.2, 0.1, -0.1, -0.3])
