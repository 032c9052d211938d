"""Events in, alerts out: rules, outboxes and targets together, and a stream that is followed."""

import json

import numpy as np
import pytest
import soundfile

from earmark.alerts.desk import Desk, file_name
from earmark.alerts.rules_file import read_rules
from earmark.alerts.station import Station
from earmark.errors import SettingsError, StorageError
from earmark.io.append import read_objects
from earmark.live.keeper import KeepSettings
from earmark.live.recorder import HeardBlock, utc_now
from tests.alerts.builders import CLASSES, START, hook, recorded
from tests.runtime.builders import SETTINGS, classifier, sound


@pytest.fixture
def said():
    return []


@pytest.fixture
def desk(tmp_path, said):
    """Make a desk of rules; an alert for the target `log` becomes a line of `log.jsonl`."""
    made = list[Desk]()

    def make(rules, general="", **options):
        path = tmp_path / "rules.toml"
        words = ["tee", "-a", str(tmp_path / "log.jsonl")]
        command = f'[[command]]\nname = "log"\ncommand = {json.dumps(words)}\n'
        path.write_text(f"{general}\n{rules}\n{command}", encoding="utf-8")
        made.append(Desk(read_rules(path), path, CLASSES, report=said.append, **options))
        return made[-1]

    yield make
    for one in made:
        one.close(0)


def told(tmp_path):
    return list(read_objects(tmp_path / "log.jsonl"))


def test_an_event_becomes_an_alert_with_all_that_is_known(desk, tmp_path, said):
    one = desk('[[rule]]\nname = "dogs"\nclasses = ["Dog bark"]', clip_folder=str(tmp_path))
    one.start()
    assert one.event(recorded(0, label="Rooster"), "clips/0.flac") == 0
    assert one.event(recorded(1), "clips/1.flac") == 1
    assert one.event(recorded(2, after=1.0), "clips/2.flac") == 0  # cooldown
    one.close(20)
    (alert,) = told(tmp_path)
    assert alert.pop("raised") > alert["time"]
    assert alert == {
        "schema": 2,
        "id": "ab-1.1",
        "event": "ab-1",
        "rule": "dogs",
        "label": "Dog bark",
        "score": 0.9,
        "threshold": 0.5,
        "level_db": None,
        "hits": 1,
        "time": "2026-05-01T04:30:00.000+00:00",
        "end": "2026-05-01T04:30:01.000+00:00",
        "when": "offset",
        "onset": 0.0,
        "offset": 1.0,
        "top": {"Dog bark": 0.9},
        "clip": str(tmp_path / "clips/1.flac"),
        "source": "yard",
        "model": "m",
    }
    assert said == []


def test_clips_may_have_an_address_of_the_web_or_none(desk, tmp_path):
    one = desk('[[rule]]\nname = "r"\ncooldown_seconds = 0', 'clip_address = "http://pi:8765/"')
    one.start()
    one.event(recorded(0), "clips/0.flac")
    one.event(recorded(1))
    one.close(20)
    assert [alert["clip"] for alert in told(tmp_path)] == ["http://pi:8765/clips/0.flac", None]


def test_what_could_not_be_delivered_waits_for_the_next_start(desk, tmp_path, said):
    first = desk('[[rule]]\nname = "r"\ncooldown_seconds = 0')
    for number in range(3):
        first.event(recorded(number))  # it was never started, as if it were killed at once
    with pytest.raises(StorageError, match="set another outbox"):
        desk('[[rule]]\nname = "r"')
    first.close(0)
    assert said == [
        f"log: 3 alert(s) wait in {tmp_path / 'rules.outbox'} and are delivered at the next start"
    ]
    second = desk('[[rule]]\nname = "r"')
    second.start()
    second.close(20)
    assert [alert["id"] for alert in told(tmp_path)] == ["ab-0.1", "ab-1.1", "ab-2.1"]


def test_an_event_under_way_is_told_of_once_without_its_end(desk, tmp_path):
    one = desk('[[rule]]\nname = "r"')
    one.start()
    begun = recorded(1, score=0.6, ended=False)
    assert one.event(begun, "clips/1.flac") == 1
    assert one.event(recorded(1, score=0.9, ended=False), "clips/1.flac") == 0
    assert one.event(recorded(1), "clips/1.flac") == 0
    one.close(20)
    (alert,) = told(tmp_path)
    assert (alert["id"], alert["when"], alert["score"]) == ("ab-1.1", "onset", 0.6)
    assert (alert["end"], alert["offset"], alert["clip"]) == (None, None, "clips/1.flac")


def test_a_cooldown_outlasts_the_process_where_the_sound_is_of_now(desk, tmp_path):
    rules = '[[rule]]\nname = "r"\ncooldown_seconds = 600'
    since = (utc_now() - START).total_seconds()
    first = desk(rules)
    assert first.event(recorded(0, after=since, ended=False)) == 1  # then it was killed
    first.close(0)
    second = desk(rules)  # the same sound goes on
    assert second.event(recorded(1, after=since + 5.0)) == 0
    assert second.event(recorded(2, label="Rooster", after=since + 5.0)) == 1
    second.close(0)
    again = desk(rules, live=False)  # a recording is judged as if it had come alone
    assert again.event(recorded(3, after=since + 5.0)) == 1
    again.close(0)


