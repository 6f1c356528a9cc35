"""Trains one stage, or all of them in turn.

python train.py --config=configs/autoencoder.py:demo --workdir=runs/demo/autoencoder
python train.py --config=configs/all.py:demo --workdir=runs/demo --directory=data/synthetic

Called again it goes on where it stopped. SIGTERM makes it save and exit with status 75. On several
hosts every process gets `--distributed` and the same workdir, which all of them must see.
"""

import sys
from pathlib import Path

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from moditalker_jax.errors import InputError
from moditalker_jax.training.preemption import EXIT_STATUS, Preempted
from moditalker_jax.training.processes import join
from moditalker_jax.training.run import run

_CONFIG = config_flags.DEFINE_config_file("config", None, "configs/STAGE.py[:VARIANT]")
_DIRECTORY = flags.DEFINE_string("directory", None, "Shards to train on; default: the config's.")
_START_FROM = flags.DEFINE_string("start_from", None, "Trained stages that new runs start from.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; resumes what it holds.")
_RESUME_AT = flags.DEFINE_integer("resume_at", None, "Go on from this step's checkpoint.")
_PROFILE = flags.DEFINE_bool("profile", False, "Write a trace of some steps to WORKDIR/profile.")
_DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    False,
    "One of several processes that train together. SLURM, MPI and TPU pods tell the rest; "
    "elsewhere give the three flags below.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of the first process.")
_PROCESS_COUNT = flags.DEFINE_integer("process_count", None, "How many processes there are.")
_PROCESS_INDEX = flags.DEFINE_integer("process_index", None, "Which one this is, from 0.")
_COMPILATION_CACHE = flags.DEFINE_string(
    "compilation_cache",
    str(Path.home() / ".cache" / "moditalker_jax"),
    'Where compiled steps are kept from run to run; "" keeps none.',
)
flags.mark_flags_as_required(["config", "workdir"])


def main(arguments: list[str]) -> None:
    """Runs the config that the flags name."""
    del arguments
    # Else Orbax and TFDS report every file that they touch, between the lines of the training.
    logging.set_verbosity(logging.ERROR)
    if _COMPILATION_CACHE.value and jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", _COMPILATION_CACHE.value)
    try:
        if _DISTRIBUTED.value:
            join(_COORDINATOR.value, _PROCESS_COUNT.value, _PROCESS_INDEX.value)
        run(
            _CONFIG.value.to_dict(),
            Path(_WORKDIR.value),
            directory=_DIRECTORY.value,
            start_from=_START_FROM.value and Path(_START_FROM.value),
            resume_at=_RESUME_AT.value,
            profile=_PROFILE.value,
        )
    except InputError as error:
        sys.exit(f"error: {error}")
    except Preempted as notice:
        print(notice, file=sys.stderr)
        sys.exit(EXIT_STATUS)


if __name__ == "__main__":
    app.run(main)
