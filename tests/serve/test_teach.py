"""Teaching over HTTP: verdicts from events, a real training, a model taken and taken back."""

import csv
import errno
import io
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import earmark
from earmark.config import Calibration
from earmark.errors import ModelError, StorageError
from earmark.serve.app import Site
from earmark.serve.rooms import Rooms
from earmark.serve.settings import Access
from earmark.serve.sounds import SoundsFolder
from earmark.serve.training_job import TrainingJob
from tests.alerts.builders import until
from tests.conftest import OWN_RECIPE
from tests.serve.running import RATE, Client, ask, fault, noise, running, silence
from tests.serve.test_sessions import LOW


@pytest.fixture
def teaching(tmp_path):
    recipe = tmp_path / "own.toml"
    quick = OWN_RECIPE.replace("num_epochs = 10", "num_epochs = 3")
    recipe.write_text(quick.replace("negatives_probability = 0.1", "negatives_probability = 0.0"))
    with running(sounds=tmp_path / "own", recipe=str(recipe)) as (site, address):
        yield site, address, tmp_path / "own"


def post(address, path, value=None):
    status, _, body = ask(address, "POST", f"/api/teach/{path}", json.dumps(value or {}))
    return status, json.loads(body)


def recording(hz, seed):
    rng = np.random.default_rng(seed)
    time_s = np.arange(8_000) / 8_000
    sound = 0.3 * np.sin(2 * np.pi * hz * rng.uniform(0.9, 1.1) * time_s)
    file = io.BytesIO()
    soundfile.write(file, sound + 0.02 * rng.standard_normal(8_000), 8_000, format="WAV")
    return file.getvalue()


def send(address, label, body, name="a.wav"):
    return ask(address, "POST", f"/api/teach/recordings?label={label}&name={name}", body)


def rows(folder):
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_an_event_becomes_a_row_and_is_taken_back(teaching):
    site, address, folder = teaching
    with Client(address, LOW) as client:
        session = client.until("ready")["session"]
        client.send(np.concatenate([silence(6.0), noise(2.0), silence(3.5)]))
        client.say({"type": "end"})
        client.until("end")
    event = client.of_type("event")[0]
    clip = event["clip"].removeprefix("clips/").removesuffix(".wav")
    verdict = {"clip": clip, "label": "kettle", "group": session, "start": 0.5, "seconds": 1.5}
    status, state = post(address, "verdicts", verdict)
    assert (status, state["labels"], state["undoable"]) == (200, {"kettle": 1}, 1)
    (row,) = rows(folder)
    assert (row["label"], row["group"]) == ("kettle", session)
    info = soundfile.info(folder / row["path"])
    assert info.duration == pytest.approx(1.5, abs=0.01)
    assert site.clips.path(clip).exists()
    status, state = post(address, "undo")
    gone = {"label": "kettle", "clips": 1, "event_clip": clip}
    assert (status, state["gone"], state["labels"]) == (200, gone, {})
    assert post(address, "undo")[0] == 409
    for seed in range(2):
        send(address, "room", recording(500, seed), "a.wav&recording=one")
    status, state = post(address, "undo")
    assert (state["labels"], state["gone"]["clips"], state["undoable"]) == ({}, 2, 0)
    assert rows(folder) == []
    for changes, code in (
        ({"clip": "0" * 24}, "clip"),
        ({"clip": "../../x"}, "clip"),
        ({"label": ""}, "label"),
        ({"start": "x"}, "message"),
        ({"seconds": 1e9}, "message"),
        ({"start": 3000.0}, "time"),
    ):
        assert post(address, "verdicts", {**verdict, **changes})[1]["code"] == code
    assert rows(folder) == []


def test_a_new_class_is_taught_taken_and_taken_back(teaching):
    site, address, folder = teaching
    assert post(address, "train")[1]["code"] == "clips"
    for number in range(3):
        assert send(address, "low", recording(300, number))[0] == 200
        assert send(address, "high%20one", recording(2400, number))[0] == 200
    assert len({row["group"] for row in rows(folder)}) == 6
    before = site.hub.model.classifier.classes
    assert post(address, "train")[1]["training"]["state"] == "running"
    assert post(address, "train")[1]["code"] == "training"
    state = wait(address)
    assert state["training"]["state"] == "done", state
    report = state["training"]["report"]
    assert report["folds"] == 3
    assert 0 <= report["accuracy"] <= 1
    assert [row["label"] for row in report["changed"]] == ["high one", "low"]
    assert site.hub.model.classifier.classes == before  # nothing changes until it is taken

    status, state = post(address, "model", {"take": state["training"]["model"]})
    assert (status, state["used"], state["training"]["state"]) == (200, "1", "idle")
    assert json.loads(ask(address, "GET", "/api/model")[2])["classes"] == ["high one", "low"]
    with Client(address, {"thresholds": {"low": 0.01, "high one": 0.01}}) as client:
        assert client.until("ready")["classes"] == ["high one", "low"]
        sound = 9000 * np.sin(2 * np.pi * 300 * np.arange(4 * RATE) / RATE)
        client.send(sound.astype(np.int16))
        client.say({"type": "end"})
        client.until("end")
    assert client.of_type("event")
    status, state = post(address, "model", {"back": True})
    assert (status, state["used"]) == (200, "")
    assert site.hub.model.classifier.classes == before
    assert post(address, "model", {"back": True})[0] == 409
    assert post(address, "model", {"take": "../1"})[0] == 404


