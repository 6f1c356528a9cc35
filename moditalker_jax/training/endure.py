"""Kills a training with -9 again and again, and shows that nothing of it is lost.

    python -m moditalker_jax.training.endure --data data/synthetic --workdir runs/endure

Two runs of one config: one undisturbed, one killed at random moments, of starting, stepping and
saving alike, and called again each time. Their final parameters, averages, optimizer states and
loss histories must be equal bit for bit. Run it in a checkout, where `train.py` is.
"""

import argparse
import logging
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX.proto.event_pb2 import Event

from moditalker_jax.checkpoint import restore_arrays
from moditalker_jax.errors import InputError, command

UNFINISHED = "*orbax-checkpoint-tmp*"
"""What a checkpoint is called while Orbax writes it."""


def losses(workdir: Path) -> dict[int, float]:
    """The loss at every step that was reported, from TensorBoard's files.

    Raises:
      InputError: a step was reported twice with different losses.
    """
    history: dict[int, float] = {}
    for path in sorted((workdir / "tensorboard").iterdir()):
        for event in events(path):
            for value in event.summary.value:
                if value.tag != "train/loss":
                    continue
                known = history.setdefault(event.step, value.simple_value)
                if known != value.simple_value:
                    raise InputError(
                        f"{path}: step {event.step} has loss {value.simple_value}, before {known}"
                    )
    return history


def events(path: Path) -> list[Event]:
    """The whole records of a TensorBoard file; the last may be cut off where a run was killed."""
    content, events, position = path.read_bytes(), [], 0
    while position + 12 <= len(content):
        length = int.from_bytes(content[position : position + 8], "little")
        end = position + 12 + length + 4
        if end > len(content):
            break
        events.append(Event.FromString(content[position + 12 : end - 4]))
        position = end
    return events


def compare(undisturbed: Path, killed: Path) -> list[str]:
    """What differs between two finished runs, in words; nothing if they are equal."""
    ends = [restore_arrays(workdir) for workdir in (undisturbed, killed)]
    if jax.tree.structure(ends[0]) != jax.tree.structure(ends[1]):
        return ["the checkpoints hold different arrays"]
    flat = jax.tree_util.tree_flatten_with_path(ends[0])[0]
    different = [
        f"{jax.tree_util.keystr(path)} differs"
        for (path, ours), theirs in zip(flat, jax.tree.leaves(ends[1]), strict=True)
        if not np.array_equal(ours, theirs)
    ]
    histories = [losses(workdir) for workdir in (undisturbed, killed)]
    if histories[0] != histories[1]:
        different.append("the loss histories differ")
    return different


def run_killed(
    arguments: list[str], workdir: Path, *, kills: int, longest: float, seed: int
) -> int:
    """Calls `train.py` until it was killed `kills` times and has finished once.

    Args:
      arguments: of `train.py`, its command first.
      workdir: of the run.
      kills: that must happen; a run that finishes before counts as an error.
      longest: seconds to the latest kill after a start.
      seed: of the moments.

    Returns:
      How many kills came while a checkpoint was being written.

    Raises:
      InputError: the run finished too early, or failed by itself.
    """
    moments, during_saving = random.Random(seed), 0
    for number in range(1, kills + 1):
        started = time.time()
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait = moments.uniform(0, longest)
        try:
            _, errors = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        else:
            last = errors.decode().strip().splitlines()[-1:] or [""]
            raise InputError(
                f"before kill {number} the run ended with status {process.returncode} ({last[0]}); "
                "give it more --steps"
            )
        checkpoints = workdir / "checkpoints"
        unfinished = [*checkpoints.glob(UNFINISHED), *checkpoints.glob(f"*/{UNFINISHED}")]
        # What earlier kills left behind is cleaned up later, by Orbax.
        saving = any(path.stat().st_mtime >= started for path in unfinished)
        during_saving += saving
        steps = [int(path.name) for path in checkpoints.glob("*") if path.name.isdigit()]
        print(
            f"kill {number}: after {wait:.1f} s, newest checkpoint {max(steps, default='none')}"
            f"{', while saving' if saving else ''}",
            flush=True,
        )
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
    return during_saving


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Prints each kill and what differs at the end; returns 1 if anything does."""
    parser = argparse.ArgumentParser(description="Kills a training and compares the ends.")
    parser.add_argument("--data", required=True, help="shards of clips")
    parser.add_argument("--workdir", type=Path, required=True, help="new; holds both runs")
    parser.add_argument("--config", default="configs/atom.py:demo", help="of one stage")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--save-every", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=30.0, help="seconds to the latest kill")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.ERROR)
    if options.workdir.exists():
        raise InputError(f"{options.workdir} exists already; choose another --workdir")
    program = Path(__file__).parents[2] / "train.py"
    if not program.is_file():
        raise InputError(f"{program} is missing; run this in a checkout")

    def command_line(workdir: Path) -> list[str]:
        training: dict[str, Any] = {
            "num_steps": options.steps,
            "log_every": 1,
            "checkpoint_every": options.save_every,
            "evaluate_every": max(1, options.steps // 4),
        }
        settings = [f"--config.training.{name}={value}" for name, value in training.items()]
        where = [
            f"--config={options.config}",
            f"--workdir={workdir}",
            f"--directory={options.data}",
        ]
        return [sys.executable, str(program), *where, *settings]

    undisturbed, killed = options.workdir / "undisturbed", options.workdir / "killed"
    started = time.monotonic()
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command_line(undisturbed), **output, check=True)
    print(f"undisturbed: {options.steps} steps in {time.monotonic() - started:.0f} s", flush=True)
    during_saving = run_killed(
        command_line(killed),
        killed,
        kills=options.kills,
        longest=options.longest,
        seed=options.seed,
    )
    different = compare(undisturbed, killed)
    for line in different:
        print(line)
    print(
        f"{options.kills} kills, {during_saving} of them while saving: "
        f"{'DIFFERENT' if different else 'parameters, averages, optimizer and losses are equal'}"
    )
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
