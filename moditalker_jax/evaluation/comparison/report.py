"""The report of an evaluation: its figures, their means, `report.json` and `report.md`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moditalker_jax.evaluation.comparison.catalogue import (
    FIGURES,
    FURTHER,
    TABLE_1,
    Figure,
    titles_of,
)
from moditalker_jax.evaluation.comparison.figures import VideoFigures
from moditalker_jax.evaluation.comparison.measures import LPIPS_NETWORKS
from moditalker_jax.evaluation.comparison.pairs import REAL, LeftOut
from moditalker_jax.media.files import written_aside

JSON, MARKDOWN = "report.json", "report.md"

NOTES = (
    "Figures of frames are averaged over a video's frames, then over the videos.",
    "All videos are read at 25 frames a second.",
    "Landmarks are those that MediaPipe's face mesh finds, in real and generated videos alike, "
    "weakly smoothed over time.",
    f"{REAL} is compared with itself, which says nothing of PSNR, SSIM and LPIPS.",
)


@dataclasses.dataclass(frozen=True)
class Report:
    """What an evaluation found.

    Attributes:
      methods: names, `REAL` first.
      videos: the figures of each video.
      distances: FID and FVD, by method and key.
      unweighted: by network, why what needs it is missing.
      left_out: what could not be measured.
      settings: of the evaluation, JSON values.
      versions: of the libraries.
    """

    methods: Sequence[str]
    videos: Sequence[VideoFigures]
    distances: Mapping[str, Mapping[str, float]]
    unweighted: Mapping[str, str]
    left_out: Sequence[LeftOut]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]

    def videos_of(self, method: str) -> list[VideoFigures]:
        """The videos of one method."""
        return [video for video in self.videos if video.method == method]

    def means(self, method: str) -> dict[str, float]:
        """A method's figures: means over the videos that have them, and distances of the sets."""
        videos = self.videos_of(method)
        means = dict(self.distances.get(method, {}))
        for key in FIGURES:
            values = [video.values[key] for video in videos if key in video.values]
            if values:
                means[key] = sum(values) / len(values)
        return means

    def rows(self, figures: Sequence[Figure]) -> list[list[str]]:
        """A table's cells, a row for each method: its name, number of videos, and figures."""
        return [
            [method, str(len(self.videos_of(method))), *(self._cell(method, f) for f in figures)]
            for method in self.methods
        ]

    def missing_figures(self) -> list[str]:
        """A line for each network whose figures are missing for want of weights."""
        return [
            f"{', '.join(titles_of(network))}: {reason}"
            for network, reason in self.unweighted.items()
        ]

    def notes(self) -> list[str]:
        """How the figures were made, line by line."""
        cut = [video for video in self.videos if video.cut]
        return [
            *NOTES,
            f"Pictures are measured at one frame in {self.settings['every']}, faces at each.",
            *(
                f"{FIGURES[f'lpips_{network}'].title} was not asked for."
                for network in LPIPS_NETWORKS
                if network not in self.settings["lpips"]
            ),
            *(
                f"{video.file}: {video.cut} frame(s) that only one of the pair has are left out."
                for video in cut
            ),
        ]

    def _cell(self, method: str, figure: Figure) -> str:
        if figure.network in self.unweighted:
            return self.unweighted[figure.network].split(":")[0]
        value = self.means(method).get(figure.key)
        if value is None:
            return "–"
        text = f"{value:.{figure.digits}f}"
        videos = self.videos_of(method)
        count = sum(figure.key in video.values for video in videos)
        return text if figure.of_set or count == len(videos) else f"{text} ({count} videos)"


def write_json(folder: Path, report: Report) -> None:
    """Writes all figures, settings and what was left out."""
    facts = {
        "settings": report.settings,
        "versions": report.versions,
        "figures": {
            key: {"title": figure.title, "better": figure.arrow, "protocol": figure.protocol}
            for key, figure in FIGURES.items()
        },
        "methods": {
            method: {"videos": len(report.videos_of(method)), "means": report.means(method)}
            for method in report.methods
        },
        "missing": {
            key: report.unweighted[figure.network]
            for key, figure in FIGURES.items()
            if figure.network in report.unweighted
        },
        "notes": report.notes(),
        "left_out": [dataclasses.asdict(item) for item in report.left_out],
        "videos": [dataclasses.asdict(video) for video in report.videos],
    }
    with written_aside(folder / JSON) as aside:
        aside.write_text(json.dumps(facts, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_markdown(folder: Path, report: Report) -> None:
    """Writes the tables: first the columns of the paper's table 1, then what it does not have."""
    lines = ["# Evaluation", "", *_table(report, TABLE_1), "", *_table(report, FURTHER), ""]
    lines += [f"- {line}" for line in (*report.missing_figures(), *report.notes())]
    lines += ["", "## How the figures are reckoned", ""]
    lines += [f"- {figure.title}: {figure.protocol}" for figure in FIGURES.values()]
    if report.left_out:
        lines += ["", "## Left out", ""]
        lines += [f"- {line}" for line in left_out_lines(report.left_out)]
    with written_aside(folder / MARKDOWN) as aside:
        aside.write_text("\n".join(lines) + "\n")


def left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    """One line for each reason, with the figures that it touches."""
    figures: dict[str, dict[str, None]] = {}
    for item in left_out:
        figures.setdefault(item.message, {}).update(dict.fromkeys(item.figures))
    return [
        f"{message} ({', '.join(titles)})" if titles else message
        for message, titles in figures.items()
    ]


def _table(report: Report, figures: Sequence[Figure]) -> list[str]:
    heads = ["", "videos", *(figure.heading for figure in figures)]
    rows = [heads, ["---"] * len(heads), *report.rows(figures)]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
