"""Sources of the server: a file at the speed of its sound, a microphone that goes and comes."""

import time
from typing import Any

import pytest
import soundfile

import earmark
from earmark.config import Calibration, EventSettings
from earmark.errors import AudioError
from earmark.live.chunk import Chunk, StalledError
from earmark.serve.clips import ClipStore
from earmark.serve.hub import Hub
from earmark.serve.protocol import Start
from earmark.serve.settings import Access
from earmark.serve.sources import MicrophoneReader
from earmark.serve.stream import StreamEvent
from tests.serve.running import Client, limits, noise, running
from tests.serve.test_sessions import wait_for


def test_a_file_of_the_server_is_one_stream_for_all_that_listen(tmp_path):
    path = tmp_path / "night.wav"
    soundfile.write(path, noise(2.5), 16_000)
    events = list[StreamEvent]()
    low = EventSettings(threshold=0.001)
    with running(files=(path,), settings=low) as (site, address):
        site.hub.subscribe(events.append)
        start = {"source": {"kind": "server", "id": "file-0"}}
        with Client(address, start) as first, Client(address, start) as second:
            ready = [one.until("ready") for one in (first, second)]
            ends = [one.until("end") for one in (first, second)]
    assert ready[0]["session"] == ready[1]["session"]
    assert {one["name"] for one in ready} == {"night.wav"}
    assert ends[0] == ends[1]
    assert 2.3 < ends[0]["seconds"] <= 2.5
    assert first.columns
    assert events
    assert not any(one.live for one in events)


def test_a_source_that_there_is_not_is_refused(address):
    with Client(address, {"source": {"kind": "server", "id": "../x"}}) as client:
        assert client.refusal()[0] == "source"


@pytest.mark.parametrize("early", [True, False], ids=["in start", "later"])
@pytest.mark.parametrize("rules", [{"classes": []}, {"thresholds": {"Rain": 0.5}}])
def test_one_who_listens_cannot_mute_a_source_of_the_server(tmp_path, early, rules):
    path = tmp_path / "night.wav"
    soundfile.write(path, noise(1.5), 16_000)
    start = {"source": {"kind": "server", "id": "file-0"}}
    with running(files=(path,)) as (site, address), Client(address, start) as other:
        ready = other.until("ready")
        with Client(address, {**start, **(rules if early else {})}) as client:
            if not early:
                assert client.until("ready")["rules"] is False
                client.say({"type": "rules", **rules})
            assert client.refusal() == ("shared", 1008)
        assert site.sources[0].stream.thresholds == ready["thresholds"]
        other.until("end")


class Flaky:
    """A microphone that goes after each half second, twice, and is not there at once again."""

    opened = 0

    def __init__(self, device):
        Flaky.opened += 1
        if Flaky.opened == 2:
            raise AudioError("microphone: cannot be opened (no such device)")
        self.name, self.sample_rate, self._left = "fake", 16_000, 5

    def next(self, timeout):
        if Flaky.opened > 4:
            return None
        if self._left == 0:
            raise StalledError("fake: nothing came; has it gone?")
        self._left -= 1
        return Chunk(noise(0.1)[:, None], 16_000)

    def close(self):
        pass


FAKE: Any = Flaky


def test_a_microphone_that_goes_is_waited_for_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr("earmark.serve.sources.time.sleep", lambda _: None)
    hub = Hub(earmark.load("esc10"), clips=ClipStore(tmp_path, most_bytes=1 << 20, age_seconds=60))
    said: list[str] = []

    class Listener:
        def put(self, messages):
            said.extend(text for text, _ in messages if isinstance(text, str))

        def short(self):
            pass

        def ended(self):
            pass

    hub.start(lambda deliver: deliver())
    reader = MicrophoneReader(hub, None, FAKE)
    stream = hub.open(Start(name="fake", kind="server"), reader.sample_rate, Listener())
    reader.start(stream)
    wait_for(lambda: stream.over)
    hub.stop()
    text = "".join(said)
    assert "waiting for it" in text
    assert "goes on" in text
    assert stream.session.seconds >= 1.4


class Endless:
    """A microphone that goes on until it is closed."""

    name, sample_rate = "fake", 16_000
    going = True

    def __init__(self, device):
        pass

    def next(self, timeout):
        time.sleep(0.02)
        return Chunk(noise(0.1)[:, None], 16_000) if self.going else None

    def close(self):
        pass


def test_sources_of_the_server_get_another_model_as_soon_as_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr("earmark.serve.sources.Microphone", Endless)
    path = tmp_path / "night.wav"
    soundfile.write(path, noise(60.0), 16_000)
    starts = [{"source": {"kind": "server", "id": name}} for name in ("file-0", "microphone")]
    with running(
        files=(path,), microphone="", access=Access(port=0, limits=limits(sessions=6))
    ) as (
        site,
        address,
    ):
        for start in starts:
            with Client(address, start) as client:
                assert len(client.until("ready")["classes"]) == 10
                client.until("scores")
                fitted = Calibration(thresholds=(0.9,) * 50)
                site.use(earmark.load("base").with_calibration(fitted))
                client.until("model")
                client.until("end")
            with Client(address, start) as client:
                ready = client.until("ready")
                assert set(ready["thresholds"].values()) == {0.9}
                assert len(client.until("scores")["scores"]) == 50
            site.use(earmark.load("esc10"))
        monkeypatch.setattr(Endless, "going", False)
