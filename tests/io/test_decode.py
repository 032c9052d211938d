"""Every format, rate and channel count is decoded alike, and every bad file is one clear line."""

import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from earmark.errors import AudioError
from earmark.io import decode, paths, resample, waveform

# The error a format may make on samples below 0.5: half a step of its numbers, with one step of
# slack for the way a writer rounds. None: a lossy codec.
FORMATS = [
    ("a.wav", {"subtype": "PCM_U8"}, 2**-6),
    ("a.wav", {"subtype": "PCM_16"}, 2**-14),
    ("a.wav", {"subtype": "PCM_24"}, 2**-22),
    ("a.wav", {"subtype": "PCM_32"}, 2**-22),  # read as float32
    ("a.wav", {"subtype": "FLOAT"}, 2**-24),
    ("a.wav", {"subtype": "DOUBLE"}, 2**-24),
    ("a.wav", {"format": "WAVEX", "subtype": "PCM_24"}, 2**-22),
    ("a.flac", {"subtype": "PCM_S8"}, 2**-6),
    ("a.flac", {"subtype": "PCM_16"}, 2**-14),
    ("a.flac", {"subtype": "PCM_24"}, 2**-22),
    ("a.aiff", {"subtype": "PCM_16"}, 2**-14),
    ("a.aif", {"subtype": "PCM_24", "format": "AIFF"}, 2**-22),
    ("a.caf", {"subtype": "PCM_16"}, 2**-14),
    ("a.caf", {"subtype": "ALAC_16"}, 2**-14),
    ("a.w64", {"subtype": "PCM_16"}, 2**-14),
    ("a.rf64", {"subtype": "FLOAT", "format": "RF64"}, 2**-24),
    ("a.au", {"subtype": "PCM_16"}, 2**-14),
    ("a.voc", {"subtype": "PCM_16"}, 2**-14),
    ("a.ogg", {"subtype": "VORBIS"}, None),
    ("a.opus", {"subtype": "OPUS", "format": "OGG"}, None),
    ("a.mp3", {"subtype": "MPEG_LAYER_III"}, None),
]
pytestmark = pytest.mark.filterwarnings("ignore::earmark.errors.AudioWarning")  # test_levels.py

CUT_FORMATS = {
    **{"a.wav": {}, "a.flac": {}, "a.ogg": {}, "a.mp3": {}, "a.aiff": {}, "a.au": {}, "a.caf": {}},
    **{"a.w64": {}, "a.opus": {"subtype": "OPUS", "format": "OGG"}, "a.rf64": {"format": "RF64"}},
}


def fault_of(path, sample_rate=16_000):
    """The one line about a file that cannot be used."""
    with pytest.raises(AudioError) as caught:
        decode.read(path, sample_rate)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def blocks_of(path, sample_rate, frames):
    """Read a file `frames` of its own frames at a time."""
    seconds = frames / soundfile.info(path).samplerate
    return list(decode.read_blocks(path, sample_rate, block_seconds=seconds))


