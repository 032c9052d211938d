"""The page that sums an archive up."""

import html.parser
import io
import re
import zlib

import fsspec
import numpy as np
import pytest
import soundfile

from earmark import EventSettings
from earmark.archive import samples
from earmark.archive.plan import Plan, Unit
from earmark.archive.query import Questions
from earmark.archive.store import Archive
from earmark.archive.summary import page
from tests.processes import assert_one_line, call_here
from tests.runtime.builders import sound


class Tags(html.parser.HTMLParser):
    """Collects the tags of a page and the addresses in them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.addresses = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("meta", "img", "br", "col"):
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def written(out):
    archive = Archive(out)
    return page(archive, archive.sets, Questions(archive, archive.sets))


def test_the_page_is_whole_and_asks_for_nothing(label, recordings, tmp_path):
    (recordings / "a.wav").rename(recordings / "<b>&a.wav")
    label(recordings)
    text = written(tmp_path / "out")
    found = Tags(text)
    assert found.open == []
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert all(address.startswith("data:") for address in found.addresses)
    assert found.tags.count("audio") == found.tags.count("img") == 3  # one for each class
    assert "<b>&a" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?://", text)
    for said in ("8</b>", "truncated", "empty", "Events by hour of day", "north", "dog"):
        assert said in text


def test_an_archive_without_events_or_times(label, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(8_000), 8_000)
    label(tmp_path / "a.wav", settings=EventSettings(threshold=0.999))
    text = written(tmp_path / "out")
    assert "No class reached its threshold" in text
    assert "No file says when it was recorded" in text
    assert Tags(text).open == []


def test_recordings_at_addresses_are_left_out_and_it_is_said(label, tmp_path):
    made = io.BytesIO()
    soundfile.write(made, sound(3.0), 8_000, format="WAV")
    fsspec.filesystem("memory").pipe("/there/a.wav", made.getvalue())
    label(None, plan=Plan([Unit("memory://there/a.wav", 1, 1)]))
    text = written(tmp_path / "out")
    assert "Recordings at addresses, as s3://, are not fetched, and left out." in text
    assert "<audio" not in text
    done = call_here("earmark", "results", "out", "--review", "r", cwd=tmp_path)
    assert_one_line(done, "those at addresses, as s3://, are not fetched")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_sample_begins_before_its_event(tmp_path, name):
    whole = sound(8.0, 32_000)
    soundfile.write(tmp_path / name, whole, 32_000)
    cut = samples.cut(tmp_path / name, 2.0)
    assert cut is not None
    assert len(cut) == 5 * 32_000
    begin = round((2.0 - samples.BEFORE_SECONDS) * 32_000)
    assert np.corrcoef(cut, whole[begin : begin + len(cut)])[0, 1] > 0.9
    assert samples.cut(tmp_path / "none.wav", 2.0) is None


def test_a_picture_shows_a_tone_where_it_is():
    tone = np.sin(2 * np.pi * 1_000 * np.arange(32_000) / 32_000).astype(np.float32)
    data = samples.spectrogram(tone)
    assert data.startswith(b"\x89PNG")
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4 : at], "big")
    rows = np.frombuffer(zlib.decompress(data[at + 4 : at + 4 + length]), np.uint8)
    levels = rows.reshape(height, width + 1)[:, 1:]
    loudest = height - 1 - int(levels.mean(axis=1).argmax())
    centres = 1_000 / 15_000  # the mel scale puts 1 kHz far above its share of hertz
    assert 0.2 < loudest / height < 0.5
    assert loudest / height > centres


def test_a_sound_is_one_that_browsers_play():
    kind, data = samples.sound(sound(1.0, 32_000))
    assert kind in ("audio/mpeg", "audio/wav")
    assert 1_000 < len(data) < 100_000
