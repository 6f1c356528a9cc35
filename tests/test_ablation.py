"""The rows of the paper's table 2: their networks, what they are told, and the command."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import atom, mtov, table_2a, table_2b
from data_pipelines.builder import load_metadata, write_dataset
from data_pipelines.loader import clip_batches
from data_pipelines.records import AUDIO
from moditalker_jax.checkpoint import save_params
from moditalker_jax.config import DiffusionConfig, stage_config, write_config
from moditalker_jax.errors import InputError
from moditalker_jax.evaluation import ablation
from moditalker_jax.landmarks import MEAN_FACE, frontalize
from moditalker_jax.models.atom import AToM
from moditalker_jax.models.build import (
    abstract_params,
    build_model,
    check_sizes,
    count_params,
    init_params,
)
from moditalker_jax.models.mtov import TriPlaneUNet
from moditalker_jax.training import run as run_module
from moditalker_jax.training.stages.atom import AToMStage
from moditalker_jax.training.stages.base import NAMES
from moditalker_jax.triplane import TriPlane
from tests.checkpoints import write_checkpoint
from tests.clips import AUDIO_WIDTH, make_clip, make_metadata

TINY_ATOM = {"num_frames": 12, "width": 16, "mlp_width": 16, "num_layers": 2, "num_heads": 2}
TINY_MTOV = {
    "base_channels": 8,
    "channel_multipliers": (1, 2),
    "num_res_blocks": 1,
    "attention_downsampling": (2,),
    "num_heads": 2,
    "num_groups": 4,
}
LATENTS = ("landmark", "pose", "reference")


def randomized(shapes):
    """Parameters without zeros, so that every path carries a signal."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda p: random.normal(0.1, 0.3, p.shape).astype(np.float32), shapes)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("data") / "clips"
    splits = {
        "train": [make_clip(f"t{i}", 24, value=30 * i) for i in range(4)],
        "validation": [make_clip("v", 24, value=10)],
    }
    write_dataset(directory, splits, make_metadata())
    return directory


@pytest.mark.parametrize("table", [table_2a, table_2b])
def test_every_row_is_a_config_of_its_stage(table):
    stage = {table_2a: atom, table_2b: mtov}[table]
    for row in table.ROWS:
        for variant in ("paper", "demo", "tiny"):
            config = stage_config(table.get_config(f"{variant}.{row}").to_dict())
        check_sizes(build_model(config.stage, config.model))
    whole = stage_config(stage.get_config("tiny").to_dict())  # The last row is the paper's network.
    last, paper = (abstract_params(build_model(c.stage, c.model)) for c in (config, whole))
    if table is table_2a:
        assert last == paper
    else:  # Its conditions come in another order.
        assert count_params(last) == count_params(paper)
    with pytest.raises(ValueError, match="no row 'VI'"):
        table.get_config("demo.VI")


@pytest.mark.parametrize("row", ["I", "II", "III"])
def test_atom_knows_the_first_frame_only_from_row_three_on(row):
    config = stage_config(table_2a.get_config(f"tiny.{row}").to_dict())
    model = AToM(**{**config.model, **TINY_ATOM})
    params = randomized(abstract_params(model, audio_width=AUDIO_WIDTH))
    keys = jax.random.split(jax.random.key(0), 3)
    x_t = jax.random.normal(keys[0], (1, 12, 68, 3))
    audio = jax.random.normal(keys[1], (1, 24, AUDIO_WIDTH))
    faces = jax.random.normal(keys[2], (2, 1, 68, 3))
    run = jax.jit(
        lambda *inputs: model.apply({"params": params}, x_t, jnp.array([500]), *inputs),
    )
    one, other, silent = run(audio, faces[0]), run(audio, faces[1]), run(0 * audio, faces[0])
    assert np.array_equal(one, other) == (row != "III")
    assert np.abs(one - silent).max() > 1e-3


def test_disentangled_attention_needs_landmarks():
    with pytest.raises(InputError, match="needs landmark_condition"):
        check_sizes(AToM(**TINY_ATOM, landmark_condition=False))


def test_the_joint_decoder_is_scanned_as_it_is_unrolled():
    inputs = [
        jax.random.normal(jax.random.key(0), (2, 12, 68, 3)),
        jnp.array([3, 700]),
        jax.random.normal(jax.random.key(1), (2, 24, AUDIO_WIDTH)),
        jax.random.normal(jax.random.key(2), (2, 68, 3)),
    ]
    fields = {**TINY_ATOM, "disentangled": False, "alignment_bias": True}
    params = randomized(abstract_params(AToM(**fields), audio_width=AUDIO_WIDTH))
    unrolled, scanned = (
        jax.jit(AToM(**fields, scan_layers=scan).apply)({"params": params}, *inputs)
        for scan in (False, True)
    )
    np.testing.assert_allclose(scanned, unrolled, rtol=1e-4, atol=1e-4)


def test_without_a_residual_the_motion_itself_is_the_target():
    """A network that predicts the motion has no loss then, and one that predicts the residual has
    none otherwise."""
    motion = jax.random.normal(jax.random.key(0), (2, 12, 68, 3)) / 4
    batch = {
        "motion": motion,
        "audio_features": jnp.zeros((2, 24, 1)),
        "mask": jnp.ones((2, 12), bool),
    }
    config = stage_config(atom.get_config("tiny").to_dict())

    class Answers:
        def __init__(self, x0):
            self.x0 = x0

        def apply(self, *_, **__):
            return self.x0

    def loss(answer, residual):
        diffusion = DiffusionConfig(schedule="cosine", residual=residual)
        stage = AToMStage(Answers(answer), config.loss, diffusion, config.sampling, data={})
        return float(stage.loss({}, {}, batch, jax.random.key(1), 0, train=False)[0])

    residual = motion - motion[:, :1]
    assert loss(motion, False) == loss(residual, True) == 0
    assert loss(motion, True) > 0.01 and loss(residual, False) > 0.01


