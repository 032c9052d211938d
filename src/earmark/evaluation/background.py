"""Recordings in which none of the classes sounds -> thresholds for a rate of false alarms.

Every event in background is a false alarm. Recordings are scored as streams, by the sessions that
`earmark stream` uses; each set of thresholds is judged by the events that it makes of the scores.

Thresholds are only raised, so that a class is never surer of itself than its model says. What the
next hours bring is expected to be one alarm more than was left in these, for each class whose
threshold was put just above an alarm: the highest of n alarms is passed by the next one in one of
n + 1 cases. So alarms left, and classes raised, are held at the rate times the hours. Where that
is less than the classes that gave alarms, these are raised together, which counts once.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.config import Calibration, EventSettings, to_json
from earmark.data.readers import read_dataset
from earmark.decision.poisson import count_interval, rate_interval
from earmark.decision.policy import STREAM_THRESHOLD
from earmark.decision.restriction import choose_classes
from earmark.errors import AudioError, DatasetError, ModelError, SettingsError
from earmark.io import decode
from earmark.runtime.clip import BLOCK_SECONDS
from earmark.runtime.engine import Engine, ModelInfo
from earmark.runtime.events import Event, EventFinder
from earmark.runtime.scorer import StreamScorer
from earmark.runtime.session import Session

MOST_OF_THE_TIME = 0.5  # a class that sounds for more of the background is held to be in it
MUCH_OF_THE_TIME = 0.1  # and may be from here on; alarms of a second fill this if there are 360
_ROWS = 2_000  # of scores at a time; quiet ones are passed over quickly
_ENOUGH = 0.99  # of the hours for one alarm; a recording of an hour may be a second shorter
_SILENCE_AFTER = 2.0  # seconds after a clip: a model's scores reach their highest a second late
_SURE = 1e-6  # a score this near to 1 cannot be told from 1


class Recording(NamedTuple):
    """The scores `(steps, classes)` of a recording, and its length."""

    rows: NDArray[np.float32]
    seconds: float


@dataclass(frozen=True)
class Alarms:
    """Events in background.

    Attributes:
        count: how many.
        per_hour: of them.
        interval: the rates an hour that they are likely under (95 %, Poisson).
        by_class: how many of each class that has any, most first.
    """

    count: int
    per_hour: float
    interval: tuple[float, float]
    by_class: dict[str, int]


@dataclass(frozen=True)
class Recall:
    """Clips of a class in which an event of that class is found.

    Attributes:
        clips: how many there are.
        before: in how many it is found with the thresholds of before.
        after: in how many with those that were fitted.
    """

    clips: int
    before: int
    after: int


@dataclass(frozen=True)
class BackgroundFit:
    """What was fitted to background, and how well it holds there.

    Attributes:
        calibration: temperature as before, thresholds fitted.
        asked_per_hour: false alarms an hour that were asked for.
        hours: length of the background.
        before: false alarms with the thresholds of before.
        after: with those that were fitted, on the same hours.
        settings: of the events, which the rate holds for.
        raised: of each class whose threshold is another now, the one before and that.
        recall: of each class of the positives, what the thresholds cost; empty without positives.
        notes: what to know of it, a line each.
    """

    calibration: Calibration
    asked_per_hour: float
    hours: float
    before: Alarms
    after: Alarms
    settings: EventSettings
    raised: dict[str, tuple[float, float]]
    recall: dict[str, Recall]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what a calibration file says of the fit, as plain values."""
        return {
            "false_alarms_per_hour": self.asked_per_hour,
            "hours": round(self.hours, 4),
            "before": dataclasses.asdict(self.before),
            "after": dataclasses.asdict(self.after),
            "events": to_json(self.settings),
            "recall": {name: dataclasses.asdict(row) for name, row in self.recall.items()},
            "notes": list(self.notes),
        }


