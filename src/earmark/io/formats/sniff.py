"""What a file is, by its first bytes and never by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from earmark.io.formats.tags import id3_length

HEAD_BYTES = 4096  # enough for every mark below, of which transport streams need the most

# How a format is read: by libsndfile, by FFmpeg (the extra `media`), or not at all.
SOUND, MEDIA, OTHER = "sound", "media", "other"


@dataclass(frozen=True)
class Kind:
    """What a file is.

    Attributes:
        key: a short name in lower case; of `MEDIA`, FFmpeg's name of the demuxer.
        words: what to call it in a message, with its article where it needs one.
        role: `SOUND`, `MEDIA` or `OTHER`.
        remedy: of what is no audio, what helps.
    """

    key: str
    words: str
    role: str
    remedy: str = ""


UNKNOWN = Kind("", "no format that is known", OTHER)
WAV = Kind("wav", "WAV", SOUND)
RF64 = Kind("rf64", "RF64", SOUND)
BW64 = Kind("bw64", "BW64", SOUND)
RIFX = Kind("rifx", "RIFX", SOUND)
W64 = Kind("w64", "Wave64", SOUND)
AIFF = Kind("aiff", "AIFF", SOUND)
AU = Kind("au", "AU", SOUND)
CAF = Kind("caf", "CAF", SOUND)
FLAC = Kind("flac", "FLAC", SOUND)
OGG = Kind("ogg", "Ogg", SOUND)
MPEG = Kind("mp3", "MPEG audio (mp3)", SOUND)
AAC = Kind("aac", "AAC", MEDIA)
MP4 = Kind("mp4", "an MPEG-4 file (m4a, mp4, mov)", MEDIA)
MATROSKA = Kind("matroska", "a Matroska or WebM file", MEDIA)
ASF = Kind("asf", "a Windows Media file (wma, wmv)", MEDIA)
AVI = Kind("avi", "an AVI video", MEDIA)
MPEGTS = Kind("mpegts", "an MPEG transport stream", MEDIA)
ZEROS = Kind("zeros", "only zero bytes", OTHER, "copy or record it again")
LFS = Kind(
    "lfs",
    "a Git LFS pointer, not the recording itself",
    OTHER,
    "fetch it with: git lfs pull",
)
ANNEX = Kind(
    "annex",
    "a git-annex pointer, not the recording itself",
    OTHER,
    "fetch it with: git annex get",
)
TEXT = Kind("text", "text, not audio", OTHER, "give the recording itself")
HTML = Kind(
    "html",
    "a web page, not audio",
    OTHER,
    "the download went wrong; fetch the recording itself",
)
_UNPACK = "unpack it first"

_STARTS: tuple[tuple[int, bytes, Kind], ...] = (
    (0, b"fLaC", FLAC),
    (0, b"OggS", OGG),
    (0, b"riff\x2e\x91\xcf\x11", W64),
    (0, b".snd", AU),
    (0, b"dns.", AU),
    (0, b"caff", CAF),
    (0, b"Creative Voice File", Kind("voc", "VOC", SOUND)),
    (0, b"NIST_1A", Kind("nist", "NIST SPHERE", SOUND)),
    (0, b" paf", Kind("paf", "PAF", SOUND)),
    (0, b"fap ", Kind("paf", "PAF", SOUND)),
    (0, b"PVF1", Kind("pvf", "PVF", SOUND)),
    (0, b"2BIT", Kind("avr", "AVR", SOUND)),
    *(
        (0, mark, Kind("ircam", "IRCAM", SOUND))
        for number in range(5)
        for mark in (bytes((0x64, 0xA3, number, 0)), bytes((0, number, 0xA3, 0x64)))
    ),
    (0, b"\x1a\x45\xdf\xa3", MATROSKA),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
    (0, b"#!AMR", Kind("amr", "an AMR voice file", MEDIA)),
    (0, b"wvpk", Kind("wv", "a WavPack file", MEDIA)),
    (0, b"MAC ", Kind("ape", "a Monkey's Audio file", MEDIA)),
    (0, b"TTA1", Kind("tta", "a True Audio file", MEDIA)),
    (0, b"MPCK", Kind("mpc8", "a Musepack file", MEDIA)),
    (0, b"MP+", Kind("mpc", "a Musepack file", MEDIA)),
    (0, b"tBaK", Kind("tak", "a TAK file", MEDIA)),
    (0, b"DSD ", Kind("dsf", "a DSD file", MEDIA)),
    (0, b"FRM8", Kind("iff", "a DSDIFF file", MEDIA)),
    (0, b"ADIF", AAC),
    (0, b"FLV\x01", Kind("flv", "a Flash video", MEDIA)),
    (0, b".RMF", Kind("rm", "a RealMedia file", MEDIA)),
    (0, b"\x7f\xfe\x80\x01", Kind("dts", "DTS", MEDIA)),
    (0, b"\x00\x00\x01\xba", Kind("mpeg", "an MPEG program stream", MEDIA)),
    (0, b"version https://git-lfs.github.com/spec/", LFS),
    (0, b"/annex/objects/", ANNEX),
    (
        0,
        b"MThd",
        Kind("midi", "MIDI, which holds notes and no sound", OTHER, "render it first"),
    ),
    (0, b"PK\x03\x04", Kind("zip", "a ZIP archive", OTHER, _UNPACK)),
    (0, b"\x1f\x8b\x08", Kind("gzip", "a gzip archive", OTHER, _UNPACK)),
    (0, b"BZh91AY&SY", Kind("bzip2", "a bzip2 archive", OTHER, _UNPACK)),
    (0, b"\xfd7zXZ\x00", Kind("xz", "an xz archive", OTHER, _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("7z", "a 7z archive", OTHER, _UNPACK)),
    (0, b"Rar!\x1a\x07", Kind("rar", "a RAR archive", OTHER, _UNPACK)),
    (257, b"ustar", Kind("tar", "a tar archive", OTHER, _UNPACK)),
    (0, b"\x89PNG", Kind("png", "a PNG picture", OTHER, "give the recording itself")),
    (
        0,
        b"\xff\xd8\xff",
        Kind("jpeg", "a JPEG picture", OTHER, "give the recording itself"),
    ),
    (0, b"GIF8", Kind("gif", "a GIF picture", OTHER, "give the recording itself")),
    (0, b"%PDF", Kind("pdf", "a PDF document", OTHER, "give the recording itself")),
    (
        0,
        b"\x93NUMPY",
        Kind("npy", "a NumPy array", OTHER, "write its samples to a WAV file"),
    ),
    (
        0,
        b"\x80\x04\x95",
        Kind("pickle", "a Python pickle", OTHER, "give the recording itself"),
    ),
    (0, b"\x7fELF", Kind("elf", "a program", OTHER, "give the recording itself")),
)
_PICTURE_BRANDS = (
    b"heic",
    b"heix",
    b"mif1",
    b"msf1",
    b"avif",
    b"avis",
    b"crx ",
    b"jp2 ",
    b"jpx ",
)
_MP4_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_TS_PACKET = 188


def sniff(head: bytes) -> Kind:
    """Say what begins with `head`; an ID3 tag in front must have been left out.

    Args:
        head: the first `HEAD_BYTES`, or all there are.
    """
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and len(head) >= 12:
        return _riff(head)
    if head[:4] == b"FORM" and len(head) >= 12:
        if head[8:12] in (b"AIFF", b"AIFC"):
            return AIFF
        if head[8:12] in (b"8SVX", b"16SV"):
            return Kind("svx", "8SVX", SOUND)
    for offset, mark, kind in _STARTS:
        if head[offset : offset + len(mark)] == mark:
            return kind
    if head[4:8] in _MP4_ATOMS:
        if head[4:8] == b"ftyp" and head[8:12] in _PICTURE_BRANDS:
            return Kind("heif", "a picture", OTHER, "give the recording itself")
        return MP4
    for first in (0, 4):  # recorders of discs put four bytes of time before each packet
        step = _TS_PACKET + first
        if len(head) > first + 3 * step and all(head[first + n * step] == 0x47 for n in range(4)):
            return MPEGTS
    return _frames(head) or _plain(head)


def sniff_at(raw: BinaryIO, begin: int = 0) -> tuple[Kind, int]:
    """Say what begins at a place in a file, and where it begins behind an ID3 tag."""
    raw.seek(begin)
    head = raw.read(HEAD_BYTES)
    while (tag := id3_length(head)) and tag < 1 << 28:
        raw.seek(begin + tag)
        behind = raw.read(HEAD_BYTES)
        if not behind:
            return UNKNOWN, begin
        begin, head = begin + tag, behind
    return sniff(head), begin


def _riff(head: bytes) -> Kind:
    if head[8:12] == b"WAVE":
        return {b"RIFF": WAV, b"RIFX": RIFX, b"RF64": RF64, b"BW64": BW64}[head[:4]]
    if head[8:12] == b"AVI ":
        return AVI
    if head[8:12] == b"WEBP":
        return Kind("webp", "a WebP picture", OTHER, "give the recording itself")
    if head[8:12] == b"RMID":
        return Kind("midi", "MIDI, which holds notes and no sound", OTHER, "render it first")
    return Kind("riff", "RIFF, but not WAV", OTHER, "give the recording itself")


def _frames(head: bytes) -> Kind | None:
    """Recognise streams of frames without a header: MPEG audio, AAC in ADTS or LATM."""
    from earmark.io.formats.mpeg import first_frame

    if len(head) > 6 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS: layer 00
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        following = head[length : length + 2]
        if length > 7 and (len(following) < 2 or following[0] == 0xFF):
            return AAC
    if len(head) > 3 and head[0] == 0x56 and head[1] & 0xE0 == 0xE0:  # LOAS
        length = ((head[1] & 0x1F) << 8 | head[2]) + 3
        if head[length : length + 1] == b"\x56":
            return Kind("loas", "AAC in LATM", MEDIA)
    if head[:2] == b"\x0b\x77" and len(head) > 5 and head[4] < 0xC0 and head[5] >> 3 in (6, 8):
        return Kind("ac3", "AC-3", MEDIA)
    return MPEG if first_frame(head) == 0 else None


def _plain(head: bytes) -> Kind:
    """Recognise text and emptiness."""
    if head and not any(head):
        return ZEROS
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return HTML
    if b"/annex/objects/" in head[:512] and len(head) < HEAD_BYTES:
        return ANNEX
    try:
        text = head[:-4].decode("utf-8") if len(head) >= HEAD_BYTES else head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < HEAD_BYTES - 8 or len(head) < HEAD_BYTES:
            return UNKNOWN
        text = head[: error.start].decode("utf-8")
    if head and all(sign.isprintable() or sign in "\t\r\n\f" for sign in text):
        return TEXT
    return UNKNOWN
