"""AToM: from audio features and an initial face to the motion of 68 landmarks (paper section 4.2).

The network predicts the residual x0 = motion(t) - motion(reference) of a window of video frames
from its noised form. What depends on neither x_t nor the timestep is computed by
`AToM.encode_conditions`, once for a window, and `AToM.denoise` runs at every diffusion step.
"""

from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from moditalker_jax import spec
from moditalker_jax.nn.attention import EncoderLayer, layer_norm
from moditalker_jax.nn.decoder_layers import (
    DecoderLayer,
    JointDecoderLayer,
    JointMemory,
    LayerMemory,
    MemoryPositions,
)
from moditalker_jax.nn.embeddings import rotary_angles, sinusoidal_embedding
from moditalker_jax.nn.layer_scan import scan_layers, stack

NUM_TIME_TOKENS = 2
NUM_ENCODER_LAYERS = 2
UNSEEN = -1e9
"""Added to the logit of what attention must not see; bfloat16 and float32 hold it."""


@flax.struct.dataclass
class AToMConditions:
    """All that AToM draws from audio and reference landmarks, for every diffusion step.

    Attributes:
      audio_vector: (B, D) pooled audio, for FiLM.
      landmark_vector: (B, D) pooled reference landmarks, for FiLM.
      memories: for each decoder layer, what it reads from audio and landmark tokens.
    """

    audio_vector: Array
    landmark_vector: Array
    memories: tuple[LayerMemory | JointMemory, ...]


class PooledFeature(nn.Module):
    """Mean of the tokens (B, L, D), then LayerNorm, linear, SiLU, linear: (B, D)."""

    width: int
    dtype: DTypeLike = jnp.float32

    def setup(self):
        self.norm = layer_norm(self.dtype)
        self.hidden = nn.Dense(self.width, dtype=self.dtype)
        self.out = nn.Dense(self.width, dtype=self.dtype)

    def __call__(self, tokens: Array) -> Array:
        return self.out(nn.silu(self.hidden(self.norm(tokens.mean(axis=1)))))


