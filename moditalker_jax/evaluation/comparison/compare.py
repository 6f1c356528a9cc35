"""Methods' videos against real ones: reads all, reckons, and writes the report."""

import importlib.metadata
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from moditalker_jax.errors import InputError
from moditalker_jax.evaluation.comparison.catalogue import titles_of, weights_missing
from moditalker_jax.evaluation.comparison.figures import (
    SetDistances,
    VideoFigures,
    figures_of_scene,
)
from moditalker_jax.evaluation.comparison.measures import LPIPS_NETWORKS, Instruments, Weights
from moditalker_jax.evaluation.comparison.page import write_page
from moditalker_jax.evaluation.comparison.pairs import REAL, LeftOut, Scene, find_scenes
from moditalker_jax.evaluation.comparison.reading import read_scene
from moditalker_jax.evaluation.comparison.report import (
    JSON,
    Report,
    left_out_lines,
    write_json,
    write_markdown,
)
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.media.files import require_writable
from moditalker_jax.media.video import estimate_frames
from moditalker_jax.metrics.networks.weights import NETWORKS
from moditalker_jax.models.perceptual import Network
from moditalker_jax.spec import CLIP_FRAMES

RECORDS = "records"
"""Folder beside the report that holds what was measured, so that it is not measured again."""

_LIBRARIES = ("moditalker-jax", "jax", "numpy", "scipy", "scikit-image", "opencv-python-headless")


def compare(
    real: Path,
    methods: Mapping[str, Path],
    out: Path,
    *,
    weights_files: Mapping[str, Path] | None = None,
    every: int = 1,
    lpips: Sequence[Network] = LPIPS_NETWORKS,
    clip_frames: int = CLIP_FRAMES,
    finder: FaceFinder | None = None,
) -> Report:
    """Measures generated videos against real ones and writes the report into a folder.

    What was measured is kept in the folder's `records`: stopped, however hard, and called again,
    it goes on with what is missing. A video, file of weights or setting that changed is measured
    anew, as far as a figure depends on it. One video's frames are never in memory together, and
    nothing but figures is kept of a video when the next one is read.

    Args:
      real: folder of real videos, or one file.
      methods: folders of generated videos, or files, by the method's name.
      out: the folder to write.
      weights_files: of the networks, by their names in `NETWORKS`.
      every: pictures are measured at each `every`th frame.
      lpips: the networks of LPIPS; VGG16 takes twenty times as long as AlexNet.
      clip_frames: frames of one clip of a generated video, 0 if it was not made of clips.
      finder: of faces; a new one if None.

    Raises:
      InputError: there is no pair of videos, or `out` cannot be written.
    """
    require_writable(out / JSON)
    scenes, left_out = find_scenes(real, methods)
    weights, unweighted = {}, {}
    for network in NETWORKS:
        file = (weights_files or {}).get(network)
        if file is None:
            unweighted[network] = weights_missing(network)
            continue
        try:
            weights[network] = Weights.read(network, file)
        except InputError as error:
            unweighted[network] = f"weights unusable: {error}"
            left_out.append(LeftOut("", "", titles_of(network), str(error)))
    instruments = Instruments(finder or FaceFinder(), weights, every, lpips)
    videos, distances, missing = _measure(scenes, instruments, out / RECORDS, clip_frames, left_out)
    report = Report(
        methods=[REAL, *methods],
        videos=videos,
        distances=distances,
        unweighted=unweighted,
        left_out=missing,
        settings={
            "real": str(real),
            "generated": {method: str(path) for method, path in methods.items()},
            "weights": {network: str(path) for network, path in (weights_files or {}).items()},
            "every": every,
            "lpips": list(lpips),
            "clip_frames": clip_frames,
        },
        versions={"python": platform.python_version()}
        | {library: importlib.metadata.version(library) for library in _LIBRARIES},
    )
    write_json(out, report)
    write_markdown(out, report)
    write_page(out, report)
    return report


def _measure(
    scenes: Sequence[Scene],
    instruments: Instruments,
    records: Path,
    clip_frames: int,
    left_out: Sequence[LeftOut],
) -> tuple[list[VideoFigures], dict[str, dict[str, float]], list[LeftOut]]:
    """The figures of all videos, the distances of the sets, and all that is left out."""
    videos: list[VideoFigures] = []
    told: list[LeftOut] = []
    sets = SetDistances()
    lengths = {scene.name: _estimate_length(scene) for scene in scenes}
    with tqdm(total=sum(lengths.values()), unit="frame", desc="evaluate") as bar:

        def tell(items: Sequence[LeftOut]) -> None:
            known = set(left_out_lines(told))
            told.extend(items)
            for line in left_out_lines(items):
                if line not in known:
                    bar.write(f"left out: {line}", file=sys.stderr)

        tell(left_out)
        for scene in scenes:
            before = bar.n
            readings = read_scene(scene, instruments, records, bar.update)
            figures, missing = figures_of_scene(scene, readings, clip_frames=clip_frames)
            tell(missing)
            videos += figures
            for video in figures:
                sets.add(video.method, readings[video.method], readings[REAL])
            if bar.n == before:  # Known already: what is left takes the time that is left.
                bar.total -= lengths[scene.name]
            else:
                bar.update(before + lengths[scene.name] - bar.n)
        distances, missing = sets.reckon()
        tell(missing)
    return videos, distances, told


def _estimate_length(scene: Scene) -> int:
    """Frames of a scene's videos by their headers' word, 0 for those that cannot be read."""
    frames = 0
    for path in scene.videos.values():
        try:
            frames += estimate_frames(path)
        except InputError:
            continue  # Told when it is read.
    return frames
