"""Alerts and kept events of the server's streams."""

import json

import numpy as np
import pytest
import soundfile

import earmark
from earmark.config import Calibration, EventSettings
from earmark.errors import ModelError
from earmark.io.append import read_objects
from earmark.io.files import sha256_of_json
from earmark.live.chunk import Chunk
from earmark.live.keeper import KeepSettings
from earmark.runtime.pool import SessionPool
from earmark.serve.clips import ClipStore
from earmark.serve.following import following
from earmark.serve.hub import Hub
from earmark.serve.protocol import Start
from earmark.serve.shedding import Shedding
from earmark.serve.stream import StreamEvent
from tests.alerts.builders import Broker, Listener, needs_broker, until
from tests.processes import assert_one_line, call_here
from tests.runtime.builders import classifier
from tests.serve.running import RATE, noise

LOW = EventSettings(threshold=0.001)  # any sound is an event
RULES = """
[[rule]]
name = "all"
cooldown_seconds = 0
[[rule]]
name = "loud"
louder_than_db = -30
[command]
command = {command}
"""


@pytest.fixture
def hub(tmp_path):
    clips = ClipStore(tmp_path / "clips", most_bytes=10**8, age_seconds=3600)
    made = Hub(earmark.load("esc10"), clips=clips, settings=LOW)
    made.start(lambda deliver: deliver())
    yield made
    made.stop()


def play(hub, samples, kind="server", **options):
    """Give a stream its samples; return when it has ended."""
    stream = hub.open(Start(name="yard", kind=kind, source="x", **options), RATE)
    for part in np.array_split(samples[:, None], 20):
        hub.put(stream, Chunk(part, RATE))
    hub.finish(stream)
    assert until(lambda: hub.find(stream.id) is None)  # its events have been handed on


def rules(folder):
    path = folder / "rules.toml"
    command = json.dumps(["tee", "-a", str(folder / "log.jsonl")])
    path.write_text(RULES.format(command=command), encoding="utf-8")
    return path


@pytest.mark.parametrize("file", [{"kind": "file"}, {"live": False}], ids=["sent", "server's"])
def test_live_streams_are_kept_and_told_and_files_are_not(hub, tmp_path, file):
    said, seen = list[str](), list[StreamEvent]()
    hub.subscribe(seen.append)
    keep = KeepSettings(str(tmp_path / "heard"))
    with following(hub, keep=keep, rules=rules(tmp_path), report=said.append):
        play(hub, noise(6.0))
        live = [one for one in seen if one.live]
        play(hub, noise(6.0), **file)
    assert live
    assert len(seen) > len(live)
    rows = list(read_objects(tmp_path / "heard" / "events.jsonl"))
    assert [(row["id"], row["label"], row["threshold"]) for row in rows] == [
        (one.id, one.event.label, 0.001) for one in live
    ]
    for row, one in zip(rows, live, strict=True):
        clip, _ = soundfile.read(tmp_path / "heard" / row["clip"], dtype="int16")
        np.testing.assert_array_equal(clip, one.samples)
        assert row["start_utc"] == one.time.isoformat(timespec="milliseconds")
    told = list(read_objects(tmp_path / "log.jsonl"))
    assert {alert["event"] for alert in told} == {row["id"] for row in rows}
    assert said == []


@pytest.mark.parametrize("base", ["", "http://pi.local:8765/"])
def test_without_a_folder_an_alert_names_the_clip_of_the_page(hub, tmp_path, base):
    path = rules(tmp_path)
    path.write_text(f"clip_address = '{base}'\n" + path.read_text("utf-8"), encoding="utf-8")
    seen = list[StreamEvent]()
    hub.subscribe(seen.append)
    with following(hub, keep=None, rules=path, report=print):
        play(hub, noise(6.0))
    told = list(read_objects(tmp_path / "log.jsonl"))
    clips = {one.id: f"clips/{one.clip}.wav" for one in seen}
    assert told
    for alert in told:
        clip = clips[alert["event"]]
        assert soundfile.info(tmp_path / clip).duration > 2.0
        assert alert["clip"] == (base + clip if base else str(tmp_path / clip))


@pytest.mark.parametrize("fault", ["scale", "engine", "behind"])
def test_a_stream_that_fails_or_is_shed_ends_its_events_where_it_was_scored_last(
    hub, tmp_path, monkeypatch, fault
):
    begun, ended = list[StreamEvent](), list[StreamEvent]()
    hub.subscribe_begun(begun.append)
    hub.subscribe(ended.append)
    sink = Sink()
    with following(hub, keep=KeepSettings(str(tmp_path / "heard")), rules=None, report=print):
        stream = hub.open(Start(name="yard"), RATE, sink)
        hub.put(stream, Chunk(noise(4.0)[:, None], RATE))
        assert until(lambda: stream.session.seconds > 3.9 and stream.session.ready == 0)
        if fault == "scale":
            hub.put(stream, Chunk(np.full((RATE, 1), 30_000.0, np.float32), RATE))
        elif fault == "engine":
            monkeypatch.setattr(SessionPool, "advance", fail)
            hub.put(stream, Chunk(noise(1.0)[:, None], RATE))
        else:
            monkeypatch.setattr("earmark.serve.shedding._LOOK_SECONDS", 0.0)
            hub._shedding = Shedding(-1.0)
        assert until(lambda: hub.find(stream.id) is None)
    assert begun
    assert {one.id for one in begun} <= {one.id for one in ended}
    alone = hub.model.classifier.stream(RATE, settings=LOW)
    expected = [*alone.push(noise(4.0)), *alone.end_events()]
    assert {(one.event.label, one.event.offset) for one in ended} == {
        (one.label, one.offset) for one in expected
    }
    assert all(one.ended and len(one.samples) for one in ended)
    rows = list(read_objects(tmp_path / "heard" / "events.jsonl"))
    assert [row["id"] for row in rows] == [one.id for one in ended]
    assert sink.types[-1] == "error"
    assert sink.types.count("event") == len(ended)