def pitch_of(samples, sample_rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * sample_rate / len(samples)


@pytest.mark.parametrize(("name", "options", "_"), FORMATS, ids=str)
def test_the_length_is_known_before_a_file_is_decoded(tmp_path, name, options, _):
    path = tmp_path / name
    soundfile.write(path, np.full(24_000, 0.1), 16_000, **options)
    assert decode.most_seconds(path) == pytest.approx(1.5, abs=0.1)


def test_what_only_decoding_tells_is_no_length(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(24_000, 0.1), 16_000)
    path.write_bytes(path.read_bytes()[:-9_000])
    assert decode.most_seconds(path) is None
    with pytest.raises(AudioError, match=r"none\.wav: no such file"):
        decode.most_seconds(tmp_path / "none.wav")


@pytest.mark.parametrize(("name", "options", "error"), FORMATS, ids=str)
def test_every_format_gives_back_the_samples_written(tone, waveform, name, options, error):
    path = tone(name, **options)
    samples = decode.read(path, 16_000)
    written = waveform()[:, 0]
    assert samples.dtype == np.float32
    assert samples.shape == written.shape
    if error is None:
        # The codecs keep the tone but not the noise 28 dB below it.
        assert np.corrcoef(samples, written)[0, 1] > 0.99
    else:
        assert np.abs(samples - written).max() <= error


@pytest.mark.parametrize("name", ["A.WAV", "A.FLAC", "A.OGG", "A.MP3", "a.Wav"])
def test_a_suffix_may_be_in_upper_case(tone, name):
    path = tone(name, format=name[2:].upper())
    assert len(decode.read(path, 16_000)) == 8_000
    assert paths.has_audio_suffix(path)


@pytest.mark.parametrize(
    "sample_rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000, 384_000]
)
@pytest.mark.parametrize("to_hz", [8_000, 32_000])
def test_every_rate_keeps_length_and_pitch(tone, sample_rate, to_hz):
    samples = decode.read(tone("a.wav", sample_rate=sample_rate, hz=700, seconds=0.5), to_hz)
    assert abs(len(samples) - to_hz / 2) <= 1  # half a second, whichever way it is rounded
    assert pitch_of(samples, to_hz) == pytest.approx(700, abs=2)  # bins are 2 Hz apart
    # The level stays: a tone of 0.4 has an RMS of 0.2828, the noise adds 0.0003 or less, and the
    # resampler's ripple is below 0.1 %.
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.2828, abs=0.002)


@pytest.mark.parametrize("sample_rate", [2_000, 3_999, 384_001])
def test_a_rate_outside_the_supported_range_is_refused(tone, sample_rate):
    fault = fault_of(tone("a.wav", sample_rate=sample_rate))
    assert fault.startswith(
        f"has a sample rate of {sample_rate} Hz, outside the supported 4000 to "
    )


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_channels_are_averaged(tone, waveform, channels, name):
    samples = decode.read(tone(name, channels=channels), 16_000)
    expected = waveform(channels=channels).mean(axis=1)
    assert np.abs(samples - expected).max() <= 2**-14  # 16 bit, as in FORMATS


def test_a_lossy_file_of_six_channels_is_read(tone):
    assert pitch_of(decode.read(tone("a.ogg", channels=6), 16_000), 16_000) == 440


@pytest.mark.parametrize("frames", [101, 997, 7_919])
@pytest.mark.parametrize("to_hz", [16_000, 22_050, 8_000])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_the_block_length_does_not_change_the_samples(tone, name, to_hz, frames):
    path = tone(name)
    blocks = blocks_of(path, to_hz, frames)
    assert min(map(len, blocks)) >= 1
    # libmpg123 adds in an order that depends on its buffer; all others decode to the same bits.
    error = 1e-6 if name == "a.mp3" else 0.0
    assert np.allclose(np.concatenate(blocks), decode.read(path, to_hz), rtol=0, atol=error)


@pytest.mark.parametrize("sample_rate", [4_000, 11_025, 44_100, 48_000, 384_000])
@pytest.mark.parametrize("frames", [997, 10**6])
def test_resampling_in_blocks_is_soxr_s_resampling_in_one_go(tone, sample_rate, frames):
    path = tone("a.wav", sample_rate=sample_rate, subtype="FLOAT")
    samples, _ = soundfile.read(path, dtype="float32")
    expected = soxr.resample(samples, sample_rate, 32_000, quality="HQ")
    # Measured difference: none; 1e-6 allows another order of sums in another soxr.
    given = np.concatenate(blocks_of(path, 32_000, frames))
    assert np.allclose(given, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 2, 3, 100])
