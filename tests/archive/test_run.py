"""A run labels what is not done, whatever stopped the one before."""

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark import Classifier
from earmark.archive import collect, driver, store
from earmark.archive.collect import Collector
from earmark.archive.engine import Report
from earmark.archive.origin import origin_of
from earmark.archive.plan import Plan, Unit, plan_manifest, plan_sources
from earmark.archive.query import Questions
from earmark.archive.store import Archive
from earmark.archive.worker import label_file
from earmark.errors import ArchiveError, StorageError
from tests.archive.conftest import InProcess
from tests.processes import Killed
from tests.runtime.builders import SETTINGS, sound


def rows(
    out,
    question="SELECT path, label, onset_seconds, offset_seconds, score FROM events ORDER BY ALL",
):
    archive = Archive(out)
    return list(Questions(archive, archive.sets).sql(question).rows)


def statuses(out):
    question = "SELECT parse_filename(path), status, cause FROM files ORDER BY ALL"
    return {name: (status, cause) for name, status, cause in rows(out, question)}


@pytest.fixture
def whole(label, recordings, tmp_path):
    """The events of an undisturbed run."""
    label(recordings, tmp_path / "whole")
    return rows(tmp_path / "whole")


def test_events_are_those_of_detect_and_failures_are_rows(label, model, recordings, tmp_path):
    tally, _ = label(recordings)
    out = tmp_path / "out"
    classifier = Classifier.load(model)
    expected = []
    for path in sorted(recordings.rglob("*.*")):
        if path.name not in ("empty.wav", "cut.wav"):
            found = classifier.detect(path, SETTINGS)
            expected += [(str(path), e.label, e.onset, e.offset, e.score) for e in found]
    got = [row for row in rows(out) if not row[0].endswith("cut.wav")]
    assert got == sorted(expected)
    assert len(expected) > 10
    about = statuses(out)
    assert about["empty.wav"] == ("failed", "empty")
    assert about["cut.wav"] == ("partial", "truncated")  # with the events of what is there
    assert about["a.wav"] == ("ok", None)
    assert tally.finished == len(about) == 8
    assert tally.causes == {"empty": 1, "truncated": 1}


def test_rows_say_when_and_where_from(label, recordings, tmp_path):
    label(recordings)
    question = (
        "SELECT site, start_utc, start_source FROM files WHERE path LIKE '%20240131_054500.WAV'"
    )
    ((site, start, source),) = rows(tmp_path / "out", question)
    assert (site, source) == ("north", "name")
    assert start.isoformat() == "2024-01-31T05:45:00+00:00"
    question = (
        "SELECT epoch_us(e.start_utc) - epoch_us(f.start_utc), e.onset_seconds FROM events e "
        "JOIN files f USING (entry) WHERE f.start_utc IS NOT NULL"
    )
    later = rows(tmp_path / "out", question)
    assert later
    assert all(micros == round(onset * 1e6) for micros, onset in later)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_a_failure_has_its_origin_and_a_name_that_is_not_utf8_is_no_fault(label, tmp_path):
    folder = tmp_path / "sounds"
    folder.mkdir()
    soundfile.write(folder / "a.wav", sound(1.0), 8_000)
    (folder / "a.wav").rename(folder / os.fsdecode(b"\xe9t\xe9_20240131_054500.wav"))
    (folder / "south").mkdir()
    (folder / "south" / "A_20240131_054500Z.wav").touch()
    label(folder)
    question = "SELECT site, start_utc::VARCHAR, start_source, status FROM files ORDER BY status"
    time = "2024-01-31 05:45:00+00"
    assert rows(tmp_path / "out", question) == [
        ("south", time, "name", "failed"),
        ("\\xe9t\\xe9", time, "name", "ok"),
    ]


def test_where_a_file_comes_from_is_found_out_once_even_if_it_cannot_be_fetched(
    label, tmp_path, monkeypatch
):
    soundfile.write(tmp_path / "a.wav", sound(1.0), 8_000)
    asked = []

    def counted(unit, path, zone):
        asked.append((unit.address, path))
        return origin_of(unit, path, zone)

    monkeypatch.setattr("earmark.archive.worker.origin_of", counted)
    here, away = str(tmp_path / "a.wav"), "memory://none/A_20240131_054500Z.wav"
    label(None, plan=Plan([Unit(here, 1, 1), Unit(away, 1, 1)]))
    assert asked == [(here, Path(here)), (away, None)]
    question = "SELECT start_source FROM files WHERE status = 'failed'"
    assert rows(tmp_path / "out", question) == [("name",)]


