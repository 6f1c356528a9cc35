"""Media files that the tests write themselves: exact lengths, sync, rotation, and bad input."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from moditalker_jax.errors import InputError
from moditalker_jax.media.audio import fit_to_frames, read_audio, write_wav
from moditalker_jax.media.files import require_writable
from moditalker_jax.media.image import is_image, read_image, write_png
from moditalker_jax.media.video import (
    iterate_frames,
    read_video,
    read_video_audio,
    write_video,
)


def tone(seconds, frequency=440.0, rate=16_000):
    times = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def grey_frames(levels, size=(64, 64)):
    return [np.full((*size, 3), level, np.uint8) for level in levels]


def write_timed_video(path, times, levels):
    """A video whose frames stand at the given milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=1000, options={"crf": "10", "bf": "0"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, picture in zip(times, grey_frames(levels), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("num_frames", [1, 33, 50])
@pytest.mark.parametrize("audio_seconds", [0.2, 1.32, 3.0])
def test_written_video_has_the_exact_length_and_codecs(tmp_path, num_frames, audio_seconds):
    path = tmp_path / "new" / "folder" / "out.mp4"
    frames = grey_frames(np.arange(num_frames) * 4)
    assert write_video(path, iter(frames), audio=tone(audio_seconds)) == num_frames
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert video.codec_context.pix_fmt == "yuv420p"
        assert video.frames == num_frames
        for stream in (video, audio):
            assert float(stream.duration * stream.time_base) == pytest.approx(num_frames / 25)
    assert [p.name for p in path.parent.iterdir()] == ["out.mp4"]
    assert read_audio(path).size == num_frames * 640


def test_pictures_and_sound_come_back_in_step(tmp_path):
    path = tmp_path / "a.mp4"
    colours = np.random.default_rng(0).integers(0, 256, (30, 3))
    frames = [np.tile(colour.astype(np.uint8), (48, 64, 1)) for colour in colours]
    audio = np.random.default_rng(1).normal(0, 0.1, 30 * 640).astype(np.float32)
    audio = np.convolve(audio, np.ones(8) / 8, "same").astype(np.float32)
    write_video(path, frames, audio=audio)
    video = read_video(path)
    assert video.frames.shape == (30, 48, 64, 3)
    assert np.abs(video.frames[:, 24, 32].astype(int) - colours).max() <= 6
    lags = np.correlate(video.audio[2000:10_000], audio[1900:10_100], "valid")
    assert lags.argmax() == 100
    assert np.corrcoef(video.audio, audio)[0, 1] > 0.95


def test_odd_sizes_are_made_even_and_no_sound_is_none(tmp_path):
    write_video(tmp_path / "a.mp4", grey_frames([10, 20], size=(63, 65)))
    video = read_video(tmp_path / "a.mp4")
    assert video.frames.shape == (2, 64, 66, 3)
    assert video.audio is None


@pytest.mark.parametrize("rate", [10, 24, 30, 60])
def test_other_rates_come_out_at_25_by_time(tmp_path, rate):
    count = 2 * rate
    levels = np.linspace(20, 220, count)
    write_video(tmp_path / "a.mp4", grey_frames(levels), fps=rate)
    frames = np.stack(list(iterate_frames(tmp_path / "a.mp4")))
    assert len(frames) == 50
    got = frames.mean((1, 2, 3))
    expected = np.interp(np.arange(50) / 25, np.arange(count) / rate, levels)
    # Never further off than half a source frame.
    assert np.abs(got - expected).max() <= 0.5 * 200 / (count - 1) + 2.5


def test_variable_rate_is_resampled_by_timestamps(tmp_path):
    path = tmp_path / "a.mkv"
    times = np.array([0, 43, 81, 503, 517, 546, 1001, 1039])
    levels = np.array([0, 30, 60, 90, 120, 150, 180, 210])
    write_timed_video(path, times, levels)
    got = np.stack(list(iterate_frames(path))).mean((1, 2, 3))
    assert len(got) == 27
    nearest = np.abs(times[:, None] - 40 * np.arange(27)).argmin(0)
    assert np.abs(got - levels[nearest]).max() <= 3


def test_rotation_of_the_file_is_honoured(tmp_path):
    path = tmp_path / "a.mp4"
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, :32] = 200
    write_video(path, [frame] * 3)
    data = path.read_bytes()
    # The 3x3 matrix of the track header: a quarter turn clockwise, as telephones write it.
    start = data.index(b"tkhd") + 4 + 40
    turned = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 32 << 16, 0, 0x40000000)
    path.write_bytes(data[:start] + turned + data[start + 36 :])
    upright = read_video(path).frames
    assert upright.shape == (3, 64, 32, 3)
    assert upright[:, 5:27].mean() > 190 and upright[:, 37:].mean() < 10