@pytest.mark.parametrize("to_hz", [4_000, 384_000])
@pytest.mark.parametrize("sample_rate", [4_000, 384_000])
def test_the_shortest_files_are_read(tmp_path, samples, sample_rate, to_hz):
    soundfile.write(tmp_path / "a.wav", np.full(samples, 0.5), sample_rate)
    if samples * to_hz < sample_rate / 2:  # less than half a sample would be left
        assert fault_of(tmp_path / "a.wav", to_hz).startswith("is too short")
        return
    given = decode.read(tmp_path / "a.wav", to_hz)
    assert abs(len(given) - samples * to_hz / sample_rate) <= 1


def test_blocks_are_bounded_and_a_long_file_never_sits_in_memory(tmp_path, waveform):
    path, sample_rate, minutes = tmp_path / "long.wav", 8_000, 10
    second = waveform(1.0, sample_rate)
    with soundfile.SoundFile(path, "w", sample_rate, 1, subtype="PCM_16") as file:
        for _ in range(60 * minutes):
            file.write(second)
    total, longest = 0, 0
    tracemalloc.start()
    try:
        for block in decode.read_blocks(path, 16_000, block_seconds=1.0):
            total, longest = total + len(block), max(longest, len(block))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 60 * minutes * 16_000
    assert longest <= 2 * 16_000  # a second, and what the resampler had kept back
    assert peak < 2 * 2**20  # the file's samples would be 38 MB


def test_real_recordings_are_complete_and_within_full_scale(esc10):
    paths = sorted(esc10.glob("*/*.ogg"))[::40]
    assert len(paths) == 10
    for path in paths:
        samples = decode.read(path, 32_000)
        assert abs(len(samples) / 32_000 - soundfile.info(path).duration) < 1e-3
        assert 0.001 < np.abs(samples).max() < 1.5  # a lossy codec may pass full scale a little


# --- files that cannot be used ------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 4_000, 7_999])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_finite_are_refused(tmp_path, waveform, bad, place, subtype):
    samples = waveform()
    samples[place] = bad
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype=subtype)
    assert fault_of(tmp_path / "a.wav") == "holds NaN or infinite samples; export it again"


def test_infinite_channels_of_opposite_sign_are_refused_without_a_warning(tmp_path):
    soundfile.write(tmp_path / "a.wav", [[np.inf, -np.inf]] * 99, 16_000, subtype="FLOAT")
    assert fault_of(tmp_path / "a.wav") == "holds NaN or infinite samples; export it again"


def test_samples_too_large_for_float32_are_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.full(99, 1e300), 16_000, subtype="DOUBLE")
    assert fault_of(tmp_path / "a.wav") == "holds NaN or infinite samples; export it again"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a", "a"])
def test_an_empty_file_is_refused(touch, name):
    assert fault_of(touch(name) / name).startswith("is empty (0 bytes)")


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.au", "a.caf"])
def test_a_file_of_no_samples_is_refused(tone, name):
    assert fault_of(tone(name, seconds=0)).startswith("holds no samples (length 0)")


@pytest.mark.parametrize(
    "options", [{"sample_rate": 16_000}, {"sample_rate": 44_100, "channels": 2}]
)
def test_a_silent_file_is_refused_unless_silence_is_allowed(tmp_path, options):
    silence = np.zeros((options["sample_rate"], options.get("channels", 1)))
    soundfile.write(tmp_path / "a.wav", silence, options["sample_rate"])
    assert fault_of(tmp_path / "a.wav").startswith(
        "is silent, every sample of its mono mix is zero"
    )
    samples = decode.read(tmp_path / "a.wav", 16_000, allow_silence=True)
    assert len(samples) == 16_000
    assert not samples.any()


def test_one_sample_that_is_not_zero_is_not_silence(tmp_path):
    samples = np.zeros(16_000)
    samples[-1] = 2**-15
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    assert len(decode.read(tmp_path / "a.wav", 16_000)) == 16_000
    assert len(blocks_of(tmp_path / "a.wav", 16_000, 1_000)) == 16