def test_a_fault_of_ours_in_where_a_file_comes_from_fails_that_file_alone(
    label, tmp_path, monkeypatch
):
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", sound(1.0), 8_000)

    def failing(unit, path, zone):
        if unit.address.endswith("a.wav"):
            raise IndexError("no such part")
        return origin_of(unit, path, zone)

    monkeypatch.setattr("earmark.archive.worker.origin_of", failing)
    units = [Unit(str(tmp_path / f"{name}.wav"), 1, 1) for name in "ab"]
    label(None, plan=Plan(units))
    question = "SELECT status, cause FROM files ORDER BY path"
    assert rows(tmp_path / "out", question) == [("failed", "internal error"), ("ok", None)]


def test_a_second_run_has_nothing_to_do(label, recordings, tmp_path):
    label(recordings)
    before = rows(tmp_path / "out")
    tally, engine = label(recordings)
    assert (tally.finished, tally.done_before, engine) == (0, 8, None)
    assert rows(tmp_path / "out") == before


def test_changed_files_are_labelled_anew_and_failures_when_asked(label, recordings, tmp_path):
    label(recordings)
    os.utime(recordings / "a.wav", ns=(1, 1))
    _, engine = label(recordings)
    assert engine.labelled == [str(recordings / "a.wav")]
    assert len(statuses(tmp_path / "out")) == 8
    _, engine = label(recordings, retry_failed=True)
    assert [Path(name).name for name in engine.labelled] == ["cut.wav", "empty.wav"]
    assert len(rows(tmp_path / "out", "SELECT * FROM files")) == 8
    assert len(set(rows(tmp_path / "out"))) == len(rows(tmp_path / "out"))


