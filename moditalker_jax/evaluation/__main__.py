"""Generated videos against real ones: the figures of the paper's table 1, and more.

    python -m moditalker_jax.evaluation --real REAL --generated NAME=FOLDER --out REPORT

Videos are paired by name. REPORT gets report.json, report.md and report.html, and what was measured
in `records`: stopped, however hard, and called again, it goes on with what is missing.
Exits with 0 if all was measured; with 3 if something was left out, which is told on stderr and in
the report; with 2 if there was nothing to measure. Figures whose networks got no weights are not
left out: the report names the weights.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from moditalker_jax.errors import SOMETHING_LEFT_OUT, InputError, command
from moditalker_jax.evaluation.comparison.compare import compare
from moditalker_jax.evaluation.comparison.flags import (
    add_every_flag,
    add_lpips_flag,
    add_weights_flags,
    weights_files,
)
from moditalker_jax.evaluation.comparison.page import PAGE
from moditalker_jax.evaluation.comparison.pairs import REAL
from moditalker_jax.evaluation.comparison.report import MARKDOWN
from moditalker_jax.flags import at_least
from moditalker_jax.generation.command import warnings_on_stderr
from moditalker_jax.spec import CLIP_FRAMES


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    with warnings_on_stderr():
        report = compare(
            options.real,
            _methods(options.generated),
            options.out,
            weights_files=weights_files(options),
            every=options.every,
            lpips=options.lpips,
            clip_frames=options.clip_frames,
        )
    print((options.out / MARKDOWN).read_text().partition("\n## ")[0].strip())
    print(f"\nreport: {options.out / PAGE}")
    return SOMETHING_LEFT_OUT if report.left_out else 0


def _methods(given: Sequence[str]) -> dict[str, Path]:
    """Folders by the method's name, the folder's own where none is given."""
    methods: dict[str, Path] = {}
    for text in given:
        name, separator, path = text.partition("=")
        if not separator or Path(text).exists():
            name, path = Path(text).resolve().stem, text
        if name in methods or name == REAL:
            raise InputError(f"--generated {text}: {name} is taken; give another NAME=FOLDER")
        methods[name] = Path(path)
    return methods


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m moditalker_jax.evaluation",
        description="Generated videos against real ones.",
    )
    parser.add_argument(
        "--real", type=Path, required=True, help="folder of the real videos, or one file"
    )
    parser.add_argument(
        "--generated",
        action="append",
        required=True,
        metavar="[NAME=]FOLDER",
        help="folder of one method's videos, or one file; may be given several times",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the report")
    add_weights_flags(parser)
    add_every_flag(parser)
    add_lpips_flag(parser)
    parser.add_argument(
        "--clip-frames",
        type=at_least(0),
        default=CLIP_FRAMES,
        help="frames of the clips that generated videos are made of, for the seam ratio; "
        f"0 for none; default {CLIP_FRAMES}",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
