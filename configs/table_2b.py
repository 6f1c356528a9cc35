"""Rows of the paper's table 2b: what each condition of MToV brings.

python train.py --config=configs/table_2b.py:demo.III --workdir=runs/table_2b/III/mtov

VARIANT.ROW is a variant of `configs/mtov.py` and a row:
I    no condition.
II   the identity frames X_I.
III  II, and the pose frames X_P.
IV   III, and the audio by cross-attention.
V    III, and the landmarks: the paper's MToV.
All rows: python -m moditalker_jax.evaluation.ablation --table 2b
"""

from configs import mtov
from configs.common import choose_row

ROWS = {
    "I": {"model": {"conditions": ()}},
    "II": {"model": {"conditions": ("reference",)}},
    "III": {"model": {"conditions": ("reference", "pose")}},
    "IV": {"model": {"conditions": ("reference", "pose", "audio")}},
    "V": {"model": {"conditions": ("reference", "pose", "landmark")}},
}


def get_config(variant: str = "paper.V"):
    """Settings of VARIANT.ROW."""
    return choose_row(mtov.get_config, ROWS, variant)
