"""What preparing found: a JSON line for each video, and a page to look at."""

import base64
import dataclasses
import html
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from data_pipelines.prepare.work import Outcome
from data_pipelines.records import PreparedClip
from moditalker_jax.media.files import written_aside

LINES, PAGE = "report.jsonl", "report.html"
_SIDE = 96

_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; margin-bottom: 2em; }
td, th { padding: 2px 10px; text-align: left; border-bottom: 1px solid #ddd; }
.videos { display: flex; flex-wrap: wrap; gap: 12px; }
figure { margin: 0; width: 288px; }
figure img { width: 288px; height: 96px; object-fit: cover; background: #eee; display: block; }
figcaption { font-size: 12px; overflow-wrap: anywhere; }
.left-out figcaption { color: #a00; }
"""


def clip_strip(clip: PreparedClip) -> bytes:
    """JPEG of a clip's first, middle and last picture with the 68 landmarks drawn."""
    shown = np.linspace(0, len(clip) - 1, 3).astype(int)
    return _jpeg([_with_landmarks(clip.frames[t], clip.landmarks[t]) for t in shown])


def picture_strip(picture: np.ndarray) -> bytes:
    """JPEG of one picture (H, W, 3) uint8 RGB at the strips' height."""
    height, width = picture.shape[:2]
    return _jpeg([cv2.resize(picture, (max(1, round(width * _SIDE / height)), _SIDE))])


def write_report(folder: Path, outcomes: Sequence[Outcome], thumbnails: Path) -> None:
    """Writes `report.jsonl` and `report.html` into `folder`.

    The page stands alone; pictures of `thumbnails` are inside it.
    """
    with written_aside(folder / LINES) as aside:
        aside.write_text("".join(json.dumps(dataclasses.asdict(o)) + "\n" for o in outcomes))
    with written_aside(folder / PAGE) as aside:
        aside.write_text(_page(outcomes, thumbnails))


def reasons(outcomes: Sequence[Outcome]) -> Counter[str]:
    """How many videos were left out for each reason."""
    return Counter(outcome.reason for outcome in outcomes if outcome.reason)


def _page(outcomes: Sequence[Outcome], thumbnails: Path) -> str:
    taken = [outcome for outcome in outcomes if not outcome.reason]
    left_out = [outcome for outcome in outcomes if outcome.reason]
    shots = Counter(shot["reason"] for outcome in taken for shot in outcome.left_out)
    frames = Counter()
    for outcome in taken:
        for clip in outcome.clips:
            frames[clip["split"]] += clip["frames"]
    rows = [
        ("videos taken", f"{len(taken)} of {len(outcomes)}"),
        *((f"left out: {_words(reason)}", n) for reason, n in reasons(outcomes).most_common()),
        *((f"shots left out: {_words(reason)}", n) for reason, n in shots.most_common()),
        *((f"{split}, minutes", f"{n / 25 / 60:.1f}") for split, n in frames.items()),
        ("seconds of work for a second of video", _speed(outcomes)),
    ]
    table = "".join(f"<tr><th>{html.escape(k)}</th><td>{v}</td></tr>" for k, v in rows)
    figures = "".join(_figure(outcome, thumbnails) for outcome in [*left_out, *taken])
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Preparation</title>'
        f"<style>{_STYLE}</style><h1>Preparation</h1><table>{table}</table>"
        f'<div class="videos">{figures}</div></html>\n'
    )


def _figure(outcome: Outcome, thumbnails: Path) -> str:
    image = ""
    if outcome.thumbnails:
        encoded = base64.b64encode((thumbnails / outcome.thumbnails).read_bytes()).decode()
        image = f'<img loading="lazy" alt="" src="data:image/jpeg;base64,{encoded}">'
    name = html.escape(outcome.name)
    if outcome.reason:
        text = f"<b>{name}</b> {html.escape(outcome.message or '')}"
        return f'<figure class="left-out">{image}<figcaption>{text}</figcaption></figure>'
    held = sum(shot["held"] for shot in outcome.shots)
    facts = [
        f"{outcome.seconds:.1f} s",
        f"{len(outcome.shots)} shot(s)",
        *([f"{held} frames held"] if held else []),
        *(
            f"sound {shot['sync_ms']:+.0f} ms late (certainty {shot['sync_confidence']:.2f})"
            for shot in outcome.shots[:2]
        ),
        *(f"at {shot['start'] / 25:.1f} s: {_words(shot['reason'])}" for shot in outcome.left_out),
    ]
    text = f"<b>{name}</b> {html.escape(', '.join(facts))}"
    return f"<figure>{image}<figcaption>{text}</figcaption></figure>"


def _words(reason: str) -> str:
    return reason.replace("_", " ")


def _speed(outcomes: Sequence[Outcome]) -> str:
    seconds = sum(outcome.seconds for outcome in outcomes)
    return f"{sum(o.took for o in outcomes) / seconds:.2f}" if seconds else "unknown"


def _with_landmarks(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    picture = cv2.resize(frame, (2 * _SIDE, 2 * _SIDE))
    for x, y in landmarks[:, :2] * 2 * _SIDE:
        cv2.circle(picture, (round(float(x)), round(float(y))), 2, (0, 255, 0), -1)
    return cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)


def _jpeg(pictures: Sequence[np.ndarray]) -> bytes:
    strip = np.concatenate(pictures, axis=1)[..., ::-1]
    return cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