def fit_background(
    engine: Engine,
    background: Sequence[Path],
    *,
    false_alarms_per_hour: float,
    settings: EventSettings,
    positives: Path | None = None,
) -> BackgroundFit:
    """Fit the thresholds of a model to background.

    Args:
        engine: runs the model.
        background: recordings in which none of its classes sounds.
        false_alarms_per_hour: that may be left.
        settings: how scores become events; their threshold is 0.
        positives: a dataset of clips of the classes, to see what is still found.

    Raises:
        SettingsError: a rate that is not above 0, or a threshold among the settings.
        AudioError: a recording cannot be read, is silent, holds a class for most of its time, or
            all together are too short for the rate.
        DatasetError: the positives cannot be read, or are of classes that the model does not have.
        ModelError: the model is bidirectional, or a class is sure of itself in background.
    """
    rate, info = false_alarms_per_hour, engine.info
    if not (rate > 0 and math.isfinite(rate)):
        raise SettingsError(
            f"false_alarms_per_hour must be above 0, got {rate}: no recording shows that there "
            "will be none"
        )
    if settings.threshold:
        raise SettingsError("threshold is what is fitted; leave it out")
    if not background:
        raise AudioError("background is no file; give recordings in which no class sounds")
    clips = find_positives(positives, info) if positives else []
    most = [decode.most_seconds(path) for path in background]
    _refuse_too_short(sum(math.inf if m is None else m for m in most) / 3600, rate)
    settings = settings.with_lags(info.model.lags_seconds)
    judge = Judge(engine, settings)
    recordings = [judge.score(path, allow_silence=False) for path in background]
    hours = sum(recording.seconds for recording in recordings) / 3600
    own = info.calibration.thresholds or (STREAM_THRESHOLD,) * len(info.classes)
    events = judge.find(recordings, own)
    sounds = _find_sounding(background, recordings, events)
    _refuse_too_short(hours, rate)
    thresholds = raise_thresholds(judge, recordings, own, max(1.0, hours * rate))
    sounding = [
        judge.score(path, allow_silence=True, silence_after=_SILENCE_AFTER) for path, _ in clips
    ]
    raised = {
        name: (before, after)
        for name, before, after in zip(info.classes, own, thresholds, strict=True)
        if before != after
    }
    return BackgroundFit(
        calibration=dataclasses.replace(info.calibration, thresholds=thresholds),
        asked_per_hour=rate,
        hours=hours,
        before=count_events(events, hours),
        after=count_events(judge.find(recordings, thresholds), hours),
        settings=settings,
        raised=raised,
        recall=measure_recall(judge, sounding, [label for _, label in clips], own, thresholds),
        notes=(*_notes(hours, rate, len(raised)), *sounds),
    )


class Judge:
    """Scores recordings as streams, and finds events in the scores under any thresholds."""

    def __init__(self, engine: Engine, settings: EventSettings) -> None:
        self.info, self.settings = engine.info, settings
        self.scorer = StreamScorer(engine, settings, block_seconds=BLOCK_SECONDS)

    def score(self, path: Path, *, allow_silence: bool, silence_after: float = 0.0) -> Recording:
        """Return the scores of a file, as a session scores them.

        Args:
            path: the file.
            allow_silence: take a file that is silent.
            silence_after: seconds of silence that follow it.
        """
        session = Session(self.scorer, self.info.sample_rate, self.settings, str(path))
        rows = [session.rows]
        for block in decode.read_blocks(
            path, self.info.sample_rate, block_seconds=1.0, allow_silence=allow_silence
        ):
            session.push(block)
            rows.append(session.rows)
        session.push(np.zeros(round(silence_after * self.info.sample_rate), np.float32))
        rows.append(session.rows)
        session.finish()
        return Recording(np.concatenate([*rows, session.rows]), session.seconds)

    def find(
        self, recordings: Sequence[Recording], thresholds: Sequence[float]
    ) -> list[list[Event]]:
        """Return the events of each recording."""
        finder = EventFinder(self.info.classes, thresholds, self.scorer.step_seconds, self.settings)
        found = []
        for rows, _ in recordings:
            events: list[Event] = []
            state = finder.initial_state()
            for start in range(0, len(rows), _ROWS):
                ended, state = finder.step(rows[start : start + _ROWS], state)
                events += ended
            found.append(events + finder.finish(state))
        return found