def test_a_folder_is_refused(tmp_path):
    assert fault_of(tmp_path) == "is a folder where an audio file is needed"


@pytest.mark.parametrize("name", ["missing.wav", "missing/a.wav", "missing"])
def test_a_missing_file_is_refused(tmp_path, name):
    assert fault_of(tmp_path / name) == "no such file; check the path"


def test_a_file_below_a_file_is_refused(touch):
    fault_of(touch("a.wav") / "a.wav" / "b.wav")


@pytest.mark.parametrize(
    "data",
    [
        *(b"not audio\n" * 99, "Füße".encode("utf-16"), bytes(9_999), b"RIFF", b"\xff", b"OggS"),
        *(b"fLaC", b"FORM", b"ID3", b"RIFF\x24\0\0\0WAVEfmt "),
        np.random.default_rng(0).bytes(9_999),
    ],
    ids=lambda data: repr(data[:9]),
)
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.raw", "a.txt", "a"])
def test_a_file_that_is_no_audio_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    fault_of(tmp_path / name)


@pytest.mark.parametrize("share", [0.0005, 0.02, 0.5, 0.95])
@pytest.mark.parametrize("name", CUT_FORMATS)
def test_a_truncated_file_is_refused(tone, name, share):
    path = tone(name, seconds=3, sample_rate=48_000, **CUT_FORMATS[name])
    data = path.read_bytes()
    assert len(decode.read(path, 48_000)) == 144_000
    path.write_bytes(data[: round(share * len(data))])
    fault = fault_of(path)
    assert any(word in fault for word in ("truncated", "damaged", "holds no samples")), fault


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_real_recording_is_refused(esc10, tmp_path, share):
    data = min(esc10.glob("*/*.ogg")).read_bytes()
    (tmp_path / "a.ogg").write_bytes(data[: round(share * len(data))])
    assert fault_of(tmp_path / "a.ogg").startswith("truncated, its end is missing")


def test_what_was_decoded_before_the_fault_has_been_yielded(tone):
    path = tone("a.flac", seconds=3)
    data = bytearray(path.read_bytes())
    whole = decode.read(path, 16_000)
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    blocks = []
    with pytest.raises(AudioError, match=r"damaged or truncated somewhere after 1\.\d s"):
        for block in decode.read_blocks(path, 16_000, block_seconds=0.1):
            blocks.append(block)  # noqa: PERF402 - list() would lose them
    decoded = np.concatenate(blocks)
    assert len(decoded) > 16_000
    assert np.array_equal(decoded, whole[: len(decoded)])


# --- sloppy but complete files ------------------------------------------------------------------


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000, 0xFFFF_F000])
@pytest.mark.parametrize("riff_size", [0xFFFF_FFFF, 0])
def test_a_wav_of_unknown_length_as_written_to_a_pipe_is_read(tone, size, riff_size):
    path = tone("a.wav")
    expected = decode.read(path, 16_000)
    data = bytearray(path.read_bytes())
    assert data[36:40] == b"data"
    data[40:44] = size.to_bytes(4, "little")
    data[4:8] = riff_size.to_bytes(4, "little")
    path.write_bytes(data)
    assert np.array_equal(decode.read(path, 16_000), expected)


def test_an_au_of_unknown_length_is_read(tone):
    path = tone("a.au")
    expected = decode.read(path, 16_000)
    data = bytearray(path.read_bytes())
    data[8:12] = b"\xff" * 4
    path.write_bytes(data)
    assert np.array_equal(decode.read(path, 16_000), expected)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff", "a.flac", "a.ogg", "a.mp3"])
def test_a_tag_after_the_audio_is_no_damage(tone, name):
    path = tone(name)
    expected = decode.read(path, 16_000)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert np.array_equal(decode.read(path, 16_000), expected)


