"""What a file holds is read, whatever its header claims: joined, unfinished, cut, of no length."""

import re
import struct

import numpy as np
import pytest
import soundfile

from earmark.errors import AudioError
from earmark.io import decode, recording
from earmark.io.formats.splice import Splice
from tests.io.encoded import RATE, encoded, mp3_frames, noise, ogg_flac, variable_mp3

UNCODED = {
    "WAV": "PCM_16",
    "WAVEX": "PCM_24",
    "RF64": "PCM_16",
    "AIFF": "PCM_16",
    "AU": "PCM_16",
    "CAF": "PCM_16",
    "W64": "PCM_16",
}
# format: where its size of samples stands before the samples, its width, and its byte order
SIZES = {
    **{"WAV": (b"data", 4, 4, "little"), "WAVEX": (b"data", 4, 4, "little")},
    **{"AIFF": (b"SSND", 4, 4, "big"), "AU": (b".snd", 8, 4, "big")},
    **{"CAF": (b"data", 4, 8, "big"), "W64": (b"data", 16, 8, "little")},
}


def read(path, **options):
    """Read at the file's own rate, and no more than was expected before it was decoded."""
    said: list[str] = []
    samples = decode.read(path, RATE, warn=said.append, **options)
    most = decode.most_seconds(path)
    assert most is None or most * RATE >= len(samples) - 1  # by a sample, where it is resampled
    return samples, [line.removeprefix(f"{path}: ") for line in said]


def fault_of(path):
    with pytest.raises(AudioError) as caught:
        decode.read(path, RATE)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def with_size(data, format, size):
    """Change the size of samples that a header declares."""
    mark, offset, width, order = SIZES[format]
    at = data.index(mark) + offset
    return data[:at] + size.to_bytes(width, order) + data[at + width :]


@pytest.mark.parametrize("format", SIZES)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9])
def test_audio_behind_the_declared_end_is_read(tmp_path, format, share):
    path, samples = tmp_path / "a", noise()
    data = encoded(format, UNCODED[format], samples=samples)
    path.write_bytes(data)
    expected, said = read(path)
    assert said == []
    sample = 3 if format == "WAVEX" else 2
    path.write_bytes(with_size(data, format, sample * round(share * len(samples))))
    given, said = read(path)
    np.testing.assert_array_equal(given, expected)
    if share:
        assert len(said) == 1
        assert said[0].startswith("its header declares ")


@pytest.mark.parametrize(
    ("format", "size"), [("WAV", 2**32 - 1), ("AU", 2**32 - 1), ("CAF", 2**64 - 1)]
)
def test_an_unknown_length_is_no_declaration(tmp_path, format, size):
    path = tmp_path / "a"
    data = encoded(format, "PCM_16")
    path.write_bytes(data)
    expected, _ = read(path)
    path.write_bytes(with_size(data, format, size))
    given, said = read(path)
    np.testing.assert_array_equal(given, expected)
    assert said == []


def test_an_rf64_of_sizes_zero_is_read(tmp_path):
    path, data = tmp_path / "a", encoded("RF64", "PCM_16")
    path.write_bytes(data)
    expected, _ = read(path)
    at = data.index(b"ds64") + 8
    path.write_bytes(data[:at] + bytes(24) + data[at + 24 :])
    np.testing.assert_array_equal(read(path)[0], expected)


def test_bw64_is_read_like_rf64(tmp_path):
    path, data = tmp_path / "a", encoded("RF64", "PCM_16")
    path.write_bytes(data)
    expected, _ = read(path)
    path.write_bytes(b"BW64" + data[4:])
    np.testing.assert_array_equal(read(path)[0], expected)


