"""What stops a run: numbers that are not finite, SIGTERM, kill -9, damage; and what is kept."""

import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from data_pipelines.builder import write_dataset
from moditalker_jax.checkpoint import load_stage, restore_arrays, set_newer_aside
from moditalker_jax.config import write_config
from moditalker_jax.errors import InputError
from moditalker_jax.training import endure
from moditalker_jax.training.loop import train
from moditalker_jax.training.preemption import EXIT_STATUS, Preempted
from moditalker_jax.training.reporting import Reporter
from tests.clips import make_clip, make_metadata
from tests.eight_devices import BATCH, make_batch, make_stage, tiny_config

QUIET = {"log_every": 1, "evaluate_every": 100, "checkpoint_every": 2}


def batches(config, start, change=lambda step, batch: batch):
    """Endless batches, the same for every run, with names; `change` may spoil one."""
    step = start
    while True:
        batch = make_batch(config, step) | {"name": np.array([b"clip@%d" % step] * BATCH)}
        step += 1
        yield change(step, batch)


def run(workdir, *, change=lambda step, batch: batch, evaluation=None, profile=False, **training):
    """Trains the tiny AToM."""
    config = tiny_config("atom", training=QUIET | {"num_steps": 6} | training)
    workdir.mkdir(parents=True, exist_ok=True)
    write_config(workdir, config, make_metadata())
    return train(
        make_stage(config),
        config,
        workdir,
        train_batches=lambda start: batches(config, start, change),
        evaluation_batches=evaluation or (lambda: iter([make_batch(config, 99)])),
        profile=profile,
    )


def spoil(*steps):
    def change(step, batch):
        return batch | {"motion": batch["motion"] * np.nan} if step in steps else batch

    return change


def saved_steps(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_a_step_that_is_not_finite_stops_the_run_and_names_its_clips(tmp_path):
    with pytest.raises(InputError, match=r"step 5: loss nan.*clip@4; last good checkpoint: 4"):
        run(tmp_path, change=spoil(5))
    assert saved_steps(tmp_path) == [2, 4]


def test_steps_that_are_not_finite_can_be_left_out(tmp_path, capsys):
    run(tmp_path / "run", change=spoil(3), max_skipped_steps=1, num_steps=4)
    assert "step 3: loss nan" in capsys.readouterr().out
    end = restore_arrays(tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(end))
    with pytest.raises(InputError, match="max_skipped_steps above 1"):
        run(tmp_path / "other", change=spoil(2, 3), max_skipped_steps=1)


def test_sigterm_saves_and_the_run_goes_on_as_if_nothing_had_been(tmp_path):
    def terminate(step, batch):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match="SIGTERM; saved at step 3"):
        run(tmp_path / "stopped", change=terminate)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert saved_steps(tmp_path / "stopped")[-1] == 3
    run(tmp_path / "stopped")
    run(tmp_path / "whole")
    assert endure.compare(tmp_path / "whole", tmp_path / "stopped") == []
    assert sorted(endure.losses(tmp_path / "whole")) == [1, 2, 3, 4, 5, 6]


def test_comparing_runs_finds_what_differs(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "other", seed=1)
    different = endure.compare(tmp_path / "one", tmp_path / "other")
    assert "the loss histories differ" in different
    assert len(different) > 10


def test_a_damaged_checkpoint_is_told_and_left_only_when_asked(tmp_path):
    run(tmp_path)
    for path in (tmp_path / "checkpoints" / "6").rglob("*"):
        if path.is_file() and "ocdbt" in str(path) or path.parent.name == "d":
            path.write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"checkpoints/6 cannot be read .*--resume_at=4"):
        run(tmp_path, num_steps=8)
    set_newer_aside(tmp_path, 4)
    assert (tmp_path / "set_aside" / "6").is_dir()
    run(tmp_path, num_steps=8)
    assert saved_steps(tmp_path) == [6, 8]


def test_the_best_checkpoint_stays_beside_the_newest(tmp_path):
    config, calls = tiny_config("atom"), []

    def worse_each_time():
        calls.append(1)
        batch = make_batch(config, 99)
        yield batch | {"motion": len(calls) * batch["motion"]}

    run(tmp_path, evaluation=worse_each_time, evaluate_every=2, keep_checkpoints=1)
    assert saved_steps(tmp_path) == [2, 6]
    newest, best = (load_stage(tmp_path, stage="atom", best=best).params for best in (False, True))
    assert not all(map(np.array_equal, jax.tree.leaves(newest), jax.tree.leaves(best)))


def test_a_trace_is_written(tmp_path):
    run(tmp_path, num_steps=12, checkpoint_every=100, profile=True)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_clips_move_in_tensorboard(tmp_path):
    report = Reporter("atom", tmp_path)
    report.pictures({"moving": np.zeros((3, 4, 6, 3), np.uint8)}, 1)
    report.close()
    (path,) = (tmp_path / "tensorboard").iterdir()
    images = [v.image for e in endure.events(path) for v in e.summary.value if v.tag == "moving"]
    assert images[0].encoded_image_string.startswith(b"GIF89a")
    assert (images[0].height, images[0].width) == (4, 6)


@pytest.fixture
def data(tmp_path):
    splits = {"train": [make_clip(f"t{i}", 24) for i in range(4)]}
    splits["validation"] = [make_clip("v", 24)]
    write_dataset(tmp_path / "clips", splits, make_metadata())
    return tmp_path / "clips"


def test_the_command_that_kills_finds_nothing_lost(data, tmp_path, capsys):
    arguments = ["--data", str(data), "--workdir", str(tmp_path / "runs")]
    arguments += ["--config", "configs/atom.py:tiny", "--steps", "150", "--save-every", "15"]
    assert endure.main([*arguments, "--kills", "1", "--longest", "8"]) == 0
    told = capsys.readouterr().out
    assert told.count("kill ") == 1
    assert "parameters, averages, optimizer and losses are equal" in told


def test_train_exits_with_a_status_of_its_own_after_sigterm(data, tmp_path):
    workdir = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable,
            "train.py",
            "--config=configs/atom.py:tiny",
            f"--workdir={workdir}",
            f"--directory={data}",
            "--config.training.num_steps=1000000",
            "--config.training.checkpoint_every=2",
            "--config.training.evaluate_every=1000000",
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        (workdir / "checkpoints").is_dir() and saved_steps_complete(workdir)
    ):
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == EXIT_STATUS, errors
    assert "SIGTERM; saved at step" in errors


def saved_steps_complete(workdir):
    return [path for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()]
