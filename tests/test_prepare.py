"""Preparing videos: the split's rule, sound in step, bad files left out, and the command."""

import json

import numpy as np
import pytest

from data_pipelines.builder import load_metadata
from data_pipelines.loader import clip_batches
from data_pipelines.prepare.__main__ import main
from data_pipelines.prepare.batch import prepare_dataset
from data_pipelines.prepare.clip import prepare_clip
from data_pipelines.prepare.split import held_out_tail, held_out_videos, list_videos
from moditalker_jax.audio_features import LogMel
from moditalker_jax.errors import InputError
from moditalker_jax.landmarks import MEAN_FACE, MOTION_SCALE
from moditalker_jax.media.video import write_video