def test_a_wav_above_4_gib_is_read_to_its_end(tmp_path):
    path, begin = tmp_path / "a.wav", noise(0.01)[:, 0].astype("<f8").tobytes()
    total = (1 << 32) + len(begin)  # the size wraps to that of the begin
    form = struct.pack("<IHHIIHH", 16, 3, 1, 384_000, 8 * 384_000, 8, 64)
    with path.open("wb") as file:  # takes no room on the disk
        file.write(b"RIFF" + struct.pack("<I", (36 + total) % 2**32) + b"WAVEfmt " + form)
        file.write(b"data" + struct.pack("<I", total % 2**32) + 2 * begin)
        file.truncate(44 + total)
        file.seek(44 + total - len(begin))
        file.write(begin)
    raw, size = recording.open_file(path)
    with raw:
        found = recording.inspect(raw, size, path)
        assert found.notes == [
            "its header declares 0.0 of 1398.1 s that are there; all of it was read"
        ]
        (part,) = found.parts
        assert part.frames == total // 8
        assert part.pieces is not None
        with soundfile.SoundFile(Splice(raw, part.pieces)) as file:  # not all of it, for the time
            assert file.frames == part.frames
            file.seek(-len(begin) // 8, 2)
            np.testing.assert_array_equal(file.read(), np.frombuffer(begin, "<f8"))
    blocks = decode.read_blocks(path, 384_000, warn=lambda line: None)
    np.testing.assert_array_equal(
        next(blocks)[: len(begin) // 8], np.frombuffer(begin, "<f8").astype(np.float32)
    )


@pytest.mark.parametrize("format", SIZES)
def test_a_file_that_is_shorter_than_declared_is_truncated(tmp_path, format):
    path, data = tmp_path / "a", encoded(format, UNCODED[format])
    path.write_bytes(data[: len(data) // 2])
    assert fault_of(path).startswith("truncated, ")
    kept = []
    with pytest.raises(AudioError, match="truncated"):
        for block in decode.read_blocks(path, RATE, keep_truncated=True):
            kept.append(block)  # noqa: PERF402 - list() would lose them
    whole = noise()[:, 0]
    given = np.concatenate(kept)
    assert 0.4 * len(whole) < len(given) < 0.51 * len(whole)
    np.testing.assert_allclose(given, whole[: len(given)], atol=2**-14)


def test_chunks_behind_the_samples_are_no_audio(tmp_path):
    path, data = tmp_path / "a.wav", encoded("WAV", "PCM_16")
    path.write_bytes(data)
    expected, _ = read(path)
    chunk = b"LIST" + struct.pack("<I", 2_000) + b"INFO" + noise(0.1).tobytes()[:1_996]
    odd = b"made" + struct.pack("<I", 400) + b"\x7f" * 400  # of a program that nobody knows
    for behind in (chunk, chunk + odd, odd, bytes(5_000)):
        path.write_bytes(data + behind)
        given, said = read(path)
        np.testing.assert_array_equal(given, expected)
        assert said == []
    # The size unknown, and a chunk at the end: the samples end where it begins.
    path.write_bytes(with_size(data, "WAV", 0) + chunk)
    np.testing.assert_array_equal(read(path)[0], expected)


def encoder(format, subtype=None):
    """A function that writes noise of a seed in a format."""
    return lambda seed: encoded(format, subtype, samples=noise(seed=seed))


JOINABLE = {
    **{format: encoder(format, subtype) for format, subtype in UNCODED.items()},
    "FLAC": encoder("FLAC", "PCM_16"),
    "Vorbis": encoder("OGG", "VORBIS"),
    "Opus": encoder("OGG", "OPUS"),
    "mp3": encoder("MP3"),
    "FLAC in Ogg": lambda seed: ogg_flac(encoder("FLAC", "PCM_16")(seed), seed),
}


@pytest.mark.parametrize("first", JOINABLE)
@pytest.mark.parametrize("second", ["WAV", "FLAC", "Vorbis", "mp3", "AIFF", "CAF"])
def test_joined_recordings_are_all_read(tmp_path, first, second):
    path = tmp_path / "a"
    parts = [JOINABLE[first](1), JOINABLE[second](2), JOINABLE[first](3)]
    expected = []
    for part in parts:
        path.write_bytes(part)
        expected.append(read(path)[0])
    path.write_bytes(b"".join(parts))
    np.testing.assert_allclose(read(path)[0], np.concatenate(expected), atol=1e-6)


@pytest.mark.parametrize("name", JOINABLE)
def test_the_same_recording_three_times_is_read_three_times(tmp_path, name):
    path, part = tmp_path / "a", JOINABLE[name](1)
    path.write_bytes(part)
    once, _ = read(path)
    path.write_bytes(3 * part)
    np.testing.assert_allclose(read(path)[0], np.tile(once, 3), atol=1e-6)


def test_parts_of_other_rates_are_brought_to_one(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(
        encoded("WAV", "PCM_16", samples=noise(rate=8_000), rate=8_000) + encoded("WAV", "PCM_16")
    )
    given, said = read(path)
    assert len(given) == 2 * RATE
    assert said == []  # 8 kHz is half of what was asked for, not far below


def test_bytes_behind_a_recording_that_are_no_audio_are_counted_and_named(tmp_path):
    path, data = tmp_path / "a.flac", encoded("FLAC", "PCM_16")
    path.write_bytes(data + np.random.default_rng(0).bytes(9_999))
    assert re.search(r"at least \d{4} bytes behind its audio", fault_of(path))
    kept: list[np.ndarray] = []
    with pytest.raises(AudioError, match=r"at least \d{4} bytes"):
        kept.extend(decode.read_blocks(path, RATE, keep_truncated=True))
    path.write_bytes(data + b"TAG" + bytes(125) + bytes(9_999))
    assert len(read(path)[0]) == RATE


# --- FLAC -----------------------------------------------------------------------------------------


def total_of(data, total):
    field = int.from_bytes(data[18:26], "big") >> 36 << 36 | total
    return data[:18] + field.to_bytes(8, "big") + data[26:]


@pytest.mark.parametrize("total", [0, 1, 8_000, RATE - 1])
def test_flac_is_read_to_its_last_frame_whatever_its_header_declares(tmp_path, total):
    path, data = tmp_path / "a.flac", encoded("FLAC", "PCM_16")
    path.write_bytes(data)
    expected, _ = read(path)
    path.write_bytes(total_of(data, total))
    given, said = read(path)
    np.testing.assert_array_equal(given, expected)
    assert bool(said) == (total > 0)


@pytest.mark.parametrize("parts", [(0.3, 0.001), (0.001, 0.3), (0.3, 0.3)])
@pytest.mark.parametrize("between", [False, True])
def test_large_flac_files_of_one_length_are_not_taken_for_one(tmp_path, parts, between):
    """Their headers agree with the last frame of all, and they are too large to be searched."""
    loud, path = [], tmp_path / "a.flac"
    for seed, loudness in enumerate(parts):
        samples = noise(40.0, seed, loudness=loudness)
        loud.append(encoded("FLAC", "PCM_16", samples=samples))
    path.write_bytes(loud[0] + (encoded("WAV", "PCM_16") if between else b"") + loud[1])
    assert path.stat().st_size > 1 << 20
    assert len(read(path)[0]) == (81 if between else 80) * RATE
    path.write_bytes(max(loud, key=len))
    assert len(read(path)[0]) == 40 * RATE


def test_flac_in_ogg_is_read(tmp_path):
    path, data = tmp_path / "a.flac", encoded("FLAC", "PCM_24")
    path.write_bytes(data)
    expected, _ = read(path)
    path.write_bytes(ogg_flac(data))
    np.testing.assert_array_equal(read(path)[0], expected)
    path.write_bytes(ogg_flac(total_of(data, 0))[: -len(data) // 3])
    assert fault_of(path).startswith("truncated, its end is missing")


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.999])
@pytest.mark.parametrize("declares", [True, False])
def test_flac_that_is_cut_ends_with_its_last_whole_frame(tmp_path, keep, declares):
    path, data = tmp_path / "a.flac", encoded("FLAC", "PCM_16", samples=noise(3.0))
    path.write_bytes(data)
    whole, _ = read(path)
    cut = data[: round(keep * len(data))]
    path.write_bytes(cut if declares else total_of(cut, 0))
    if declares:
        assert fault_of(path).startswith("truncated, ")
        return
    given, _ = read(path)  # who declares nothing lacks nothing
    assert len(given) > (keep - 0.1) * len(whole)
    np.testing.assert_array_equal(given, whole[: len(given)])


# --- mp3 ------------------------------------------------------------------------------------------


def test_mp3_without_a_xing_header_is_read_to_its_end(tmp_path):
    path, data = tmp_path / "a.mp3", variable_mp3()
    path.write_bytes(data)
    with soundfile.SoundFile(path) as file:
        estimated = file.frames
    held = 576 * len(mp3_frames(data))
    assert abs(estimated - held) > 0.1 * held  # else this tests nothing
    given, said = read(path)
    assert abs(len(given) - held) <= 4 * 576
    assert said == []


def test_zeros_and_a_torn_frame_before_the_first_are_passed_over(tmp_path):
    path, data = tmp_path / "a.mp3", variable_mp3()
    path.write_bytes(data)
    expected, _ = read(path)
    for before in (bytes(3_000), mp3_frames(data)[-1][30:], bytes(300_000)[: 1 << 17]):
        path.write_bytes(before + data)
        assert abs(len(read(path)[0]) - len(expected)) <= 4 * 576


def test_mp3_whose_xing_header_declares_less_is_read_to_its_end(tmp_path):
    path, data = tmp_path / "a.mp3", encoded("MP3", samples=noise(4.0))
    frames = mp3_frames(data)
    path.write_bytes(b"".join(frames) + b"".join(frames[1:]))
    assert len(read(path)[0]) > 7.8 * RATE


def test_mp3_that_is_shorter_than_its_xing_header_is_truncated(tmp_path):
    path, data = tmp_path / "a.mp3", encoded("MP3", samples=noise(4.0))
    path.write_bytes(data[: len(data) // 2])
    assert fault_of(path).startswith("truncated, 2.0 s of the 4.")


@pytest.mark.parametrize("lost", [10, 30_000])
def test_bytes_between_frames_that_are_none_are_named(tmp_path, lost):
    path, data = tmp_path / "a.mp3", encoded("MP3", samples=noise(10.0))
    frames = mp3_frames(data)
    middle = np.random.default_rng(0).bytes(lost)
    path.write_bytes(b"".join(frames[:100]) + middle + b"".join(frames[100:]))
    if lost > 0.01 * len(data):
        assert f"damaged, {lost} of " in fault_of(path)
        return
    given, said = read(path)
    assert len(given) > 9.9 * RATE
    assert [line.split(", ")[0] for line in said] == ["between its frames"]


def test_a_wav_of_mp3_is_read(tmp_path):
    path, frames = tmp_path / "a.wav", variable_mp3()
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, RATE, 8_000, 1, 0, 12, 1, 2, 500, 1, 1393)
    head = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(frames))
    path.write_bytes(
        b"RIFF" + struct.pack("<I", 4 + len(head) + len(frames)) + b"WAVE" + head + frames
    )
    assert len(read(path)[0]) > 4.9 * RATE


# --- Ogg ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_page_whose_checksum_is_wrong_is_named(tmp_path, subtype):
    path = tmp_path / "a.ogg"
    data = bytearray(encoded("OGG", subtype, samples=noise(10.0)))
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert fault_of(path).startswith("damaged, 1 of ")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_pages_that_are_missing_are_named(tmp_path, subtype):
    path, data = tmp_path / "a.ogg", encoded("OGG", subtype, samples=noise(10.0))
    at = [i for i in range(len(data)) if data.startswith(b"OggS\0", i)]
    assert len(at) > 6
    path.write_bytes(data[: at[4]] + data[at[5] :])
    assert fault_of(path).startswith("damaged, 1 of ")


def test_a_dump_of_a_running_stream_is_read_from_where_it_begins(tmp_path):
    path, data = tmp_path / "a.ogg", encoded("OGG", "VORBIS", samples=noise(10.0))
    at = [i for i in range(len(data)) if data.startswith(b"OggS\0", i)]
    path.write_bytes(data[: at[2]] + data[at[5] :])
    given, said = read(path)
    assert 3 * RATE < len(given) < 9.9 * RATE
    assert len(said) == 1
    assert "pages are missing, as in a running stream" in said[0]
