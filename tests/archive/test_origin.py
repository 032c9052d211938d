"""When, where and by what a recording was made."""

import datetime
import struct

import pytest
import soundfile

from earmark.archive.origin import Origin, is_another, origin_of, time_zone
from earmark.archive.plan import Unit
from earmark.errors import SettingsError

UTC = datetime.timezone.utc


def of(path, zone="UTC", **about):
    return origin_of(Unit(str(path), 1, 1, **about), path, time_zone(zone))


@pytest.mark.parametrize(
    ("name", "start", "site"),
    [
        ("20240131_054500.WAV", "2024-01-31T05:45:00", ""),
        ("SMM03873_20220719_000000.wav", "2022-07-19T00:00:00", "SMM03873"),
        ("SBT-6-76-18_0+1_0_20160621_080000.wav", "2016-06-21T08:00:00", "SBT-6-76-18_0+1_0"),
        ("SwiftOne_20220719_010000_-0400.wav", "2022-07-19T05:00:00", "SwiftOne"),
        ("a-20240131T054500Z.flac", "2024-01-31T05:45:00", "a"),
        ("OWL_123456_2022-07-19_T01-02-03.WAV", "2022-07-19T01:02:03", "OWL_123456"),
        ("5E90A4D4.WAV", "2020-04-10T16:54:44", ""),
        ("1-100032-A-0.wav", None, ""),
        ("20241331_054500.wav", None, ""),
        ("20240131_054500-9900.wav", "2024-01-31T05:45:00", ""),  # no zone, but a number
        ("20240131_054500-2024.wav", "2024-01-31T05:45:00", ""),  # nor is this
        ("20240131_054500+1400.wav", "2024-01-30T15:45:00", ""),
        ("12345678.wav", None, ""),
        ("120240131_0545001.wav", None, ""),
    ],
)
def test_names_of_recorders(tmp_path, name, start, site):
    found = of(tmp_path / name)
    assert (found.start and found.start.replace(tzinfo=None).isoformat()) == start
    assert found.source == ("name" if start else "")
    assert found.site == site


def test_times_without_a_zone_are_of_the_zone_given(tmp_path):
    path = tmp_path / "20240731_054500.wav"
    assert of(path, "Europe/Berlin").start == datetime.datetime(2024, 7, 31, 3, 45, tzinfo=UTC)
    assert of(path, "-02:30").start == datetime.datetime(2024, 7, 31, 8, 15, tzinfo=UTC)
    zoned = tmp_path / "20240731_054500Z.wav"
    assert of(zoned, "Europe/Berlin").start == datetime.datetime(2024, 7, 31, 5, 45, tzinfo=UTC)


@pytest.mark.parametrize("name", ["Nowhere/City", "25", "+99:00", "../UTC", ""])
def test_a_zone_that_is_none(name):
    with pytest.raises(SettingsError, match="is no time zone"):
        time_zone(name)


def with_chunk(path, name, data):
    """Put a chunk behind the samples of a WAV file."""
    soundfile.write(path, [0.1, 0.2], 8_000)
    whole = path.read_bytes() + name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    path.write_bytes(whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:])
    return path


def test_guano(tmp_path):
    pytest.importorskip("guano")
    text = (
        b"GUANO|Version:1.0\nTimestamp:2024-01-31T05:45:00-05:00\nMake:Titley\nModel:Chorus\n"
        b"Serial:4711\nSite:Old oak\n"
    )
    path = with_chunk(tmp_path / "20200101_000000.wav", b"guan", text)
    found = of(path)
    assert found.start == datetime.datetime(2024, 1, 31, 10, 45, tzinfo=UTC)
    assert (found.source, found.site) == ("guano", "Old oak")
    assert found.recorder == "Titley Chorus 4711"
    odd = with_chunk(tmp_path / "20200101_000001.wav", b"guan", b"\xff no colon \n::\n")
    assert of(odd).source == "name"


def test_the_comment_of_an_audiomoth(tmp_path):
    text = b"Recorded at 19:45:00 31/01/2024 (UTC-3) by AudioMoth 24E144085F2569F9 at medium gain"
    data = b"INFOICMT" + struct.pack("<I", len(text)) + text
    found = of(with_chunk(tmp_path / "a.wav", b"LIST", data))
    assert found.start == datetime.datetime(2024, 1, 31, 22, 45, tzinfo=UTC)
    assert (found.source, found.recorder) == ("comment", "AudioMoth 24E144085F2569F9")


@pytest.mark.parametrize("when", ["31/01/2024 (UTC+99)", "01/01/0001 (UTC+5)"])
def test_a_comment_with_a_time_that_is_none(tmp_path, when):
    text = f"Recorded at 01:45:00 {when} by AudioMoth".encode()
    data = b"INFOICMT" + struct.pack("<I", len(text)) + text
    assert of(with_chunk(tmp_path / "a.wav", b"LIST", data)).start is None


def test_a_row_that_has_another_origin_than_would_be_told_now(tmp_path):
    path = tmp_path / "north" / "A_20240131_054500.wav"
    unit = Unit(str(path), 1, 1, folder=str(tmp_path))
    before = origin_of(unit, path, UTC)
    assert not is_another(unit, UTC, before)
    assert is_another(unit, time_zone("+01:00"), before)
    assert is_another(Unit(str(path), 1, 1, site="south"), UTC, before)
    assert is_another(Unit(str(path), 1, 1, start=datetime.datetime(2000, 1, 1)), UTC, before)
    comment = Origin(datetime.datetime(2000, 1, 1, tzinfo=UTC), "comment", "north")
    assert not is_another(unit, time_zone("+01:00"), comment)  # which comes before the name


def test_a_manifest_comes_first_and_a_folder_is_a_site(tmp_path):
    path = tmp_path / "north" / "2024" / "X_20240131_054500.wav"
    assert of(path, folder=str(tmp_path)).site == "north"
    start = datetime.datetime(2000, 1, 1)
    found = of(path, "+01:00", folder=str(tmp_path), site="south", start=start)
    assert (found.site, found.source) == ("south", "manifest")
    assert found.start == datetime.datetime(1999, 12, 31, 23, tzinfo=UTC)
