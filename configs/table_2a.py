"""Rows of the paper's table 2a: what each part of AToM brings.

python train.py --config=configs/table_2a.py:demo.II --workdir=runs/table_2a/II/atom

VARIANT.ROW is a variant of `configs/atom.py` and a row:
I    audio is the only condition, and the landmarks themselves are diffused.
II   I, but the residual to the window's first frame is diffused.
III  II, with the first frame's landmarks as a condition.
IV   III, with the lip part and the upper face apart: the paper's AToM.
All rows: python -m moditalker_jax.evaluation.ablation --table 2a
"""

from configs import atom
from configs.common import choose_row

ROWS = {
    "I": {
        "model": {"disentangled": False, "landmark_condition": False},
        "diffusion": {"residual": False},
    },
    "II": {"model": {"disentangled": False, "landmark_condition": False}},
    "III": {"model": {"disentangled": False}},
    "IV": {},
}


def get_config(variant: str = "paper.IV"):
    """Settings of VARIANT.ROW."""
    return choose_row(atom.get_config, ROWS, variant)
