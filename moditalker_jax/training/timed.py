"""All stages in turn within given minutes, on whatever device is there; TensorFlow is not needed.

    python -m moditalker_jax.training.timed --data data/puppets_arrays --speech data/voices_arrays \
        --workdir runs/timed --minutes 10

For machines that are lent for minutes. A few steps of each stage are timed first, then it trains as
many as its share of the time allows, with the learning rate's decay laid over just these. It saves
every minute; called again after a stop it goes on, with the number of steps that it chose then. At
the end it writes the stages in float16, ready to be shipped, and how fast each was.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from configs import atom, autoencoder, landmark_autoencoder, mtov
from moditalker_jax.config import STAGES, stage_config
from moditalker_jax.errors import command
from moditalker_jax.export import export
from moditalker_jax.training.run import run_stage

SHARES = {"autoencoder": 0.45, "landmark_autoencoder": 0.08, "atom": 0.09, "mtov": 0.38}
"""Of the minutes; MToV's includes encoding the clips."""
PROBED_STEPS = 8
_CONFIGS = {
    "autoencoder": autoencoder,
    "landmark_autoencoder": landmark_autoencoder,
    "atom": atom,
    "mtov": mtov,
}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and exports; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m moditalker_jax.training.timed",
        description="Trains all stages within given minutes.",
    )
    parser.add_argument("--data", type=Path, required=True, help="clips with pictures")
    parser.add_argument("--speech", type=Path, help="clips for AToM; default: --data")
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--variant", default="demo", help="of the stages' configs")
    parser.add_argument("--batch-size", type=int, help="of all stages but AToM")
    options = parser.parse_args(arguments)
    options.workdir.mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        seconds = 60 * options.minutes * SHARES[stage]
        facts = _train(stage, _values(stage, options), options.workdir, seconds)
        print(json.dumps({stage: facts}), flush=True)
    out = options.workdir / "exported"
    export(options.workdir, out, dtype=jnp.float16)
    largest = max(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: largest file {largest / 2**20:.1f} MiB")
    return 0


def _values(stage: str, options: argparse.Namespace) -> dict[str, Any]:
    """The stage's settings as plain dicts."""
    config = _CONFIGS[stage].get_config(options.variant)
    values = {k: dict(v) if hasattr(v, "keys") else v for k, v in config.items()}
    data = options.speech if stage == "atom" and options.speech else options.data
    values["data"]["directory"] = str(data)
    if options.batch_size and stage != "atom":
        values["training"]["batch_size"] = options.batch_size
    return values


def _train(stage: str, values: dict[str, Any], workdir: Path, seconds: float) -> dict[str, Any]:
    """Trains one stage for about `seconds`; returns its steps, seconds, and steps a second."""
    began = time.perf_counter()
    plan = workdir / f"{stage}.json"
    if not plan.exists():
        every = PROBED_STEPS + 1
        probe = {"num_steps": PROBED_STEPS, "log_every": every, "evaluation_batches": 1}
        probed = values | {"training": values["training"] | probe}
        metrics = run_stage(stage_config(probed), workdir / f"probe_{stage}")
        # The step is compiled once more, for its own number of steps.
        left = seconds - 1.5 * (time.perf_counter() - began)
        num_steps = max(PROBED_STEPS, round(left / metrics["seconds_per_step"]))
        plan.write_text(json.dumps({"num_steps": num_steps, **metrics}))
    facts = json.loads(plan.read_text())
    values["training"] |= {
        "num_steps": facts["num_steps"],
        "checkpoint_every": max(1, round(60 / facts["seconds_per_step"])),
        "evaluate_every": facts["num_steps"],
    }
    metrics = run_stage(stage_config(values), workdir / stage)
    seconds = time.perf_counter() - began
    return {"steps": facts["num_steps"], "seconds": round(seconds, 1), **metrics}


if __name__ == "__main__":
    sys.exit(main())