def raise_thresholds(
    judge: Judge, recordings: Sequence[Recording], own: Sequence[float], budget: float
) -> tuple[float, ...]:
    """Raise thresholds until the alarms left, and the classes raised, are within a budget.

    Raises:
        ModelError: a class is sure of itself, so that no threshold stops it.
    """
    classes, start = judge.info.classes, _odds(np.array(own))
    level = start.copy()  # logarithms of the odds of the thresholds
    together = False
    while True:
        thresholds = tuple(map(_from_odds, level.tolist()))
        thresholds = tuple(
            old if now == first else new
            for old, new, now, first in zip(own, thresholds, level, start, strict=True)
        )
        alarms = [
            (float(_odds(np.array(event.score))), classes.index(event.label))
            for events in judge.find(recordings, thresholds)
            for event in events
        ]
        raised = {number for number in range(len(own)) if level[number] > start[number]}
        if len(alarms) + (min(len(raised), 1) if together else len(raised)) <= budget:
            return thresholds
        # The weakest first: those that are least above the threshold their model has.
        alarms.sort(key=lambda alarm: alarm[0] - start[alarm[1]])
        dropped = _choose_dropped(alarms, raised, budget)
        if dropped is None:
            together = True
            excess = max(odds - start[number] for odds, number in alarms)
            for number in {number for _, number in alarms} | raised:
                level[number] = max(level[number], start[number] + excess)
            dropped = alarms
        for odds, number in dropped:
            if odds >= float(_odds(np.array(1.0))):
                raise ModelError(
                    f"{classes[number]!r} has a score of 1 in the background, so no threshold "
                    "stops it; leave the class out with classes, or record without such sounds"
                )
            level[number] = max(level[number], _above(odds))


def _choose_dropped(
    alarms: Sequence[tuple[float, int]], raised: set[int], budget: float
) -> Sequence[tuple[float, int]] | None:
    """Return the fewest of the weakest alarms to do without; None: classes are too many."""
    classes = set(raised)
    for count, (_, number) in enumerate(alarms, start=1):
        classes.add(number)
        if len(alarms) - count + len(classes) <= budget:
            return alarms[:count]
    return None


