"""`report.html`: the tables, how the figures spread, and the best and worst videos."""

import base64
import html
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure as Plot

from moditalker_jax.errors import InputError
from moditalker_jax.evaluation.comparison.catalogue import FIGURES, FURTHER, TABLE_1, Figure
from moditalker_jax.evaluation.comparison.figures import VideoFigures
from moditalker_jax.evaluation.comparison.pairs import REAL
from moditalker_jax.evaluation.comparison.report import Report, left_out_lines
from moditalker_jax.media.files import written_aside
from moditalker_jax.media.video import iterate_frames
from moditalker_jax.spec import FPS

PAGE = "report.html"

_SHOWN_FIGURES = ("lpips_alexnet", "mouth_correlation", "lmd")
"""By which the best and worst videos are chosen."""
_SHOWN_VIDEOS = 2
"""At either end."""
_MOMENTS = 4
_HEIGHT = 112

_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; color: #222; max-width: 1100px; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { padding: 3px 8px; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
svg { max-width: 100%; height: auto; }
.videos { display: flex; flex-wrap: wrap; gap: 16px; }
figure { margin: 0; }
figure img { display: block; background: #eee; }
figcaption { font-size: 12px; max-width: 448px; overflow-wrap: anywhere; }
.left-out { color: #a00; }
"""


def write_page(folder: Path, report: Report) -> None:
    """Writes the page, which needs no other file."""
    with written_aside(folder / PAGE) as aside:
        aside.write_text(_page(report))


def _page(report: Report) -> str:
    protocols = [f"{figure.title}: {figure.protocol}" for figure in FIGURES.values()]
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>',
        f"<style>{_STYLE}</style><h1>Evaluation</h1>",
        *(_table(report, figures) for figures in (TABLE_1, FURTHER)),
        _list([*report.missing_figures(), *report.notes()]),
    ]
    if report.left_out:
        parts += ["<h2>Left out</h2>", _list(left_out_lines(report.left_out), "left-out")]
    if report.videos:
        parts += ["<h2>Video by video</h2>", _plots(report), *_best_and_worst(report)]
    parts += ["<h2>How the figures are reckoned</h2>", _list(protocols), "</html>"]
    return "\n".join(parts) + "\n"


def _table(report: Report, figures: Sequence[Figure]) -> str:
    heads = ["", "videos", *(figure.heading for figure in figures)]
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heads)
    rows = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in report.rows(figures)
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def _list(lines: Sequence[str], style: str = "") -> str:
    return f'<ul class="{style}">{"".join(f"<li>{html.escape(x)}</li>" for x in lines)}</ul>'


def _plots(report: Report) -> str:
    """An SVG with one plot for each figure: a point for each video, a line at the mean."""
    figures = [
        figure
        for figure in FIGURES.values()
        if any(figure.key in video.values for video in report.videos)
    ]
    columns = 4
    lines = -(-len(figures) // columns)
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 9}):
        plot = Plot(figsize=(11, 2.4 * lines), layout="constrained")
        axes = plot.subplots(lines, columns, squeeze=False).ravel()
        for axis, figure in zip(axes, figures, strict=False):
            _plot(axis, figure, report)
        for axis in axes[len(figures) :]:
            axis.remove()
        file = io.StringIO()
        plot.savefig(file, format="svg")
    return file.getvalue()[file.getvalue().index("<svg") :]


def _plot(axis, figure: Figure, report: Report) -> None:
    rng = np.random.default_rng(0)
    for place, method in enumerate(report.methods):
        videos = report.videos_of(method)
        values = [video.values[figure.key] for video in videos if figure.key in video.values]
        if values:
            across = place + rng.uniform(-0.25, 0.25, len(values))
            axis.scatter(across, values, s=14, alpha=0.6, linewidths=0, color=f"C{place % 10}")
            axis.hlines(np.mean(values), place - 0.35, place + 0.35, colors="black")
    axis.set_title(figure.heading)
    axis.set_xticks(range(len(report.methods)), report.methods, rotation=20)
    axis.set_xlim(-0.6, len(report.methods) - 0.4)
    axis.spines[["top", "right"]].set_visible(False)


def _best_and_worst(report: Report) -> Iterator[str]:
    strips: dict[str, str] = {}  # A video may be the best or worst by several figures.
    for key in _SHOWN_FIGURES:
        figure = FIGURES[key]
        for method in report.methods:
            videos = [video for video in report.videos_of(method) if key in video.values]
            if method == REAL or not videos:
                continue
            videos.sort(key=lambda video: figure.worst_first(video.values[figure.key]))  # noqa: B023
            title = f"{figure.heading}: worst and best of {method}, each below the real one"
            yield f'<h3>{html.escape(title)}</h3><div class="videos">'
            for video in _ends(videos):
                if video.file not in strips:
                    strips[video.file] = _strip(video)
                value = f"{video.values[key]:.{figure.digits}f}"
                caption = f"<b>{html.escape(video.video)}</b> {figure.title} {value}"
                yield f"<figure>{strips[video.file]}<figcaption>{caption}</figcaption></figure>"
            yield "</div>"


def _ends(videos: Sequence[VideoFigures]) -> Sequence[VideoFigures]:
    if len(videos) <= 2 * _SHOWN_VIDEOS:
        return videos
    return [*videos[:_SHOWN_VIDEOS], *videos[-_SHOWN_VIDEOS:]]


def _strip(video: VideoFigures) -> str:
    """Some moments of the real video, and below them the generated ones; empty if unreadable."""
    moments = np.linspace(0, video.frames - 1, _MOMENTS + 2).astype(int)[1:-1]
    try:
        rows = [[_frame(path, t) for t in moments] for path in (video.real, video.file)]
    except (InputError, StopIteration):
        return ""
    height, width = rows[0][0].shape[:2]
    size = round(_HEIGHT * width / height), _HEIGHT
    picture = np.concatenate(
        [
            np.concatenate([cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in row], axis=1)
            for row in rows
        ]
    )
    encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    data = base64.b64encode(encoded.tobytes()).decode()
    return f'<img alt="real above, generated below" src="data:image/jpeg;base64,{data}">'


def _frame(path: str, moment: int) -> np.ndarray:
    return next(iterate_frames(path, start=moment / FPS))
