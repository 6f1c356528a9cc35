"""The figures that a report can hold: names, directions, and how each is reckoned."""

from dataclasses import dataclass
from typing import Literal

from moditalker_jax.metrics.networks.weights import NETWORKS

MAX_CUT_FRAMES = 2
"""Videos whose lengths differ by more frames are not compared; codecs pad by one or two."""

PSNR_CAP = 100.0
"""dB that a frame counts at most: equal frames have infinitely many."""

LMD_SIDE = 256
"""LMD is in pixels of frames of this height, as papers have it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure.

    Attributes:
      key: its name in `report.json`.
      title: its name in the tables.
      arrow: to where it is better.
      digits: after the point.
      protocol: how it is reckoned.
      network: of `NETWORKS`, without which it is missing.
      of_set: whether it is one of all videos together.
    """

    key: str
    title: str
    arrow: Literal["↑", "↓", "→ 0", "→ 1"]
    digits: int
    protocol: str
    network: str | None = None
    of_set: bool = False

    @property
    def heading(self) -> str:
        """The title with the arrow."""
        return f"{self.title} {self.arrow}"

    def worst_first(self, value: float) -> float:
        """A key by which values sort from the worst to the best."""
        if self.arrow in ("↑", "↓"):
            return value if self.arrow == "↑" else -value
        return -abs(value - float(self.arrow[2:]))


TABLE_1 = (
    Figure(
        key="fid",
        title="FID",
        arrow="↓",
        digits=2,
        network="inception",
        of_set=True,
        protocol="pytorch-fid's Inception features of the frames of all videos together. Below "
        "2048 frames it comes out too large: compare only sets of one size.",
    ),
    Figure(
        key="cpbd",
        title="CPBD",
        arrow="↑",
        digits=2,
        protocol="as the package cpbd 1.0.7 reckons it.",
    ),
    Figure(
        key="psnr",
        title="PSNR",
        arrow="↑",
        digits=2,
        protocol="dB, of RGB frames with 8 bits; a frame counts at most "
        f"{PSNR_CAP:.0f} dB, since equal frames have infinitely many.",
    ),
    Figure(
        key="lpips_alexnet",
        title="LPIPS (AlexNet)",
        arrow="↓",
        digits=3,
        protocol="version 0.1. The paper does not say which network it takes.",
    ),
    Figure(
        key="lpips_vgg16",
        title="LPIPS (VGG16)",
        arrow="↓",
        digits=3,
        protocol="version 0.1.",
    ),
    Figure(
        key="csim",
        title="CSIM",
        arrow="↑",
        digits=2,
        network="arcface",
        protocol="cosine of ArcFace's embeddings of the face and of that in the real frame of the "
        "same time, aligned by five points.",
    ),
    Figure(
        key="lmd",
        title="LMD",
        arrow="↓",
        digits=2,
        protocol="mean distance of the mouth's 20 landmarks, the mouth's middle taken out, in "
        f"pixels of frames {LMD_SIDE} high.",
    ),
    Figure(
        key="lse_d",
        title="LSE-D",
        arrow="↓",
        digits=2,
        network="syncnet",
        protocol="SyncNet on faces cropped as by its authors' pipeline, with the box of the 68 "
        "landmarks in place of S3FD's and without their recompression; of the whole video.",
    ),
)
"""The columns of the paper's table 1; it has one LPIPS."""

FURTHER = (
    Figure(
        key="lse_c",
        title="LSE-C",
        arrow="↑",
        digits=2,
        network="syncnet",
        protocol="as LSE-D.",
    ),
    Figure(
        key="fvd",
        title="FVD",
        arrow="↓",
        digits=1,
        network="i3d",
        of_set=True,
        protocol="PVDM's I3D logits of clips of 16 frames that do not overlap, of all videos "
        "together. It depends on the number of clips: compare only sets of one size.",
    ),
    Figure(
        key="ssim",
        title="SSIM",
        arrow="↑",
        digits=3,
        protocol="Wang et al. 2004: Gaussian windows of 11x11, mean over the three colours.",
    ),
    Figure(
        key="mouth_correlation",
        title="Mouth correlation",
        arrow="↑",
        digits=3,
        protocol="Pearson correlation over time of the distance between the inner lips, of faces "
        "turned to the front.",
    ),
    Figure(
        key="mouth_lag",
        title="Mouth lag",
        arrow="→ 0",
        digits=1,
        protocol="frames by which the mouth is late where its opening correlates best; negative "
        "where it is early; up to 15 are tried.",
    ),
    Figure(
        key="still_mouth_ratio",
        title="Mouth error / still mouth",
        arrow="↓",
        digits=2,
        protocol="distance of the mouth's landmarks, of faces turned to the front, over that of "
        "the best still mouth, the real one's mean; below 1 is better than a mouth that does not "
        "move.",
    ),
    Figure(
        key="seam_ratio",
        title="Seam ratio",
        arrow="→ 1",
        digits=2,
        protocol="change from frame to frame where clips join over that inside clips.",
    ),
    Figure(
        key="identity_drift",
        title="Identity drift",
        arrow="↓",
        digits=3,
        protocol="how far brows, nose and eye corners of the face turned to the front have moved "
        "from the first fifth of the video to the last, over the distance of the outer corners of "
        "the eyes.",
    ),
    Figure(
        key="face_found",
        title="Face found",
        arrow="↑",
        digits=2,
        protocol="share of frames in which the face finder sees a face; the others are left out of "
        "what needs landmarks.",
    ),
)
"""What the paper's table does not have."""

FIGURES = {figure.key: figure for figure in TABLE_1 + FURTHER}


def titles_of(network: str) -> tuple[str, ...]:
    """The figures that need a network."""
    return tuple(figure.title for figure in FIGURES.values() if figure.network == network)


def weights_missing(network: str) -> str:
    """What stands in place of a figure whose network has no weights."""
    published = NETWORKS[network]
    return f"weights missing: {published.file} from {published.source}"