def test_large_pictures_are_scaled_down(tmp_path):
    write_video(tmp_path / "a.mp4", grey_frames([10, 200], size=(100, 200)))
    assert read_video(tmp_path / "a.mp4", max_side=50).frames.shape == (2, 25, 50, 3)


def test_sound_that_begins_later_is_preceded_by_silence(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for index, picture in enumerate(grey_frames([50] * 25)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(
            (tone(0.5) * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        sound.sample_rate, sound.pts, sound.time_base = 16_000, 6400, Fraction(1, 16_000)
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    heard = read_video(path).audio
    assert heard.size == 25 * 640
    assert np.abs(heard[:6300]).max() == 0
    assert np.abs(heard[6500:14_000]).max() > 0.25
    assert np.abs(heard[14_500:]).max() < 0.01


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100, 48_000])
def test_any_sample_rate_becomes_16_khz(tmp_path, rate):
    write_wav(tmp_path / "a.wav", tone(1.0, rate=rate), rate)
    audio = read_audio(tmp_path / "a.wav")
    assert audio.dtype == np.float32
    assert abs(audio.size - 16_000) <= 2
    spectrum = np.abs(np.fft.rfft(audio[:16_000], 16_000))
    assert spectrum.argmax() == 440
    assert np.sqrt(np.mean(audio[1000:15_000] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.02)


def test_fit_to_frames():
    assert fit_to_frames(np.ones(700, np.float32), 1).size == 640
    padded = fit_to_frames(np.ones(700, np.float32), 2)
    assert padded.size == 1280 and padded.sum() == 700


def write_float_wav(path, samples):
    samples = samples.astype("<f4")
    fmt = struct.pack("<HHIIHH", 3, 1, 16_000, 64_000, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt
    body += b"data" + struct.pack("<I", samples.nbytes) + samples.tobytes()
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def test_stray_nans_become_silence(tmp_path):
    samples = tone(0.5)
    samples[100:110] = np.nan
    write_float_wav(tmp_path / "a.wav", samples)
    assert np.isfinite(read_audio(tmp_path / "a.wav")).all()


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0), "sound"),
        (np.full(16_000, np.nan), "NaN"),
        (tone(0.03), "40 ms"),
    ],
)
def test_sound_that_cannot_be_used(tmp_path, samples, reason):
    path = tmp_path / "bad.wav"
    write_float_wav(path, samples)
    with pytest.raises(InputError, match=reason) as caught:
        read_audio(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    write_video(tmp_path / "good.mp4", grey_frames([1] * 30))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((tmp_path / "good.mp4").read_bytes()[:400])
    for path in (noise, empty, cut, tmp_path / "missing.mp4", tmp_path):
        for read in (read_video, read_audio, read_image):
            with pytest.raises(InputError, match=path.name):
                read(path)
    write_wav(tmp_path / "a.wav", tone(1.0))
    with pytest.raises(InputError, match="no pictures"):
        read_video_audio(tmp_path / "a.wav")
    with pytest.raises(InputError, match="no pictures"):
        read_video(tmp_path / "a.wav")
    with pytest.raises(InputError, match="no sound"):
        read_audio(tmp_path / "good.mp4")


def test_nothing_is_left_when_writing_fails(tmp_path):
    def broken():
        yield from grey_frames([1, 2, 3])
        raise RuntimeError("the generator broke")

    target = tmp_path / "a.mp4"
    target.write_bytes(b"older result")
    with pytest.raises(RuntimeError, match="broke"):
        write_video(target, broken(), audio=tone(1.0))
    with pytest.raises(ValueError, match="at least one"):
        write_video(target, [])
    assert target.read_bytes() == b"older result"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_outputs_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a.mp4", tmp_path):
        for write in (
            lambda path: write_video(path, grey_frames([1])),
            lambda path: write_wav(path, tone(0.1)),
            lambda path: write_png(path, np.zeros((4, 4, 3), np.uint8)),
        ):
            with pytest.raises(InputError, match=str(path)):
                write(path)
        with pytest.raises(InputError, match=str(path)):
            require_writable(path)
    require_writable(tmp_path / "new" / "a.mp4")
    assert not any((tmp_path / "new").iterdir())
    (tmp_path / "new").rmdir()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_pictures_round_trip(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    write_png(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "new" / "a.png"), image)
    assert is_image(tmp_path / "new" / "a.png")
    write_video(tmp_path / "a.mp4", grey_frames([1]))
    assert not is_image(tmp_path / "a.mp4")