class AToM(nn.Module):
    """The denoiser of the audio-to-motion diffusion model; it predicts x0.

    Attributes:
      num_frames: T, video frames of a window; audio features come at twice the rate, S = 2T.
      width: D, even.
      mlp_width: hidden width of the two condition encoders' feed-forward layers.
      num_layers: decoder layers.
      num_heads: of every attention.
      dropout_rate: under `train`.
      share_film: the release's form, in which one tensor, changed in place, serves as the FiLM
        vector of both parts: time + 2 * landmarks + audio. By default (paper) both parts get
        time + landmarks, and the lip part alone audio on top.
      memory_positions: rotary positions of the tokens that are read by cross-attention. "token"
        (release): the index in the joined memory, audio, time tokens, landmarks. "time": the time
        in video frames, audio step s at s / 2, landmark token t at t, time tokens at 0.
      alignment_bias: the lip part's attention falls off with the time between a frame and what it
        reads, at another rate in each head, as the attention biases of FaceFormer (Fan et al.
        2022) and ALiBi (Press et al. 2022) do: which sound belongs to which frame need not be
        learned. Off in the authors' network.
      merge_residual: in each layer, keep the merged face beside what it read. In the authors'
        network (default) it is replaced, so that all it knows of the audio passes through the
        weights of an attention over landmark and time tokens, which is slow to learn.
      attention_span: frames to either side within which sound is attended to, and landmark tokens
        by the lip part; faces see one another over twice as many. The FiLM vector then holds
        nothing of the audio as a whole, so that what is said elsewhere has no say. A few hundred
        seconds of video are otherwise known by heart. None (the authors' network): attention sees
        the whole window.
      disentangled: the lip part and the upper face are moved apart; otherwise the whole face at
        once (paper table 2a, rows I to III).
      landmark_condition: the reference landmarks are a condition; otherwise audio alone is (rows I
        and II), which goes with `disentangled=False`.
      remat: recompute each decoder layer in the backward pass, to save memory.
      scan_layers: run the decoder layers by one scan, which compiles sooner.
      dtype: of the computation; parameters, softmax and the output are float32.
    """

    num_frames: int = spec.MOTION_WINDOW
    width: int = 512
    mlp_width: int = 1024
    num_layers: int = 8
    num_heads: int = 8
    dropout_rate: float = 0.1
    share_film: bool = False
    memory_positions: Literal["token", "time"] = "token"
    alignment_bias: bool = False
    merge_residual: bool = False
    attention_span: int | None = None
    disentangled: bool = True
    landmark_condition: bool = True
    remat: bool = False
    scan_layers: bool = False
    dtype: DTypeLike = jnp.float32

    def setup(self):
        if self.memory_positions not in ("token", "time"):
            raise ValueError(f"memory_positions is 'token' or 'time', not {self.memory_positions}")
        if self.disentangled and not self.landmark_condition:
            raise ValueError("disentangled attention reads landmarks: it needs landmark_condition")
        width, dtype = self.width, self.dtype
        encoder = (width, self.mlp_width, self.num_heads, self.dropout_rate, dtype)

        self.audio_projection = nn.Dense(width, dtype=dtype)
        self.audio_encoder = [EncoderLayer(*encoder) for _ in range(NUM_ENCODER_LAYERS)]
        self.audio_pooled = PooledFeature(width, dtype)
        normal = nn.initializers.normal(1.0)
        if self.landmark_condition:
            self.landmark_projection = nn.Dense(width, dtype=dtype)
            self.landmark_encoder = [EncoderLayer(*encoder) for _ in range(NUM_ENCODER_LAYERS)]
            self.landmark_pooled = PooledFeature(width, dtype)
            self.null_landmarks = self.param("null_landmarks", normal, (1, self.num_frames, width))
        self.memory_norm = layer_norm(dtype)

        self.null_audio = self.param("null_audio", normal, (1, self._num_audio_steps, width))
        self.null_audio_vector = self.param("null_audio_vector", normal, (1, width))

        self.time_hidden = nn.Dense(4 * width, dtype=dtype)
        self.time_vector = nn.Dense(width, dtype=dtype)
        self.time_tokens = nn.Dense(NUM_TIME_TOKENS * width, dtype=dtype)

        if self.disentangled:
            self.lip_projection = nn.Dense(width, dtype=dtype)
            self.upper_projection = nn.Dense(width, dtype=dtype)
        else:
            self.face_projection = nn.Dense(width, dtype=dtype)
        self.decoder = [self._make_decoder_layer() for _ in range(self.num_layers)]
        # Residuals are small beside the unit noise that they are found in: start near zero.
        small = nn.initializers.normal(1e-3)
        self.out = nn.Dense(spec.NUM_LANDMARKS * 3, kernel_init=small, dtype=dtype)

    def __call__(
        self,
        x_t: Array,
        timesteps: Array,
        audio_features: Array,
        reference_landmarks: Array,
        *,
        keep_condition: Array | None = None,
        train: bool = False,
    ) -> Array:
        """One step with its conditions; see `encode_conditions` and `denoise`."""
        conditions = self.encode_conditions(
            audio_features, reference_landmarks, keep_condition=keep_condition, train=train
        )
        return self.denoise(x_t, timesteps, conditions, train=train)

    def encode_conditions(
        self,
        audio_features: Array,
        reference_landmarks: Array,
        *,
        keep_condition: Array | None = None,
        train: bool = False,
    ) -> AToMConditions:
        """All that depends on neither x_t nor the timestep.

        Args:
          audio_features: (B, 2T, A) at 50 Hz.
          reference_landmarks: (B, 68, 3), motion of the frame before the window, taken for every
            frame; or (B, T, 68, 3), one for each.
          keep_condition: (B,) bool, False where the learned null tokens replace audio and
            landmarks together (classifier-free guidance); None keeps all.
          train: dropout on, which needs the rng "dropout".

        Raises:
          ValueError: the lengths are not 2T and T.
        """
        audio = self._encode_audio(audio_features, train=train)  # (B, S, D)
        audio = self._kept(audio, self.null_audio, keep_condition)
        tokens, landmark_vector = audio, jnp.zeros_like(audio[:, 0])
        if self.landmark_condition:
            landmarks = self._encode_landmarks(reference_landmarks, train=train)  # (B, T, D)
            landmarks = self._kept(landmarks, self.null_landmarks, keep_condition)
            tokens = jnp.concatenate((audio, landmarks), axis=1)
            landmark_vector = self.landmark_pooled(landmarks)
        audio_vector = self.audio_pooled(audio)  # (B, D)
        audio_vector = self._kept(audio_vector, self.null_audio_vector, keep_condition)
        if self.attention_span is not None:
            # Its parameters stay, so that a network with a span can start from one without.
            audio_vector = jnp.zeros_like(audio_vector)
        tokens = self.memory_norm(tokens)  # (B, S + T, D)
        positions, _ = self._positions()
        return AToMConditions(
            audio_vector=audio_vector,
            landmark_vector=landmark_vector,
            memories=tuple(layer.remember(tokens, positions) for layer in self.decoder),
        )

    def denoise(
        self, x_t: Array, timesteps: Array, conditions: AToMConditions, *, train: bool = False
    ) -> Array:
        """Predicts x0 (B, T, 68, 3) float32 from x_t (B, T, 68, 3) at timesteps (B,)."""
        hidden = jax.nn.mish(
            self.time_hidden(sinusoidal_embedding(timesteps, self.width))
        )  # (B, 4D)
        vectors = self.film_vectors(self.time_vector(hidden), conditions)
        time_tokens = self.time_tokens(hidden).reshape(-1, NUM_TIME_TOKENS, self.width)
        time_tokens = self.memory_norm(time_tokens)  # (B, 2, D)
        _, positions = self._positions()

        biases = {
            "lip_bias": self._lip_bias(x_t.shape[1]),
            "self_bias": self._self_bias(x_t.shape[1]),
        }
        x = self._embed_parts(x_t)  # (B, T, 2D), or (B, T, D) of the whole face

        def decode(layer: nn.Module, x: Array, memory: Any) -> Array:
            memory = memory.join(layer.remember(time_tokens, positions))
            return layer(x, *vectors, memory, deterministic=not train, **biases)

        if self.scan_layers and not self.is_initializing():
            x = self._scan_decoder(decode, x, conditions.memories, train=train)
        else:
            decode = nn.remat(decode) if self.remat else decode
            for layer, memory in zip(self.decoder, conditions.memories, strict=True):
                x = decode(layer, x, memory)
        return self.out(x).astype(jnp.float32).reshape(x_t.shape)

    def _scan_decoder(
        self,
        decode: Callable[[nn.Module, Array, Any], Array],
        x: Array,
        memories: tuple[LayerMemory | JointMemory, ...],
        *,
        train: bool,
    ) -> Array:
        """All decoder layers by one scan."""
        alone = self._make_decoder_layer(parent=None)
        dropout = train and self.dropout_rate > 0
        keys = jax.random.split(self.make_rng("dropout"), self.num_layers) if dropout else None

        def apply(params: Any, x: Array, memory_and_key: tuple[Any, Any]) -> Array:
            memory, key = memory_and_key
            rngs = {"dropout": key} if dropout else None
            return nn.apply(decode, alone)({"params": params}, x, memory, rngs=rngs)

        return scan_layers(
            jax.checkpoint(apply) if self.remat else apply,
            self.variables["params"],
            [f"decoder_{layer}" for layer in range(self.num_layers)],
            x,
            (stack(memories), keys),
        )

    def _make_decoder_layer(self, **scope: Any) -> DecoderLayer | JointDecoderLayer:
        attention = (self.width, self.num_heads, self.dropout_rate)
        if self.disentangled:
            return DecoderLayer(*attention, self.merge_residual, self.dtype, **scope)
        return JointDecoderLayer(*attention, self.dtype, **scope)

    def film_vectors(self, time_vector: Array, conditions: AToMConditions) -> tuple[Array, Array]:
        """FiLM vectors of the lip part and of the upper face, (B, D) each."""
        upper = time_vector + conditions.landmark_vector
        lip = upper + conditions.audio_vector
        if self.share_film:
            lip = upper = lip + conditions.landmark_vector
        return lip, upper

    @property
    def _num_audio_steps(self) -> int:
        return self.num_frames * spec.AUDIO_STEPS_PER_FRAME

    def _positions(self) -> tuple[MemoryPositions, MemoryPositions]:
        """Positions of the audio and landmark tokens, and of the time tokens."""
        frames, steps = self._landmark_times(), np.arange(self._num_audio_steps)
        time = np.arange(NUM_TIME_TOKENS)
        if self.memory_positions == "time":
            lip = np.concatenate((steps / spec.AUDIO_STEPS_PER_FRAME, frames))
            return MemoryPositions(lip, frames), MemoryPositions(0 * time, 0 * time)
        lip = np.concatenate((steps, len(steps) + NUM_TIME_TOKENS + frames))
        return (
            MemoryPositions(lip, NUM_TIME_TOKENS + frames),
            MemoryPositions(len(steps) + time, time),
        )

    def _landmark_times(self) -> np.ndarray:
        """The frames that the memory's landmark tokens stand for."""
        return np.arange(self.num_frames if self.landmark_condition else 0)

    def _lip_bias(self, num_queries: int) -> np.ndarray | None:
        """(heads, T, L) for what the lip part reads: audio, landmark and time tokens."""
        if not self.alignment_bias and self.attention_span is None:
            return None
        steps, frames = np.arange(self._num_audio_steps), self._landmark_times()
        times = np.concatenate((steps / spec.AUDIO_STEPS_PER_FRAME, frames))
        distances = np.abs(np.arange(num_queries)[:, None] - times)  # (T, S + T)
        distances = np.pad(distances, ((0, 0), (0, NUM_TIME_TOKENS)))
        bias = np.zeros((self.num_heads, *distances.shape), np.float32)
        if self.alignment_bias:
            # Per frame: 2, 1, 1/2, ...; the steepest head hears little more than its own frame.
            bias -= 2.0 ** (1 - np.arange(self.num_heads))[:, None, None] * distances
        if self.attention_span is not None:
            bias += _hidden_beyond(distances, self.attention_span)
        return bias

    def _self_bias(self, length: int) -> np.ndarray | None:
        """(1, L, L) for the attention of audio steps or of frames to one another.

        A step is half a frame, so as many tokens are `attention_span` frames of audio and twice
        that of faces.
        """
        if self.attention_span is None:
            return None
        tokens = np.arange(length)
        distances = np.abs(tokens[:, None] - tokens)
        return _hidden_beyond(distances, spec.AUDIO_STEPS_PER_FRAME * self.attention_span)

    def _embed_parts(self, x_t: Array) -> Array:
        if not self.disentangled:
            return self.face_projection(x_t.reshape(*x_t.shape[:2], -1))  # (B, T, D)
        lip = x_t[:, :, np.array(spec.LIP_REGION)]  # (B, T, 37, 3)
        upper = x_t[:, :, np.array(spec.UPPER_FACE)]  # (B, T, 31, 3)
        parts = (
            self.lip_projection(lip.reshape(*lip.shape[:2], -1)),
            self.upper_projection(upper.reshape(*upper.shape[:2], -1)),
        )
        return jnp.concatenate(parts, axis=-1)

    def _encode_audio(self, audio_features: Array, *, train: bool) -> Array:
        self._check_length("audio_features", audio_features, self._num_audio_steps)
        return self._encode(self.audio_projection(audio_features), self.audio_encoder, train=train)

    def _encode_landmarks(self, reference_landmarks: Array, *, train: bool) -> Array:
        if reference_landmarks.ndim == 3:
            batch, *point = reference_landmarks.shape
            reference_landmarks = jnp.broadcast_to(
                reference_landmarks[:, None], (batch, self.num_frames, *point)
            )
        self._check_length("reference_landmarks", reference_landmarks, self.num_frames)
        flat = reference_landmarks.reshape(*reference_landmarks.shape[:2], -1)  # (B, T, 204)
        return self._encode(self.landmark_projection(flat), self.landmark_encoder, train=train)

    def _encode(self, tokens: Array, layers: list[EncoderLayer], *, train: bool) -> Array:
        bias = self._self_bias(tokens.shape[1])
        angles = rotary_angles(np.arange(tokens.shape[1]), self.width)
        for layer in layers:
            tokens = layer(tokens, angles, deterministic=not train, bias=bias)
        return tokens

    @staticmethod
    def _kept(encoded: Array, null: Array, keep_condition: Array | None) -> Array:
        """`encoded` (B, ...), with the learned `null` where `keep_condition` (B,) is False."""
        if keep_condition is None:
            return encoded
        keep = keep_condition.reshape(-1, *[1] * (encoded.ndim - 1))
        return jnp.where(keep, encoded, null.astype(encoded.dtype))

    @staticmethod
    def _check_length(name: str, array: Array, length: int) -> None:
        if array.shape[1] != length:
            raise ValueError(f"{name} has {array.shape[1]} steps; this network takes {length}")


def _hidden_beyond(distances: np.ndarray, span: float) -> np.ndarray:
    """(1, T, L) that hides what is further than `span` by `distances` (T, L)."""
    return np.where(distances > span, UNSEEN, 0).astype(np.float32)[None]
