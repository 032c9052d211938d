"""What libsndfile cannot decode is read by FFmpeg with PyAV, and named without it."""

import io
import sys

import av
import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.io import decode
from tests.io.encoded import RATE, encoded, noise

FORMATS = {
    "m4a": ("ipod", "aac", RATE),
    "mp4": ("mp4", "aac", 44_100),
    "mov": ("mov", "pcm_s16le", RATE),
    "aac": ("adts", "aac", RATE),
    "webm": ("webm", "libopus", 48_000),
    "mka": ("matroska", "pcm_s16le", RATE),
    "wma": ("asf", "wmav2", RATE),
    "ts": ("mpegts", "aac", RATE),
    "avi": ("avi", "mp2", RATE),
    "flv": ("flv", "aac", 44_100),
    "wma in wav": ("wav", "wmav2", RATE),
    "alac": ("ipod", "alac", RATE),
    "wv": ("wv", "wavpack", RATE),
    "tta": ("tta", "tta", RATE),
}


def made(name, samples, channels=1, picture=False):
    """The bytes of a file that FFmpeg writes."""
    format, codec, rate = FORMATS[name]
    layout = "mono" if channels == 1 else "stereo"
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        video = container.add_stream("mpeg4", rate=10) if picture else None
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.format = stream.codec_context.codec.audio_formats[0]
        stream.codec_context.bit_rate = 64_000
        stream.codec_context.open()  # now it says how long its frames are
        if video:
            video.width, video.height, video.pix_fmt = 16, 16, "yuv420p"
            for number in range(10):
                container.mux(video.encode(plain(9 * number)))
            container.mux(video.encode(None))
        resampler = av.AudioResampler(
            stream.codec_context.format, layout, rate, stream.codec_context.frame_size or None
        )
        frame = av.AudioFrame.from_ndarray(samples.T.copy(), format="fltp", layout=layout)
        frame.sample_rate = RATE
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def plain(grey):
    """A picture of one shade."""
    frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), grey, np.uint8), format="rgb24")
    return frame.reformat(format="yuv420p")


def tone(seconds=2.0, hz=440.0):
    time = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hz * time)).astype(np.float32)[:, None]


def pitch_of(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * RATE / len(samples)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_of_ffmpeg_is_read_under_any_name(tmp_path, name, channels):
    path = tmp_path / "a.wav"
    said: list[str] = []
    path.write_bytes(made(name, np.repeat(tone(), channels, axis=1), channels))
    samples = decode.read(path, RATE, warn=said.append)
    assert said == []
    assert 1.95 * RATE < len(samples) < 2.2 * RATE
    assert pitch_of(samples) == pytest.approx(440, abs=2)
    level = np.sqrt(np.mean(samples[RATE // 2 : RATE] ** 2))
    assert level == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


def test_uncoded_samples_come_through_ffmpeg_to_the_bit(tmp_path):
    samples = np.round(noise(1.0) * 32767) / 32768
    (tmp_path / "a").write_bytes(made("mka", samples.astype(np.float32)))
    np.testing.assert_array_equal(decode.read(tmp_path / "a", RATE), samples[:, 0])


def test_the_sound_of_a_video_is_read(tmp_path):
    (tmp_path / "a").write_bytes(made("mp4", tone(), picture=True))
    assert pitch_of(decode.read(tmp_path / "a", RATE)) == pytest.approx(440, abs=2)


def test_a_video_without_sound_is_named(tmp_path):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 16, 16, "yuv420p"
        container.mux(video.encode(plain(0)))
        container.mux(video.encode(None))
    (tmp_path / "a.mp4").write_bytes(file.getvalue())
    with pytest.raises(AudioError, match="without an audio track"):
        decode.read(tmp_path / "a.mp4", RATE)


@pytest.mark.parametrize("name", ["m4a", "webm", "wma", "mka"])
@pytest.mark.parametrize("second", ["same", "FLAC"])
def test_joined_files_are_all_read(tmp_path, name, second):
    data = made(name, tone())
    (tmp_path / "a").write_bytes(data)
    one = len(decode.read(tmp_path / "a", RATE))
    (tmp_path / "a").write_bytes(data + (data if second == "same" else encoded("FLAC", "PCM_16")))
    expected = one + (one if second == "same" else RATE)
    assert abs(len(decode.read(tmp_path / "a", RATE)) - expected) <= 2


@pytest.mark.parametrize("name", ["m4a", "webm", "mka", "wma in wav", "aac"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_file_that_is_cut_is_named_or_read_as_far_as_it_goes(tmp_path, name, share):
    data = made(name, noise(4.0))
    (tmp_path / "a").write_bytes(data[: round(share * len(data))])
    try:
        samples = decode.read(tmp_path / "a", RATE)
    except AudioError as error:
        assert any(word in str(error) for word in ("truncated", "damaged", "no samples"))
    else:
        assert name in ("aac", "webm", "mka")  # they declare nothing, or only at their end
        assert len(samples) > (share - 0.1) * 4 * RATE


@pytest.mark.parametrize("name", ["m4a", "webm", "wma", "ts", "avi", "aac", "wma in wav", "wv"])
def test_without_pyav_a_format_is_named_with_both_commands_that_help(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "it's a b.wav"
    path.write_bytes(made(name, tone(0.5)))
    with pytest.raises(AudioError) as caught:
        decode.read(path, RATE)
    message = str(caught.value)
    assert message.startswith(f"{path}: is ")
    assert "pip install 'earmark[media]'" in message
    assert "record it again" not in message
    # The command is one that a shell reads as it is meant.
    import shlex

    words = shlex.split(message[message.index("ffmpeg ") :])
    assert words == ["ffmpeg", "-i", str(path), "-vn", str(path.with_suffix(".flac"))]


def test_healthy_files_of_libsndfile_need_no_pyav(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    for format, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("MP3", None)):
        (tmp_path / "a").write_bytes(encoded(format, subtype) * 2)
        assert len(decode.read(tmp_path / "a", RATE)) >= 2 * RATE


def test_aac_without_bounds_in_wav_is_named(tmp_path):
    data = bytearray(made("wma in wav", tone()))
    at = data.index(b"fmt ") + 8
    data[at : at + 2] = b"\xff\x00"
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(AudioError, match="is a WAV file of AAC whose frames have no bounds"):
        decode.read(tmp_path / "a.wav", RATE)