def test_a_wrong_riff_size_around_complete_samples_is_no_damage(tone):
    path = tone("a.wav")
    expected = decode.read(path, 16_000)
    data = bytearray(path.read_bytes())
    data[4:8] = (len(data) + 5_000).to_bytes(4, "little")
    path.write_bytes(data)
    assert np.array_equal(decode.read(path, 16_000), expected)


@pytest.mark.parametrize("title", [b"Infomercials and more", b"Xing boom \xff\xff\xff\xff\xff\xff"])
def test_text_in_an_id3_tag_does_not_pass_for_an_mp3_s_header(tone, title):
    path = tone("a.mp3")
    expected = decode.read(path, 16_000)
    frame = b"TIT2" + (len(title) + 1).to_bytes(4, "big") + b"\0\0\0" + title
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + size + frame + path.read_bytes())
    assert len(decode.read(path, 16_000)) == len(expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    assert "not a regular file" in fault_of(tmp_path / "a.wav")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a system of byte file names")
def test_a_name_that_is_not_utf_8_is_read_like_any_other(tone, tmp_path):
    path = tone("a.wav")
    odd = path.rename(Path(os.fsdecode(os.fsencode(tmp_path) + b"/clip\xff.wav")))
    assert len(decode.read(odd, 16_000)) > 0


@pytest.mark.parametrize(
    ("sample_rate", "to_hz"),
    [(48_000, 44_100), (8_000, 44_100), (44_100, 32_000), (22_051, 16_000)],
)
@pytest.mark.parametrize("at", [0, 1, 1_000, 30_001])
def test_a_resampler_goes_on_from_its_state(sample_rate, to_hz, at):
    samples = np.random.default_rng(0).normal(0, 0.1, 60_000).astype(np.float32)
    first = resample.Resampler(sample_rate, to_hz)
    start = [first.push(samples[i : min(i + 997, at)]) for i in range(0, at, 997)]
    state = first.state
    assert len(state.recent) <= sample_rate * 0.5 + sample_rate
    second, ahead = resample.Resampler.resumed(sample_rate, to_hz, state)
    rest = [ahead, second.push(samples[at:]), second.finish()]
    joined = np.concatenate([*start, *rest])
    whole = soxr.resample(samples, sample_rate, to_hz, quality="HQ")
    assert len(joined) == len(whole) == second.given
    assert second.taken == len(samples)
    np.testing.assert_allclose(joined, whole, atol=1e-6)  # measured below 2e-7


def test_a_resampler_of_one_rate_changes_nothing():
    samples = np.arange(5, dtype=np.float32)
    same = resample.Resampler(8_000, 8_000)
    assert same.push(samples) is samples
    assert len(same.finish()) == 0
    again, ahead = resample.Resampler.resumed(8_000, 8_000, same.state)
    assert (again.taken, again.given, len(ahead)) == (5, 5, 0)


def test_a_resampler_s_state_does_not_grow_with_the_stream():
    resampler = resample.Resampler(16_000, 44_100)
    for _ in range(300):
        resampler.push(np.zeros(1_600, np.float32))
        resampler.push(np.zeros(0, np.float32))
    assert len(resampler.state.recent) < 16_000
    assert len(resampler._recent) < 20


def test_samples_are_mixed_down_from_every_type():
    whole = np.array([[-32768, 0], [16384, 16384]], np.int16)
    np.testing.assert_allclose(waveform.mono(whole, "x"), [-0.5, 0.5])
    np.testing.assert_allclose(waveform.mono(whole / 32768, "x"), [-0.5, 0.5])
    assert waveform.mono(np.zeros(0), "x").shape == (0,)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([[np.inf, -np.inf]]), "NaN"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.zeros((5, 0)), "shape"),
        (np.zeros(3, np.uint8), "uint8"),
        (np.zeros(3, complex), "complex"),
        (np.array(["a"]), "type"),
    ],
)
def test_samples_that_are_no_audio_are_refused(samples, reason):
    with pytest.raises(AudioError, match=f"x: .*{reason}"):
        waveform.mono(samples, "x")
