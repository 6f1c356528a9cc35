"""Generated talking heads: speech, the motion that it causes, and a drawn portrait.

Nothing is downloaded and everything follows from `(speaker, seed)`. The sound is made from the same
phonemes that move the lips, so a model can learn one from the other, and the landmarks are exact.

    phonemes      inventory of sounds and random utterances with prosody
    voice         utterance -> waveform (source and filter)
    articulation  utterance -> mouth tracks; blinks, brows and head motion
    speakers      one person's voice, face shape and colours
    template      the mean face and its expressions, in numbers
    head          3D landmarks, expressions, pose and the surface of the face
    easel         a canvas for painting in face units
    portrait      the still layers of a person: background, body, textured head
    render        one frame from the layers and the landmarks
    clip          `make_clip`, which puts them together
"""

from data_pipelines.synthetic.clip import HELD_OUT_SEED, SyntheticClip, make_clip

__all__ = ["HELD_OUT_SEED", "SyntheticClip", "make_clip"]
