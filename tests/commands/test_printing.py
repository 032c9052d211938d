"""What several commands print."""

import dataclasses
import json
import types
from typing import Any

from earmark import Classifier
from earmark.commands.printing import model_json, print_line, synthetic_note


def test_a_line_and_its_end_are_written_together(monkeypatch):
    written: list[str] = []

    class Out:
        write = staticmethod(written.append)
        flush = staticmethod(lambda: written.append("flushed"))

    monkeypatch.setattr("sys.stdout", Out())
    print_line("an event")
    assert written == ["an event\n", "flushed"]


def test_the_model_is_named_by_its_fingerprint(documented_run):
    classifier = Classifier.load(documented_run)
    said = json.loads(json.dumps(model_json(classifier)))
    assert said["name"] == documented_run.name
    assert said["fingerprint"] == classifier.info.fingerprint
    assert said["trained_on"] == "three sounds"
    assert said["synthetic"] is False


def test_only_a_model_of_synthetic_sounds_is_warned_of(documented_run):
    classifier = Classifier.load(documented_run)
    assert synthetic_note(classifier) == []
    info = dataclasses.replace(classifier.info, data={"synthetic": True})
    other: Any = types.SimpleNamespace(info=info)
    (line,) = synthetic_note(other)
    assert "synthetic sounds" in line