@pytest.mark.parametrize("table", ["events", "files"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_while_a_part_is_written(
    label, recordings, tmp_path, monkeypatch, whole, table, moment
):
    replace, left = Path.replace, [3]
    monkeypatch.setattr(Collector, "due", property(lambda self: self.waiting > 0))

    def killed(path, target):
        if Path(target).parent.name == table:
            left[0] -= 1
            if left[0] == 0 and moment == "before":
                raise Killed
        moved = replace(path, target)
        if Path(target).parent.name == table and left[0] == 0:
            raise Killed
        return moved

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(Path, "unlink", lambda path, missing_ok=False: None)  # nor does it tidy up
        with pytest.raises(Killed):
            label(recordings)
    done = 3 if (table, moment) == ("files", "after") else 2
    assert len(rows(tmp_path / "out", "SELECT * FROM files")) == done
    tally, _ = label(recordings)
    assert tally.finished == 8 - done
    assert [(Path(row[0]).name, *row[1:]) for row in rows(tmp_path / "out")] == [
        (Path(row[0]).name, *row[1:]) for row in whole
    ]


def test_killed_while_parts_are_joined(label, recordings, tmp_path, monkeypatch, whole):
    monkeypatch.setattr(Collector, "due", property(lambda self: self.waiting > 0))
    with monkeypatch.context() as patch:
        patch.setattr(store.Writing, "remove_parts", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            label(recordings)
    out = tmp_path / "out"
    assert len(list(out.rglob("files/*.parquet"))) == 9  # eight and what has joined them
    assert rows(out) == whole
    label(recordings)
    assert rows(out) == whole
    assert len(list(out.rglob("files/*.parquet"))) == 1


def test_a_full_disk_stops_the_run_and_it_goes_on(label, recordings, tmp_path, monkeypatch, whole):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_whole", full)
        with pytest.raises(ArchiveError, match=r"cannot be written .No space left"):
            label(recordings)
    label(recordings)
    assert rows(tmp_path / "out") == whole


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(KeyboardInterrupt, "by the user"), (driver.Terminated, "by SIGTERM"), (OSError, "None")],
)
def test_history_says_what_ended_a_run_and_how_much_was_written(
    label, recordings, tmp_path, monkeypatch, fault, reason
):
    def ended(unit, setup):
        if unit.address.endswith("c.wav"):
            raise fault(None)
        return label_file(unit, setup)

    if fault is OSError:
        monkeypatch.setattr(Collector, "flush", lambda _: (_ for _ in ()).throw(OSError(None)))
    with pytest.raises((KeyboardInterrupt, ArchiveError)):
        label(recordings, engine=lambda setup: InProcess(setup, ended))
    (run,) = Archive(tmp_path / "out").runs
    assert run["reason"] == reason
    assert run["finished"] == 2
    assert run["written"] == (0 if fault is OSError else 2)


def test_a_vanished_mount_stops_the_run_and_it_goes_on(label, recordings, tmp_path, whole):
    hidden = tmp_path / "hidden"

    class Vanishing(InProcess):
        def wait(self, seconds):
            if len(self.labelled) == 3:
                recordings.rename(hidden)
            return super().wait(seconds)

    with pytest.raises(ArchiveError, match="is gone"):
        label(recordings, engine=Vanishing)
    hidden.rename(recordings)
    tally, _ = label(recordings)
    assert tally.done_before == 3
    assert rows(tmp_path / "out") == whole


def test_all_files_failing_stops_early(label, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "ALL_FAILED", 5)
    for number in range(9):
        (tmp_path / f"{number}.wav").write_bytes(b"no audio")
    with pytest.raises(ArchiveError, match=r"the first 5 files all failed, the last with: .*4.wav"):
        label(tmp_path)
    assert rows(tmp_path / "out", "SELECT * FROM files") == []
    tally, _ = label(tmp_path, keep_going=True)
    assert tally.failed == 9


def test_bad_files_beside_labelled_ones_stop_nothing(label, recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "ALL_FAILED", 2)
    label(recordings)
    for number in range(3):
        (recordings / f"{number}.wav").touch()
    tally, _ = label(recordings)
    assert tally.failed == 3
    assert len(statuses(tmp_path / "out")) == 11
    tally, _ = label(recordings, retry_failed=True)
    assert tally.finished == 5


class Dying(InProcess):
    """Its worker dies at the files of this name, as often as is said."""

    times, cause = 99, ""

    def wait(self, seconds):
        if self.units and self.units[0].address.endswith("b.flac") and self.times:
            self.times -= 1
            units, self.units = self.units, ()
            return [Report(units, cause=self.cause)]
        return super().wait(seconds)


@pytest.mark.parametrize(("cause", "said"), [("", "worker died"), ("hang", "hang")])
def test_a_file_that_kills_workers_is_given_up(label, recordings, tmp_path, cause, said):
    tally, engine = label(recordings, engine=type("Dying", (Dying,), {"cause": cause}))
    assert statuses(tmp_path / "out")["b.flac"] == ("failed", said)
    assert len(engine.labelled) == 7
    assert tally.deaths == (1 if cause else 3)


def test_what_was_found_in_a_file_stays_when_it_hangs_later(label, recordings, tmp_path, whole):
    label(recordings)
    hanging = type("Dying", (Dying,), {"cause": "hang"})
    tally, _ = label(recordings, engine=hanging, outputs=("events", "scores"))
    assert tally.causes["hang"] == 1
    assert rows(tmp_path / "out") == whole
    assert statuses(tmp_path / "out")["b.flac"] == ("ok", None)
    _, engine = label(recordings, outputs=("events", "scores"))  # tries it again
    assert engine.labelled == [str(recordings / "b.flac")]
    os.utime(recordings / "b.flac", ns=(1, 1))  # another file: what was found is not of it
    label(recordings, engine=hanging)
    assert statuses(tmp_path / "out")["b.flac"] == ("failed", "hang")


@pytest.mark.parametrize("moment", ["when it has opened them", "when it has their names"])
def test_parts_that_are_joined_while_they_are_read(
    label, recordings, tmp_path, monkeypatch, whole, moment
):
    monkeypatch.setattr(Collector, "due", property(lambda self: self.waiting > 0))
    with monkeypatch.context() as patch:
        patch.setattr(collect, "_like_sizes", lambda _: [])
        label(recordings)
    archive = Archive(tmp_path / "out")
    (results,) = archive.sets
    before = archive.parts(results)
    assert len(before) == 8
    if moment == "when it has their names":
        listings = iter([before])
        listed = Archive._parts
        patched = lambda *words: next(listings, None) or listed(*words)  # noqa: E731
        label(recordings, outputs=("events", "scores"))
        monkeypatch.setattr(Archive, "_parts", patched)
        questions = Questions(archive, [results])
    else:
        questions = Questions(archive, [results])
        label(recordings, outputs=("events", "scores"))
    assert not {part.name for part in before} & {part.name for part in archive.parts(results)}
    question = "SELECT path, label, onset_seconds, offset_seconds, score FROM events ORDER BY ALL"
    assert list(questions.sql(question).rows) == whole


def test_a_worker_that_is_killed_costs_nothing(label, recordings, tmp_path, whole):
    tally, _ = label(recordings, engine=type("Dying", (Dying,), {"times": 2}))
    assert tally.deaths == 2
    assert rows(tmp_path / "out") == whole


def test_killed_inside_a_file_it_goes_on_there(label, recordings, tmp_path, whole):
    long = recordings / "c.wav"
    pushed = []

    def stopped(unit, setup):
        def tick():
            pushed.append(unit.address)
            if unit.address == str(long) and pushed.count(unit.address) in (3, 5):
                raise Killed

        return label_file(unit, setup, tick)

    for _ in range(2):
        with pytest.raises(Killed):
            label(
                recordings, engine=lambda setup: InProcess(setup, stopped), checkpoint_seconds=0.0
            )
        assert list((tmp_path / "out").rglob("progress/*.json"))
    label(recordings)
    assert rows(tmp_path / "out") == whole
    assert not list((tmp_path / "out").rglob("progress/*"))


def test_killed_before_the_rows_of_a_file_are_written_it_goes_on_there(
    label, recordings, tmp_path, whole
):
    def stopped(unit, setup):
        if unit.address.endswith("cut.wav"):
            raise Killed
        return label_file(unit, setup)

    with pytest.raises(Killed):
        label(recordings, engine=lambda setup: InProcess(setup, stopped), checkpoint_seconds=0.0)
    assert rows(tmp_path / "out") == []
    unit = next(u for u in plan_sources([str(recordings)]).units if u.address.endswith("c.wav"))
    (folder,) = (tmp_path / "out").rglob("progress")
    assert (folder / f"{unit.fingerprint}.json").exists()
    label(recordings)
    assert rows(tmp_path / "out") == whole
    assert not list(folder.iterdir())


def test_what_was_found_in_a_file_stays_when_it_cannot_be_reached(label, recordings, tmp_path):
    table = tmp_path / "year.csv"
    table.write_text("path\nrecordings/a.wav\nrecordings/b.flac\n")
    label(None, plan=plan_manifest(str(table)))
    before = rows(tmp_path / "out")
    assert len({row[0] for row in before}) == 2
    recordings.rename(tmp_path / "elsewhere")
    tally, engine = label(None, plan=plan_manifest(str(table)), retry_failed=True)
    assert (tally.done_before, engine) == (2, None)
    assert rows(tmp_path / "out") == before


def test_scores_of_seconds_on_request(label, recordings, tmp_path):
    label(recordings)
    tally, _ = label(recordings, outputs=("events", "scores"))
    assert tally.finished == 7  # what has failed altogether has none
    question = (
        "SELECT f.path, f.seconds, count(*), max(s.scores.dog) FROM files f "
        "JOIN scores s USING (entry) GROUP BY ALL"
    )
    found = rows(tmp_path / "out", question)
    assert len(found) == 7
    for _, seconds, count, highest in found:
        assert count == -(-seconds // 1)
        assert 0 < highest < 1


def test_embeddings_on_request(label, model, recordings, tmp_path):
    label(recordings / "north", outputs=("events", "embeddings"))
    classifier = Classifier.load(model)
    question = "SELECT path, second, embedding FROM embeddings ORDER BY path, second"
    found = rows(tmp_path / "out", question)
    for path in {row[0] for row in found}:
        expected = [segment.vector for segment in classifier.embed_segments(path)]
        got = [row[2] for row in found if row[0] == path]
        assert np.array_equal(np.array(got, np.float32), np.array(expected))
    assert len(found) == 6


def test_settings_lie_side_by_side(label, recordings, tmp_path):
    label(recordings)
    from earmark import EventSettings

    label(recordings, settings=EventSettings(threshold=0.9))
    archive = Archive(tmp_path / "out")
    assert len(archive.sets) == 2
    assert len(archive.runs) == 2
    question = "SELECT count(*), count(DISTINCT path) FROM files"
    assert list(Questions(archive, archive.sets).sql(question).rows) == [(16, 8)]
    assert list(Questions(archive, archive.sets[-1:]).sql(question).rows) == [(8, 8)]


def test_two_runs_at_once_and_other_folders_are_refused(label, recordings, tmp_path):
    label(recordings)
    with store.Writing(tmp_path / "out"), pytest.raises(StorageError, match="give another --out"):
        store.Writing(tmp_path / "out")
    with pytest.raises(ArchiveError, match="holds other things"):
        store.Writing(recordings)
    about = tmp_path / "out" / "archive.json"
    about.write_text(about.read_text().replace('"schema": 1', '"schema": 99'))
    with pytest.raises(ArchiveError, match="has schema 99, this Earmark writes and reads 1"):
        store.Writing(tmp_path / "out")
