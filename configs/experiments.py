"""The paper's experiments with generated videos: whose voice a face speaks with, and from what.

python -m moditalker_jax.evaluation.reenactment --experiment table_1 --checkpoint runs/paper \
    --real data/hdtf_test --out runs/paper/table_1

table_1         self-reenactment: every video's own voice and head motion (table 1).
cross_identity  every video speaks with the voice of the next one (figures 5 and 16).
one_shot        every video's own voice, from its first frame as a photo (figure 17).
speed           how long a video of 5 s takes (section 5.5.3).

Each says
audio     own, or the sound of the next video in the order of names; the last one's next is the
          first, so that everyone speaks once.
identity  video, whose head motion is kept, or first_frame, a photo.
seconds   how much of each video is taken; None is all.
metrics   figures of `moditalker_jax.evaluation` that say something of it.
paper     what the paper gives: figures by metric, or seconds by method.
"""

import ml_collections

_WITHOUT_TRUTH = (
    "fid",
    "fvd",
    "cpbd",
    "csim",
    "lse_d",
    "lse_c",
    "seam_ratio",
    "identity_drift",
    "face_found",
)


def table_1() -> dict:
    """The paper's row is of the 98 test videos of HDTF. It does not name the network of LPIPS."""
    return {
        "audio": "own",
        "identity": "video",
        "seconds": None,
        "metrics": (
            "fid",
            "cpbd",
            "psnr",
            "lpips_alexnet",
            "lpips_vgg16",
            "csim",
            "lmd",
            "lse_d",
        ),
        "paper": {
            "fid": 14.15,
            "cpbd": 0.46,
            "psnr": 35.82,
            "lpips_alexnet": 0.01,
            "lpips_vgg16": 0.01,
            "csim": 0.92,
            "lmd": 1.38,
            "lse_d": 9.15,
        },
    }


def cross_identity() -> dict:
    """Nobody filmed these, so that nothing can be compared frame by frame."""
    return table_1() | {"audio": "next", "metrics": _WITHOUT_TRUTH, "paper": {}}


def one_shot() -> dict:
    """The head stands still: only what does not depend on its motion can be compared."""
    metrics = (*_WITHOUT_TRUTH, "mouth_correlation", "mouth_lag", "still_mouth_ratio")
    return table_1() | {"identity": "first_frame", "metrics": metrics, "paper": {}}


def speed() -> dict:
    """The paper's seconds are of one RTX 3090."""
    return {
        "audio": "own",
        "identity": "video",
        "seconds": 5.0,
        "metrics": (),
        "paper": {"MoDiTalker": 23.0, "DiffTalk": 1003.0, "Diffused Heads": 716.0},
    }


EXPERIMENTS = {
    "table_1": table_1,
    "cross_identity": cross_identity,
    "one_shot": one_shot,
    "speed": speed,
}


def get_config(variant: str = "table_1"):
    """One experiment.

    Raises:
      ValueError: there is no such experiment.
    """
    if variant not in EXPERIMENTS:
        raise ValueError(f"no experiment {variant!r}; there are {', '.join(EXPERIMENTS)}")
    return ml_collections.ConfigDict(EXPERIMENTS[variant]())