def _odds(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logarithms of the odds of scores, held away from 0 and 1."""
    inside = np.clip(np.asarray(scores, np.float64), _SURE, 1 - _SURE)
    logarithms: NDArray[np.float64] = np.log(inside / (1 - inside))
    return logarithms


def _above(odds: float) -> float:
    """Return odds whose score lies above that of others by a millionth."""
    return float(_odds(np.array(min(_from_odds(odds) + 1e-6, 1 - _SURE))))


def _from_odds(odds: float) -> float:
    """Return the score of a logarithm of odds, rounded up to the next millionth."""
    return min(math.ceil(1e6 / (1 + math.exp(-odds)) - 1e-4) / 1e6, 1.0)


def _refuse_too_short(hours: float, rate: float) -> None:
    """Refuse background of which a rate cannot be told.

    Args:
        hours: its length, or what it has at most.
        rate: false alarms an hour.

    Raises:
        AudioError: with the length that would do.
    """
    if hours * rate < _ENOUGH:
        raise AudioError(
            f"{_say_length(hours)} of background are too few for {rate:g} "
            f"false alarm{'s' * (rate != 1)} an hour: "
            f"give at least {_say_length(1 / rate)}, better {_say_length(3 / rate)}"
        )


def _find_sounding(
    paths: Sequence[Path],
    recordings: Sequence[Recording],
    events: Sequence[Sequence[Event]],
) -> list[str]:
    """Name the classes that seem to sound in the background, each with its worst recording.

    Raises:
        AudioError: one is found for most of the time of a recording.
    """
    worst: dict[str, tuple[float, Path]] = {}
    for path, recording, found in zip(paths, recordings, events, strict=True):
        seconds: dict[str, float] = {}
        for event in found:
            seconds[event.label] = seconds.get(event.label, 0.0) + event.offset - event.onset
        for name, sounding in sorted(seconds.items()):
            share = min(sounding / recording.seconds, 1.0)
            if share > MOST_OF_THE_TIME:
                raise AudioError(
                    f"{path}: {name!r} is found in {100 * share:.0f} % of it, so it is no "
                    "background for that class; leave the recording out, "
                    "or name the classes to keep with --classes"
                )
            worst[name] = max(worst.get(name, (0.0, path)), (share, path))
    return [
        f"{path}: {name!r} is found in {100 * share:.0f} % of it by the thresholds of before; if "
        "it does sound there, its threshold is now above it, so leave the recording out"
        for name, (share, path) in worst.items()
        if share > MUCH_OF_THE_TIME
    ]


def count_events(events: Sequence[Sequence[Event]], hours: float) -> Alarms:
    """Count the events of some recordings."""
    by_class = Counter(event.label for found in events for event in found)
    count = by_class.total()
    return Alarms(count, count / hours, rate_interval(count, hours), dict(by_class.most_common()))


def find_positives(positives: Path, info: ModelInfo) -> list[tuple[Path, str]]:
    """Return the clips of a dataset with the names that the model has for their classes."""
    dataset = read_dataset(positives, for_training=False)
    if not dataset.classes:
        raise DatasetError(
            f"{positives}: has clips of no class only; positives are clips of the model's classes"
        )
    names = {}
    for label in dataset.classes:
        try:
            (names[label],) = choose_classes([label], info.classes)
        except SettingsError as error:
            raise DatasetError(f"{positives}: {error}") from None
    return [(clip.path, names[clip.label]) for clip in dataset.clips if clip.label is not None]


def measure_recall(
    judge: Judge,
    recordings: Sequence[Recording],
    labels: Sequence[str],
    before: Sequence[float],
    after: Sequence[float],
) -> dict[str, Recall]:
    """Count the clips in which an event of their class is found, under two sets of thresholds."""
    found = [
        [
            any(event.label == label for event in events)
            for events, label in zip(judge.find(recordings, thresholds), labels, strict=True)
        ]
        for thresholds in (before, after)
    ]
    rows: dict[str, list[tuple[bool, bool]]] = {}
    for label, first, last in zip(labels, *found, strict=True):
        rows.setdefault(label, []).append((first, last))
    return {
        label: Recall(len(pairs), sum(first for first, _ in pairs), sum(last for _, last in pairs))
        for label, pairs in sorted(rows.items())
    }


def _notes(hours: float, rate: float, raised: int) -> tuple[str, ...]:
    """Say what more background, or a higher rate, would be good for."""
    notes = []
    length, sure = _say_length(hours), count_interval(0)[1]
    if hours * rate < sure:
        notes.append(
            f"{length} are too few to be sure of {rate:g} an hour: even with no false alarm in "
            f"them the rate may be up to {say_rate(sure / hours)} (95 %); give "
            f"{_say_length(sure / rate)}"
        )
    if raised > max(1.0, hours * rate):
        notes.append(
            f"{raised} classes were raised together, past the strongest alarm of all, as {length} "
            f"at {rate:g} an hour are too few to raise each on its own; for that give "
            f"{_say_length(raised / rate)}, or ask for {math.ceil(raised / hours)} an hour"
        )
    return tuple(notes)


def say_rate(rate: float) -> str:
    """Write a rate an hour as people do."""
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.2g}"  # 150, not 1.5e+02


def _say_length(hours: float) -> str:
    if hours * 3600 < 100:
        return f"{3600 * hours:.3g} s"
    return f"{60 * hours:.0f} min" if hours < 2 else f"{hours:.3g} h"
