"""The estimate of how late a clip's sound is, on heads whose sound and lips belong together."""

import numpy as np
import pytest

from data_pipelines.prepare.sync import estimate_offset
from data_pipelines.synthetic.articulation import random_motion
from data_pipelines.synthetic.head import expressions, get_head
from data_pipelines.synthetic.phonemes import random_utterance
from data_pipelines.synthetic.speakers import get_speaker
from data_pipelines.synthetic.voice import synthesize


def utterance(speaker: int, seconds: float = 6.4) -> tuple[np.ndarray, np.ndarray]:
    """Frontal landmarks (T, 68, 3) and sound of a synthetic head, without its pictures."""
    rng = np.random.default_rng([speaker, 77])
    person, num_frames = get_speaker(speaker), round(25 * seconds)
    segments = random_utterance(rng, seconds, person.rate)
    audio = synthesize(segments, pitch=person.pitch, formant_scale=person.formant_scale, rng=rng)
    motion = random_motion(segments, num_frames, rng)
    audio = np.pad(audio, (0, 640))[: 640 * num_frames]
    return expressions(get_head(speaker), motion), audio


@pytest.mark.parametrize("speaker", range(3))
def test_known_offsets_are_found_to_a_frame(speaker):
    landmarks, audio = utterance(speaker)
    errors = []
    for frames in range(-5, 6):
        moved = np.roll(audio, 640 * frames)  # later by so many frames
        estimate = estimate_offset(landmarks, moved)
        assert estimate.is_trusted
        errors.append(estimate.offset_ms - 40 * frames)
    assert np.mean(np.abs(errors)) < 40


def test_sound_of_another_utterance_is_not_trusted():
    landmarks, _ = utterance(0, 10.0)
    _, audio = utterance(4, 10.0)
    right = estimate_offset(*utterance(0, 10.0)).confidence
    assert estimate_offset(landmarks, audio).confidence < right / 2


def test_a_still_face_tells_nothing():
    landmarks, audio = utterance(0)
    estimate = estimate_offset(np.broadcast_to(landmarks[:1], landmarks.shape), audio)
    assert not estimate.is_trusted