@pytest.mark.parametrize("row", ["I", "IV", "V"])
def test_mtov_is_told_what_its_row_names(row):
    conditions = table_2b.ROWS[row]["model"]["conditions"]
    model = TriPlaneUNet(**TINY_MTOV, conditions=conditions)
    params = randomized(abstract_params(model, audio_width=AUDIO_WIDTH))
    keys = iter(jax.random.split(jax.random.key(0), 13))

    def planes():
        sizes = ((4, 4), (2, 4), (2, 4))
        return TriPlane(*(jax.random.normal(next(keys), (1, *size, 4)) for size in sizes))

    x_t, *latents = (planes() for _ in range(4))
    audio = jax.random.normal(next(keys), (1, 4, AUDIO_WIDTH))
    run = jax.jit(
        lambda *told: model.apply({"params": params}, x_t, jnp.array([500]), *told).to_tokens(),
    )
    told = [*latents, audio]
    whole = run(*told)
    for index, name in enumerate((*LATENTS, "audio")):
        changed = [*told]
        changed[index] = jax.tree.map(lambda x: x + 1.0, told[index])
        assert (np.abs(run(*changed) - whole).max() > 1e-4) == (name in conditions), name


def test_audio_is_needed_where_it_is_a_condition():
    with pytest.raises(InputError, match="conditions are"):
        check_sizes(TriPlaneUNet(**TINY_MTOV, conditions=("landmarks",)))


def test_mtov_is_given_the_audio_that_its_cache_holds(data, tmp_path, monkeypatch):
    def see(stage, config, workdir, *, train_batches, **_):
        batch = next(train_batches(0))
        for name, features in zip(batch.pop(NAMES), batch[AUDIO], strict=True):
            start = int(name.decode().rpartition("@")[2])  # Step s of a test clip holds s.
            np.testing.assert_array_equal(features[:, 0], np.arange(2 * start, 2 * start + 32))
        params = jax.eval_shape(stage.init_params, jax.random.key(0))
        loss = functools.partial(stage.loss, train=True)
        return jax.eval_shape(loss, params, stage.constants, batch, jax.random.key(0), 0)

    write_checkpoint(tmp_path)
    monkeypatch.setattr(run_module, "train", see)
    values = table_2b.get_config("tiny.IV").to_dict()
    values["data"]["directory"] = str(data)
    loss, _ = run_module.run_stage(stage_config(values), tmp_path / "with_audio")
    assert loss.shape == ()


def test_clips_come_with_their_audio_if_asked_for(data):
    batch = next(clip_batches(data, "train", 4, seed=0, audio=True))
    assert batch[AUDIO].shape == (4, 32, AUDIO_WIDTH)
    for name, features in zip(batch["name"], batch[AUDIO], strict=True):
        start = int(name.decode().rpartition("@")[2])
        np.testing.assert_array_equal(features[:, 0], np.arange(2 * start, 2 * start + 32))
    assert AUDIO not in next(clip_batches(data, "train", 4, seed=0))


def speaking(clip):
    """A clip whose landmarks are a face with a moving lower lip."""
    landmarks = np.tile(MEAN_FACE * [0.25, -0.25, 0.25] + 0.5, (len(clip), 1, 1))
    landmarks[:, [65, 66, 67], 1] += 0.02 * np.random.default_rng(0).random((len(clip), 1))
    frontal, _ = frontalize(landmarks)
    return dataclasses.replace(
        clip, landmarks=landmarks.astype(np.float32), frontal_landmarks=frontal.astype(np.float32)
    )


def test_the_command_measures_every_row_and_goes_on(tmp_path, monkeypatch, capsys):
    seeds = []

    def leave_untrained(config, workdir):
        seeds.append(config.training.seed)
        model = build_model(config.stage, config.model)
        workdir.mkdir(parents=True)
        save_params(workdir, init_params(model, jax.random.key(0), audio_width=AUDIO_WIDTH))
        write_config(workdir, config, load_metadata(config.data.directory))

    monkeypatch.setattr(ablation, "run_stage", leave_untrained)
    monkeypatch.setattr(table_2a, "ROWS", {row: table_2a.ROWS[row] for row in ("I", "III")})
    data = tmp_path / "clips"
    splits = {name: [speaking(make_clip(name, 24))] for name in ("train", "validation")}
    write_dataset(data, splits, make_metadata() | {"mean_face": MEAN_FACE.tolist()})
    arguments = ["--table", "2a", "--variant", "tiny", "--data", str(data), "--seeds", "2"]
    arguments += ["--clips", "1", "--workdir", str(tmp_path / "runs")]
    assert ablation.main(arguments) == 0
    first = capsys.readouterr().out
    assert seeds == [0, 0, 1, 1]
    kept = tmp_path / "runs" / "III_seed1" / "figures.json"
    figures = json.loads(kept.read_text())
    assert figures["LMD"] > 0 and -1 <= figures["mouth correlation"] <= 1
    assert f"row III, seed 1: LMD {figures['LMD']:.3f}" in first and "| III | " in first
    assert " ± " in first and first.rstrip().endswith("| 1.31 |")

    kept.write_text(json.dumps(dict.fromkeys(figures, 7.0)))
    assert ablation.main(arguments) == 0
    assert "row III, seed 1: LMD 7.000" in capsys.readouterr().out and len(seeds) == 4


def test_table_2b_needs_autoencoders(data, tmp_path, capsys):
    arguments = ["--table", "2b", "--data", str(data), "--workdir", str(tmp_path)]
    assert ablation.main(arguments) != 0
    assert "needs trained autoencoders" in capsys.readouterr().err