class Sink:
    """Keeps the types of what a stream says."""

    def __init__(self):
        self.types = []

    def put(self, messages):
        self.types += [json.loads(message)["type"] for message, _ in messages]

    def short(self):
        pass

    def ended(self):
        pass


def fail(_, sessions):
    raise ModelError("the engine failed")


@needs_broker
def test_a_broker_is_told_while_the_sound_goes_on_and_once(hub, tmp_path):
    broker = Broker(tmp_path)
    broker.start()
    listener = Listener(broker.port, topic="earmark/#")
    path = tmp_path / "rules.toml"
    path.write_text(f'[[rule]]\nname = "r"\n[mqtt]\nport = {broker.port}\nnode = "n"\n')
    heard = tmp_path / "heard"
    try:
        with following(hub, keep=KeepSettings(str(heard)), rules=path, report=print):
            stream = hub.open(Start(name="yard", kind="server", source="x"), RATE)
            for part in np.array_split(noise(4.0)[:, None], 8):
                hub.put(stream, Chunk(part, RATE))
            assert until(lambda: listener.ids)
            assert not stream.events  # nothing has ended
            hub.finish(stream)
            assert until(lambda: hub.find(stream.id) is None)
        with following(hub, keep=None, rules=path, report=print):  # started again, in its cooldown
            play(hub, noise(4.0))
    finally:
        listener.stop()
        broker.stop()
    rows = {row["id"]: row for row in read_objects(heard / "events.jsonl")}
    assert len(set(listener.ids)) == len(listener.ids)
    assert {alert["event"] for alert in listener.alerts} <= set(rows)
    for alert in listener.alerts:
        assert (alert["when"], alert["end"]) == ("onset", None)
        assert alert["clip"] == str(heard / rows[alert["event"]]["clip"])
        assert soundfile.info(alert["clip"]).duration > 2.0


def test_a_loud_sound_of_no_class_is_told_of(hub, tmp_path):
    quiet = np.zeros(8 * RATE)
    loud = np.concatenate([quiet, 0.5 * np.sign(np.sin(np.arange(2 * RATE) / 9)), quiet])
    none: tuple[str, ...] = ()
    keep = KeepSettings(str(tmp_path / "heard"))
    with following(hub, keep=keep, rules=rules(tmp_path), report=print):
        play(hub, loud, classes=none)
    (alert,) = read_objects(tmp_path / "log.jsonl")
    assert (alert["label"], alert["rule"], alert["clip"]) == ("none of these", "loud", None)
    assert alert["onset"] == pytest.approx(8.0, abs=0.6)
    (row,) = read_objects(tmp_path / "heard" / "events.jsonl")
    assert (row["id"], row["threshold"]) == (alert["event"], None)
    assert row["level_db"] == pytest.approx(-6.0, abs=1.0)


@pytest.mark.parametrize("other", ["model", "thresholds"])
def test_another_model_and_other_thresholds_are_another_run(hub, tmp_path, other):
    fitted = hub.model.classifier.with_calibration(Calibration(thresholds=(0.9,) * 10))
    with following(hub, keep=KeepSettings(str(tmp_path / "heard")), rules=None, report=print):
        play(hub, noise(4.0))
        hub.use(classifier("onnx") if other == "model" else fitted)
        play(hub, noise(4.0))
    rows = list(read_objects(tmp_path / "heard" / "events.jsonl"))
    runs = {
        run["run"]: run
        for path in (tmp_path / "heard" / "runs").iterdir()
        for run in [json.loads(path.read_text(encoding="utf-8"))]
    }
    assert len({(row["fingerprint"], row["calibration"]) for row in rows}) == len(runs) == 2
    for row in rows:
        assert runs[row["run"]]["fingerprint"] == row["fingerprint"]
        assert sha256_of_json(runs[row["run"]]["calibration_values"]) == row["calibration"]
        assert row["label"] in runs[row["run"]]["classes"]


def test_nothing_is_followed_where_nothing_is_asked_for(hub):
    with following(hub, keep=None, rules=None, report=print):
        assert hub._on_event == []


def test_what_is_wrong_is_said_before_anything_is_served(tmp_path):
    for words, part in (
        (("--keep", "x", "--keep_size", "1MB"), "keep_size must be at least 10MB"),
        (("--alerts", "none.toml"), "none.toml: cannot be read (no such file"),
    ):
        done = call_here("earmark", "serve", "--port", "0", *words, cwd=tmp_path)
        assert_one_line(done, part)