def test_a_training_that_fails_or_is_stopped_leaves_nothing(teaching):
    _, address, folder = teaching
    for number in range(3):
        send(address, "low", recording(300, number))
        send(address, "high", recording(2400, number))
    post(address, "train")
    assert post(address, "stop")[1]["training"]["state"] == "idle"
    assert not (folder / "models" / "1").exists()
    (folder / rows(folder)[0]["path"]).unlink()
    post(address, "train")
    training = wait(address)["training"]
    assert training["state"] == "failed"
    assert len(training["text"].splitlines()) == 1
    assert not (folder / "models" / "1").exists()


@pytest.mark.skipif(os.name != "posix", reason="groups of processes are POSIX's")
def test_a_training_is_ended_with_all_that_it_started(tmp_path):
    note = tmp_path / "child.txt"
    program = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    job = TrainingJob(SoundsFolder(tmp_path), "finetune", (sys.executable, "-c", program))
    job.start(None)
    assert until(lambda: note.exists() and note.read_text())
    job.stop()
    assert job.status == {"state": "idle"}
    assert until(lambda: _ended(int(note.read_text())))


def _ended(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{process}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_disk_that_is_full_is_said_in_one_line(teaching, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("earmark.serve.sounds.write_bytes", full)
    status, _, body = send(teaching[1], "low", recording(400, 0))
    assert status == 507
    assert json.loads(body)["error"].endswith("or written (no space left on device)")


def test_recordings_are_under_the_limits_of_uploads(teaching):
    site, address, folder = teaching
    answer = send(address, "low", b"no sound")
    assert (answer[0], fault(answer)) == (422, "audio")
    answer = send(address, "", recording(300, 0))
    assert (answer[0], fault(answer)) == (422, "label")
    assert list(site.uploads._folder.iterdir()) == []
    assert not folder.exists()


def test_thresholds_are_fitted_to_a_room_and_hold_for_new_sessions(teaching):
    site, address, folder = teaching
    assert post(address, "room", {"per_hour": 60})[1]["code"] == "room"
    file = io.BytesIO()
    room = 0.02 * np.random.default_rng(0).standard_normal(90 * 8_000)
    soundfile.write(file, room, 8_000, format="WAV")
    assert send(address, "background", file.getvalue())[0] == 200
    refused = post(address, "room", {"per_hour": 0.5})
    assert refused[0] == 422
    assert len(refused[1]["error"].splitlines()) == 1
    before = site.hub.model
    status, state = post(address, "room", {"per_hour": 60})
    assert (status, state["room"]["per_hour"], state["room"]["minutes"]) == (200, 60, 1.5)
    assert state["room"]["after"] <= 60
    assert site.hub.model is not before
    assert site.hub.model.classifier.info.identity == before.classifier.info.identity
    for per_hour in (0, -1, "x", None, 1e9):
        assert post(address, "room", {"per_hour": per_hour})[0] == 422

    # It outlasts the server, belongs to these weights alone, and can be taken back.
    fitted = site.hub.model.classifier.info.calibration
    with pytest.raises(StorageError, match="give another --sounds"):
        Site(earmark.load("esc10"), Access(), sounds=folder)
    site.teaching.close()
    with running(sounds=folder) as (again, second):
        assert again.hub.model.classifier.info.calibration == fitted
        assert json.loads(ask(second, "GET", "/api/teach")[2])["room"] == state["room"]
        assert post(second, "room", {"back": True})[1]["room"] is None
        own = again.hub.model.classifier.info.calibration
        assert own == before.classifier.info.calibration
        assert post(second, "room", {"back": True})[0] == 409
    assert list((folder / "rooms").iterdir()) == []


def test_a_room_is_of_one_model_and_one_that_was_edited_is_said(tmp_path):
    classifiers = earmark.load("esc10"), earmark.load("base")
    rooms = Rooms(tmp_path)
    raised = Calibration(thresholds=(0.99,) * 10)
    rooms.write(classifiers[0], raised, {"after": 1.0})
    for classifier, thresholds in zip(classifiers, (raised.thresholds, None), strict=True):
        with running(sounds=tmp_path, classifier=classifier) as (site, _):
            used = site.hub.model.classifier.info.calibration.thresholds
            assert used == (thresholds or classifier.info.calibration.thresholds)
    rooms.path(classifiers[0]).write_text("{}")
    with pytest.raises(ModelError, match="no calibration"):
        Site(classifiers[0], Access(), sounds=tmp_path)


def test_without_a_folder_nothing_is_taught(address):
    assert ask(address, "GET", "/api/teach")[0] == 404
    assert ask(address, "POST", "/api/teach/train", "{}")[0] == 405


def wait(address):
    end = time.monotonic() + 240
    while time.monotonic() < end:
        state = json.loads(ask(address, "GET", "/api/teach")[2])
        if state["training"]["state"] != "running":
            return state
        time.sleep(0.2)
    raise AssertionError("the training did not end")
