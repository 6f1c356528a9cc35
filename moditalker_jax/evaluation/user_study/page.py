"""The page of a user study: plain HTML with the videos side by side; answers become one file."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from moditalker_jax.media.files import written_aside

PAGE, VIDEOS, PICTURES = "index.html", "videos", "pictures"
"""The page, and the folders beside it."""


@dataclass(frozen=True)
class Item:
    """One choice that a participant makes.

    Attributes:
      question: its name.
      sample: name of the sample.
      videos: names of the videos to choose from, as they are shown from left to right.
      picture: name of a picture to show above them, or None.
    """

    question: str
    sample: str
    videos: Sequence[str]
    picture: str | None


def write_page(
    folder: Path, study: str, questions: Mapping[str, str], items: Sequence[Item]
) -> None:
    """Writes `index.html`, which needs no server and nothing but the two folders beside it.

    The file that it lets a participant download is
    {"study": ..., "participant": 16 hexadecimal digits, "answers": {question: {sample: video}}}.

    Args:
      folder: where `videos/NAME.mp4` and `pictures/NAME.png` lie.
      study: name of the study.
      questions: text of each question by its name.
      items: the choices in the order in which they are made.
    """
    fieldsets = "\n".join(
        _fieldset(item, questions[item.question], f"{place} of {len(items)}")
        for place, item in enumerate(items, start=1)
    )
    with written_aside(folder / PAGE) as aside:
        aside.write_text(
            _PAGE.substitute(
                study=study, count=len(items), style=_STYLE, script=_SCRIPT, choices=fieldsets
            )
        )


def _fieldset(item: Item, question: str, place: str) -> str:
    picture = ""
    if item.picture is not None:
        picture = (
            f'<figure><img src="{PICTURES}/{item.picture}.png" alt="the person">'
            "<figcaption>The person</figcaption></figure>\n"
        )
    choices = "\n".join(
        f'<div><video controls playsinline preload="none" src="{VIDEOS}/{video}.mp4"></video>'
        f'<label><input type="radio" name="{item.question}-{item.sample}" value="{video}">'
        f" Video {chr(ord('A') + number)}</label></div>"
        for number, video in enumerate(item.videos)
    )
    return (
        f'<fieldset data-question="{item.question}" data-sample="{item.sample}">\n'
        f"<p>{place}</p>\n<h2>{question}</h2>\n"
        f'{picture}<div class="videos">\n{choices}\n</div>\n</fieldset>'
    )


_PAGE = string.Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Which video?</title>
<style>$style</style>
<body data-study="$study">
<h1>Which video?</h1>
<p>Please turn your sound on and watch all videos before you choose one; you may watch them again.
There are $count choices. In the end you get a file with your answers: please send it back.</p>
<noscript><p><strong>This page needs JavaScript; please turn it on.</strong></p></noscript>
<main>
$choices
<section>
<h2>Thank you!</h2>
<p>Please download the file with your answers and send it back. Nothing was sent so far.</p>
<button type="button" id="download">Download my answers</button>
</section>
<nav>
<button type="button" id="back">Back</button>
<button type="button" id="next">Next</button>
</nav>
</main>
<script>$script</script>
</body>
</html>
""")

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1200px; margin: 2em auto;
       padding: 0 1em; }
h1, h2 { line-height: 1.2; }
fieldset { border: 1px solid #ccc; border-radius: 8px; margin: 1em 0; padding: 1em; min-width: 0; }
fieldset > p { margin: 0; color: #666; }
.videos { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 16px; }
video { display: block; width: 100%; aspect-ratio: 1; background: #eee; }
label { display: block; padding: 8px; text-align: center; cursor: pointer; }
figure { margin: 0 0 16px; width: 200px; text-align: center; }
img { display: block; width: 100%; }
button { font: inherit; padding: 8px 20px; }
[hidden] { display: none !important; }
"""

_SCRIPT = """
"use strict";
const items = [...document.querySelectorAll("fieldset")];
const end = document.querySelector("section");
const [back, next, download] =
  ["back", "next", "download"].map((id) => document.getElementById(id));
const bytes = crypto.getRandomValues(new Uint8Array(8));
const participant = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const chosen = (item) => item.querySelector("input:checked");
let place = 0;
let unsaved = false;

function show(where) {
  place = where;
  items.forEach((item, index) => { item.hidden = index !== place; });
  end.hidden = next.hidden = true;
  back.disabled = place === 0;
  document.querySelectorAll("video").forEach((video) => video.pause());
  if (place === items.length) {
    end.hidden = false;
    return;
  }
  items[place].querySelectorAll("video").forEach((video) => { video.preload = "auto"; });
  next.hidden = false;
  next.disabled = !chosen(items[place]);
}

function answers() {
  const answers = {};
  for (const item of items) {
    const { question, sample } = item.dataset;
    answers[question] = { ...answers[question], [sample]: chosen(item).value };
  }
  return { study: document.body.dataset.study, participant, answers };
}

document.addEventListener("change", () => {
  unsaved = true;
  next.disabled = !chosen(items[place]);
});
document.addEventListener("play", (event) => {
  document.querySelectorAll("video").forEach((video) => {
    if (video !== event.target) video.pause();
  });
}, true);
window.addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});
back.addEventListener("click", () => show(place - 1));
next.addEventListener("click", () => show(place + 1));
download.addEventListener("click", () => {
  const file = new Blob([JSON.stringify(answers(), null, 1)], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = `answers-${participant}.json`;
  link.click();
  unsaved = false;
});
show(0);
"""
