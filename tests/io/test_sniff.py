"""What a file is, by its bytes: formats, pointers and what is no audio."""

import io

import av
import numpy as np
import pytest

from earmark.errors import AudioError
from earmark.io import decode
from earmark.io.formats import sniff
from earmark.io.formats.sniff import MEDIA, OTHER, SOUND
from tests.io.encoded import encoded, mp3_frames, noise, ogg_flac

FTYP = b"\x00\x00\x00\x20ftyp"
ADTS = b"\xff\xf1\x50\x80\x01\x1f\xfc" + bytes(1)  # a frame of 8 bytes


@pytest.mark.parametrize(
    ("head", "key", "role"),
    [
        (FTYP + b"M4A ", "mp4", MEDIA),
        (FTYP + b"qt  ", "mp4", MEDIA),
        (FTYP + b"heic", "heif", OTHER),
        (FTYP + b"avif", "heif", OTHER),
        (b"\x00\x00\x10\x00moov", "mp4", MEDIA),
        (b"\x1a\x45\xdf\xa3", "matroska", MEDIA),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf", MEDIA),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "avi", MEDIA),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "webp", OTHER),
        (b"RIFF\x00\x00\x00\x00sfbk", "riff", OTHER),
        ((b"\x47" + bytes(187)) * 5, "mpegts", MEDIA),
        ((bytes(4) + b"\x47" + bytes(187)) * 5, "mpegts", MEDIA),
        (ADTS * 2, "aac", MEDIA),
        (b"ADIF", "aac", MEDIA),
        (b"#!AMR\n", "amr", MEDIA),
        (b"wvpk", "wv", MEDIA),
        (b"MAC \x96\x0f", "ape", MEDIA),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "lfs", OTHER),
        (b"/annex/objects/SHA256E-s44--00.wav\n", "annex", OTHER),
        (b"../../.git/annex/objects/aa/bb/SHA256E-s44--00.wav", "annex", OTHER),
        (b"\x89PNG\r\n", "png", OTHER),
        (b"\xff\xd8\xff\xe0", "jpeg", OTHER),
        (b"PK\x03\x04", "zip", OTHER),
        (b"MThd\x00\x00\x00\x06", "midi", OTHER),
        (b"<!DOCTYPE html>\n<html>", "html", OTHER),
        (b"path,label\nHund.wav,Gebell\n", "text", OTHER),
        ("path,label\nHündchen,\n".encode() * 400, "text", OTHER),
        (bytes(99), "zeros", OTHER),
        (b"", "", OTHER),
        (np.random.default_rng(0).bytes(4096), "", OTHER),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value[:12]),
)
def test_a_format_is_known_by_its_first_bytes(head, key, role):
    kind = sniff.sniff(head[: sniff.HEAD_BYTES])
    assert (kind.key, kind.role) == (key, role)


@pytest.mark.parametrize(
    ("format", "subtype", "key"),
    [
        *[("WAV", "PCM_16", "wav"), ("RF64", "PCM_16", "rf64"), ("W64", "PCM_16", "w64")],
        *[("AIFF", "PCM_16", "aiff"), ("AU", "PCM_16", "au"), ("CAF", "ALAC_16", "caf")],
        *[("FLAC", "PCM_16", "flac"), ("OGG", "VORBIS", "ogg"), ("OGG", "OPUS", "ogg")],
        *[("MP3", None, "mp3"), ("VOC", "PCM_16", "voc"), ("NIST", "PCM_16", "nist")],
        *[("IRCAM", "PCM_16", "ircam"), ("PVF", "PCM_16", "pvf"), ("PAF", "PCM_16", "paf")],
        *[("AVR", "PCM_16", "avr"), ("SVX", "PCM_16", "svx")],
    ],
)
def test_what_libsndfile_writes_is_known(format, subtype, key):
    kind, begin = sniff.sniff_at(io.BytesIO(encoded(format, subtype)))
    assert (kind.key, kind.role, begin) == (key, SOUND, 0)


@pytest.mark.parametrize("length", [0, 100, 70_000])
def test_an_id3_tag_in_front_is_gone_over(length):
    size = bytes((length >> shift) & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3\x03\x00\x00" + size + bytes(length)
    for data, key in ((encoded("MP3"), "mp3"), (encoded("FLAC", "PCM_16"), "flac")):
        kind, begin = sniff.sniff_at(io.BytesIO(tag + data))
        assert (kind.key, begin) == (key, 10 + length)


def test_random_bytes_pass_for_nothing():
    """Marks of two bytes would be found in every hundredth file of something else."""
    rng = np.random.default_rng(0)
    assert [sniff.sniff(rng.bytes(4096)).key for _ in range(2_000)] == [""] * 2_000


def test_ffmpeg_has_a_decoder_of_every_name():
    kinds = [kind for _, _, kind in sniff._STARTS if kind.role == MEDIA]
    kinds += [sniff.MP4, sniff.AVI, sniff.MPEGTS]
    assert len(kinds) > 15
    for kind in kinds:
        assert av.format.ContainerFormat(kind.key, "r").is_input


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.txt", "a.m4a", "a"])
def test_the_name_decides_nothing(tmp_path, name):
    samples = noise()
    for data in (
        encoded("FLAC", "PCM_16", samples=samples),
        encoded("MP3", samples=samples),
        ogg_flac(encoded("FLAC", "PCM_16", samples=samples)),
        b"".join(mp3_frames(encoded("MP3", samples=samples))[1:]),
    ):
        (tmp_path / name).write_bytes(data)
        assert len(decode.read(tmp_path / name, 16_000)) >= 16_000


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s44--00.wav\n", "git annex get"),
        (b"<html>404</html>", "is a web page, not audio"),
        (b"path,label\n", "is text, not audio"),
        (bytes(99_999), "is only zero bytes; copy or record it again"),
        (b"PK\x03\x04" + bytes(99), "is a ZIP archive; unpack it first"),
        (b"MThd\x00\x00\x00\x06" + bytes(99), "is MIDI"),
    ],
)
def test_what_is_no_audio_is_named_with_what_helps(tmp_path, data, what):
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(AudioError) as caught:
        decode.read(tmp_path / "a.wav", 16_000)
    assert what in str(caught.value)
    assert ("record it again" in str(caught.value)) == (data == bytes(99_999))