@pytest.mark.parametrize("content", ['[["r", 1, 2, "x"]]', "7", "[" * 100_000 + "]" * 100_000])
def test_cooldowns_that_cannot_be_read_are_said_and_do_not_last(desk, tmp_path, said, content):
    path = tmp_path / "rules.outbox" / "cooldowns.json"
    path.parent.mkdir()
    path.write_text(content)
    assert desk('[[rule]]\nname = "r"').event(recorded(0)) == 1
    assert said == [f"{path}: cannot be read; cooldowns of the run before do not last"]


def test_rules_choose_their_targets(desk, tmp_path):
    with hook() as server:
        one = desk(
            '[[rule]]\nname = "a"\nsend = ["log"]\ncooldown_seconds = 0\n'
            '[[rule]]\nname = "b"\nmin_score = 0.95\n'
            f'[[webhook]]\nname = "web"\nurl = "{server.url}"'
        )
        one.start()
        one.event(recorded(0))
        one.event(recorded(1, score=0.97))
        one.close(20)
        assert server.taken == ["ab-1.2"]
    assert [alert["id"] for alert in told(tmp_path)] == ["ab-0.1", "ab-1.1", "ab-1.2"]


def test_a_loud_sound_is_found_once_for_each_of_its_rules(desk, tmp_path):
    one = desk(
        '[[rule]]\nname = "r"\n[[rule]]\nname = "bang"\nlouder_than_db = -20\n'
        '[[rule]]\nname = "boom"\nlouder_than_db = -10\n'
    )
    one.start()
    found = []
    for number in range(20):
        level = -15.0 if number == 4 else -60.0
        start, end = number / 2, number / 2 + 0.5
        found += one.loud_sounds(
            HeardBlock("yard", start, end, START, level, False, {"Dog bark": 0.2})
        )
    ((rule, loud),) = found
    assert (rule, loud.onset, loud.level_db) == (2, 2.0, -15.0)
    happened = recorded(0, label="none of these", score=0.2, level_db=-15.0, threshold=None)
    assert one.loud_event(2, happened) == 1
    assert one.loud_event(2, happened) == 0
    one.close(20)
    assert [(alert["rule"], alert["level_db"]) for alert in told(tmp_path)] == [("bang", -15.0)]


def test_secrets_and_classes_are_looked_for_at_once(desk, monkeypatch):
    with pytest.raises(SettingsError, match="no class 'Cat'"):
        desk('[[rule]]\nname = "r"\nclasses = ["Cat"]')
    hooked = '[[rule]]\nname = "r"\n[[webhook]]\nurl_env = "HOOK_URL"'
    monkeypatch.delenv("HOOK_URL", raising=False)
    with pytest.raises(SettingsError, match="HOOK_URL, which is not set"):
        desk(hooked)
    monkeypatch.setenv("HOOK_URL", "https://x.example/t0ken")
    desk(hooked)


def test_a_stream_that_is_followed_keeps_its_events_and_alerts(tmp_path):
    made, samples = classifier("torch", stack=3, delta=2), sound(20.0)
    expected = list(made.stream(8_000, settings=SETTINGS, source="yard").detect([samples]))
    rules = tmp_path / "rules.toml"
    words = ["tee", "-a", str(tmp_path / "log.jsonl")]
    rules.write_text(
        f'[[rule]]\nname = "all"\ncooldown_seconds = 0\n[command]\ncommand = {json.dumps(words)}\n',
        encoding="utf-8",
    )
    said: list[str] = []
    station = Station(
        made.stream(8_000, settings=SETTINGS, source="yard"),
        made.info,
        keep=KeepSettings(str(tmp_path / "heard"), before=0.5, after=0.25),
        rules=rules,
        report=said.append,
        start=START,
    )
    events = list(station.session.detect(np.array_split(samples, 17)))
    station.close()
    assert events == expected
    rows = list(read_objects(tmp_path / "heard" / "events.jsonl"))
    assert [(row["label"], row["onset"], row["offset"]) for row in rows] == [
        (one.label, round(one.onset, 3), round(one.offset, 3)) for one in expected
    ]
    for row in rows:
        clip, rate = soundfile.read(tmp_path / "heard" / row["clip"], dtype="int16")
        first = round(row["clip_from"] * rate)
        again = np.round(np.clip(samples[first:][: len(clip)], -1, 1) * 32_767)
        np.testing.assert_array_equal(clip, again.astype(np.int16))
        whole = row["offset"] - row["onset"] + min(0.5, row["onset"]) + 0.25
        assert len(clip) / rate == pytest.approx(whole, abs=0.01) or row is rows[-1]
    alerts = sorted(told(tmp_path), key=lambda one: one["event"])  # they come as events begin
    rows.sort(key=lambda row: row["id"])
    assert [one["event"] for one in alerts] == [row["id"] for row in rows]
    assert [one["clip"] for one in alerts] == [str(tmp_path / "heard" / r["clip"]) for r in rows]
    assert [one["time"] for one in alerts] == [row["start_utc"] for row in rows]
    assert "onset" in {one["when"] for one in alerts}
    assert said == []


def test_every_target_has_an_outbox_of_its_own():
    names = ["phone", "Phone", "a b", "a_b", "Küche", "Koche", "手机", "电脑", "../x"]
    files = [file_name(name) for name in names]
    assert files[0] == "phone"
    assert len({file.lower() for file in files}) == len(names)
    assert not any("/" in file or "." in file for file in files)
