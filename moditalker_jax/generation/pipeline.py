"""The whole system in one object: load a checkpoint directory, generate a video.

pipeline = MoDiTalker.from_checkpoint("moditalker_jax/demo/checkpoint")
pipeline.generate("speech.wav", "face.jpg")
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from moditalker_jax.audio_features import AudioEncoder, get_audio_encoder
from moditalker_jax.checkpoint import load_stage
from moditalker_jax.config import STAGES
from moditalker_jax.errors import InputError
from moditalker_jax.faces.finder import FaceFinder
from moditalker_jax.generation.blending import blend
from moditalker_jax.generation.detail import restore_detail
from moditalker_jax.generation.frames import FrameGenerator
from moditalker_jax.generation.motion import MotionGenerator
from moditalker_jax.generation.reference import Reference, read_landmarks, read_reference
from moditalker_jax.generation.talking_video import TalkingVideo
from moditalker_jax.landmarks import align_to_poses, frontalize
from moditalker_jax.media.audio import fit_to_frames, read_audio

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass
class MoDiTalker:
    """AToM and MToV with all that stands around them (paper figure 2)."""

    motion: MotionGenerator
    frames: FrameGenerator
    encoder: AudioEncoder
    finder: FaceFinder

    @classmethod
    def from_checkpoint(cls, directory: str | Path) -> "MoDiTalker":
        """Loads the four stages in `directory`: a run's, or what the export command wrote.

        Raises:
          InputError: a stage is missing or damaged, or the stages do not belong together.
        """
        directory = Path(directory)
        if not directory.is_dir():
            raise InputError(
                f"{directory}: no such directory; give one that holds {', '.join(STAGES)}"
            )
        stages = {name: load_stage(directory / name, stage=name) for name in STAGES}
        atom = stages.pop("atom")
        stored = atom.data["audio_encoder"]
        encoder = get_audio_encoder(stored["name"])
        if (encoder.width, encoder.version) != (stored["width"], stored["version"]):
            raise InputError(
                f"{directory / 'atom'} was trained with version {stored['version']} of audio "
                f"encoder {stored['name']!r}; this is version {encoder.version}: train it again"
            )
        mtov = stages["mtov"]
        if "audio" in mtov.model.conditions and mtov.data["audio_encoder"] != stored:
            raise InputError(
                f"{directory / 'mtov'} was trained with audio encoder "
                f"{mtov.data['audio_encoder']['name']!r}, its AToM with {stored['name']!r}: they "
                "don't belong together"
            )
        return cls(MotionGenerator(atom), FrameGenerator(**stages), encoder, FaceFinder())

    def generate(
        self,
        audio: str | Path | np.ndarray,
        identity: str | Path | Reference,
        *,
        landmarks: str | Path | None = None,
        seed: int = 0,
        on_progress: Progress = lambda stage, done, total: None,
    ) -> TalkingVideo:
        """A video of `identity` saying `audio`, as long as the audio.

        Args:
          audio: a file with sound, or a waveform (n,) at 16 kHz in [-1, 1].
          identity: a photo (one-shot) or video of the face, or frames already cropped.
          landmarks: file of the identity's landmarks, see `reference.read_landmarks`; only for a
            checkpoint that was trained on landmarks which are not found here.
          seed: the same seed gives the same video.
          on_progress: told the step's name, how much of it is done, and its total.

        Raises:
          InputError: unusable audio or face, in one line.
        """
        waveform = audio if isinstance(audio, np.ndarray) else read_audio(audio)
        if not isinstance(identity, Reference):
            identity = read_reference(
                identity,
                resolution=self.frames.resolution,
                finder=self.finder,
                landmarks=self._supplied(landmarks),
            )
        features = self.encoder(waveform)
        num_frames = len(features) // 2
        photo = len(identity.frames) == 1
        identity = identity.played_for(num_frames)
        motion_key, frames_key = jax.random.split(jax.random.key(seed))

        frontal_reference, poses = frontalize(identity.landmarks, self.motion.backend.mean_face)
        frontal = self.motion(
            features,
            frontal_reference[0],
            motion_key,
            on_window=lambda done, total: on_progress("landmarks", done, total),
        )
        landmarks = align_to_poses(frontal, poses, identity.landmarks).astype(np.float32)

        reconstructed = self._reconstruct(identity.frames, still=photo)

        def finish(generated: np.ndarray, start: int) -> np.ndarray:
            clip = slice(start, start + len(generated))
            theirs = identity.frames[clip], landmarks[clip], identity.landmarks[clip]
            return blend(restore_detail(generated, reconstructed[clip], *theirs), *theirs)

        frames = self.frames(
            landmarks,
            identity.frames,
            identity.landmarks,
            frames_key,
            audio_features=features[: 2 * num_frames],
            finish=finish,
            on_clip=lambda done, total: on_progress("frames", done, total),
        )
        return TalkingVideo(frames, fit_to_frames(waveform, num_frames), frontal, landmarks)

    def _reconstruct(self, frames: np.ndarray, *, still: bool) -> np.ndarray:
        """The frames (T, H, W, 3) through the autoencoder and back; of still ones, one clip."""
        if not still:
            return self.frames.reconstruct(frames)
        clip = np.resize(frames[:1], (self.frames.clip_frames, *frames.shape[1:]))
        # Frames of a still clip differ by less than a level.
        return np.resize(self.frames.reconstruct(clip)[:1], frames.shape)

    def _supplied(self, landmarks: str | Path | None) -> np.ndarray | None:
        backend = self.motion.backend
        if backend.finds_faces and landmarks is not None:
            raise InputError(
                f"{landmarks}: this checkpoint was trained on landmarks of {backend.name!r}, which "
                "are found here; leave --landmarks out"
            )
        if not backend.finds_faces and landmarks is None:
            raise InputError(
                f"this checkpoint was trained on landmarks of {backend.name!r}, which are not "
                "found here; give those of the identity with --landmarks"
            )
        return None if landmarks is None else read_landmarks(landmarks)
