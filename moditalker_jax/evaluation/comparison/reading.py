"""Reads a real video and what was made of it side by side, once, and measures as it reads."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from moditalker_jax.errors import InputError
from moditalker_jax.evaluation.comparison.measures import (
    FACES,
    LIP_SYNC,
    Instruments,
    Measure,
    measure_lip_sync,
    measures_of_a_pair,
    measures_of_a_video,
)
from moditalker_jax.evaluation.comparison.pairs import REAL, Scene, frame_mismatch
from moditalker_jax.evaluation.comparison.records import Arrays, Record, record
from moditalker_jax.evaluation.found_faces import EnlargedFaceTracker
from moditalker_jax.media.video import iterate_frames


@dataclasses.dataclass
class Reading:
    """What is known of one video.

    Attributes:
      path: of the video.
      parts: what was measured, by the names of `measures`.
      failures: one line for each part that could not be measured.
      mismatch: one line if its frames cannot be compared with the real ones one by one.
      unreadable: one line if the video cannot be read to its end; then it has no parts.
    """

    path: Path
    parts: dict[str, Arrays] = dataclasses.field(default_factory=dict)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    mismatch: str | None = None
    unreadable: str | None = None

    @property
    def landmarks(self) -> np.ndarray:
        """(T, 68, 3) in pixels, of all frames; NaN where no face was found."""
        return self.parts[FACES]["landmarks"]

    @property
    def frame_height(self) -> int:
        """In pixels."""
        return int(self.parts[FACES]["heights"][0])


def read_scene(
    scene: Scene,
    instruments: Instruments,
    folder: Path,
    on_frames: Callable[[int], object] = lambda count: None,
) -> dict[str, Reading]:
    """Measures a scene's videos, as far as their records do not tell already.

    Args:
      scene: the videos.
      instruments: what measures.
      folder: of the records; what is measured is kept there.
      on_frames: is told how many frames more were read.

    Returns:
      What is known of each video, by method, `REAL` among them.
    """
    passes = {
        method: _Pass(path, instruments, folder, truth=None if method == REAL else scene.real)
        for method, path in scene.videos.items()
    }
    real, *made = passes.values()
    made = [one for one in made if one.is_incomplete]
    more = real.is_incomplete or bool(made)
    while more:
        truth = real.advance()
        frames = [truth, *(one.advance(truth) for one in made)]
        read = sum(frame is not None for frame in frames)
        on_frames(read)
        more = read > 0 and not real.reading.unreadable
    if not real.reading.unreadable:  # Else the others were not read to their ends.
        for one in passes.values():
            one.finish()
    return {method: one.reading for method, one in passes.items()}


class _Pass:
    """One video from its first frame to its last."""

    def __init__(self, path: Path, instruments: Instruments, folder: Path, truth: Path | None):
        self.reading = Reading(path)
        self._instruments, self._folder = instruments, folder
        self._frames = iterate_frames(path)
        self._read = 0
        self._tracker = EnlargedFaceTracker(instruments.finder)
        self._wanted: dict[str, tuple[Measure, Record]] = {}
        self._compared: set[str] = set()
        for part, measure in measures_of_a_video(instruments).items():
            self._want(part, measure, path)
        if truth is not None:
            self._compare_with(truth)

    def _compare_with(self, truth: Path) -> None:
        path = self.reading.path
        try:
            self.reading.mismatch = frame_mismatch(path, truth)
        except InputError:
            return  # Reading the frames tells it.
        for part, measure in measures_of_a_pair(self._instruments).items():
            if self.reading.mismatch:
                self.reading.failures[part] = self.reading.mismatch
            else:
                self._want(part, measure, path, truth)
                self._compared.add(part)

    def _want(self, part: str, measure: Measure, *files: Path) -> None:
        kept = record(self._folder, part, files, measure.settings)
        arrays = kept.load()
        if arrays is None:
            self._wanted[part] = measure, kept
        else:
            self.reading.parts[part] = arrays

    @property
    def is_incomplete(self) -> bool:
        """Whether frames must be read."""
        return bool(self._wanted)

    def advance(self, truth: np.ndarray | None = None) -> np.ndarray | None:
        """Reads and measures the next frame; returns it, or None if there is none."""
        try:
            frame = next(self._frames, None)
        except InputError as error:
            self.reading.unreadable = str(error)
            return None
        if frame is not None and self._wanted:
            self._measure(frame, truth)
        return frame

    def _measure(self, frame: np.ndarray, truth: np.ndarray | None) -> None:
        if FACES in self._wanted:
            landmarks = self._tracker(frame)
        else:
            landmarks = self.reading.landmarks[self._read]
        self._read += 1
        for part, (measure, _) in list(self._wanted.items()):
            if part not in self._compared:
                self._attempt(part, measure.add, frame, landmarks)
            elif truth is not None:
                self._attempt(part, measure.add, frame, truth)

    def finish(self) -> None:
        """Keeps what was measured, and measures what needs the whole video."""
        if self.reading.unreadable:
            return
        for part, (measure, kept) in list(self._wanted.items()):
            self._keep(part, kept, self._attempt(part, measure.finish))
        if weights := self._instruments.weights.get("syncnet"):
            path = self.reading.path
            kept = record(self._folder, LIP_SYNC, [path], {"weights": weights.fingerprint})
            arrays = kept.load()
            if arrays is None:
                arrays = self._attempt(
                    LIP_SYNC, measure_lip_sync, path, self.reading.landmarks, weights.variables
                )
                self._keep(LIP_SYNC, kept, arrays)
            else:
                self.reading.parts[LIP_SYNC] = arrays

    def _keep(self, part: str, kept: Record, arrays: Arrays | None) -> None:
        if arrays is not None:
            kept.save(arrays)
            self.reading.parts[part] = arrays

    def _attempt(
        self, part: str, measure: Callable[..., Arrays | None], *values: object
    ) -> Arrays | None:
        """Calls a measure; if it cannot take its values, the part is left out with the reason."""
        try:
            return measure(*values)
        except (InputError, ValueError) as error:
            told = isinstance(error, InputError)
            self.reading.failures[part] = str(error) if told else f"{self.reading.path}: {error}"
            self._wanted.pop(part, None)
            return None
