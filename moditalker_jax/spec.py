"""Constants that every part of MoDiTalker agrees on (paper sections 3 to 5).

Axis letters used throughout: B batch, T video frames, S audio steps (2T), H W rows and columns,
C channels, N landmarks (68), D width, L tokens. Channels come last everywhere.
"""

FPS = 25
AUDIO_SAMPLE_RATE = 16_000
AUDIO_FEATURE_RATE = 50
AUDIO_STEPS_PER_FRAME = AUDIO_FEATURE_RATE // FPS

NUM_LANDMARKS = 68
MOTION_WINDOW = 156
"""Frames in one AToM window: 6.24 s at 25 fps."""

CLIP_FRAMES = 16
"""Frames in one tri-plane clip."""

JAW = tuple(range(17))
UPPER_FACE = tuple(range(17, 48))
MOUTH = tuple(range(48, 68))
INNER_LIPS = tuple(range(60, 68))
LIP_REGION = JAW + MOUTH
"""Points of AToM's lip stream (37); `UPPER_FACE` (31) is the other stream."""

NOSE_BASE = 33
"""Pose frames are black below this landmark."""
