"""Hours of sound: what carrying the state does to scores and events, against the usual ways.

    python benchmarks/hours.py path/to/ESC-10 --runs models/crossval-causal --minutes 60

For each fold, its test clips are laid into a long recording in random order, with gaps and
overlaps, over generated noise at several levels; the model is that of the fold, trained on
none of them. Where a clip's sound begins and ends is read off its level. Each recording is scored
in three ways: the LSTM's state carried on; reset every so often; and windows of five seconds, each
computed anew every second.

With --validation, the settings of events are chosen instead: the models are those that held clips
out of the training folds, the recordings are made of these, and every combination of --windows,
--smoothing, --off_ratio and --gap is scored. The test clips are not read then.

Both need sed_eval: pip install earmark[bench].
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earmark import Classifier
from earmark.config import EventSettings
from earmark.data.folds import validation_mask
from earmark.data.readers import Clip, Dataset, read_dataset
from earmark.data.synthetic.synthesis import noise
from earmark.evaluation.pictures import draw_events
from earmark.export.build import build
from earmark.io import decode
from earmark.io.files import write_bytes, write_json, write_text
from earmark.model_directory import TrainedModel, load_model
from earmark.nn.features import LogMel
from earmark.provenance import how
from earmark.runtime.engine import Engine
from earmark.runtime.events import Event, EventFinder
from earmark.runtime.onnx_engine import OnnxEngine
from earmark.runtime.scorer import StreamScorer
from earmark.training.run import VALIDATED

Samples = NDArray[np.float32]
ACTIVE_DB = (
    30.0  # a clip's sound lasts from its first to its last segment this close to its loudest
)
FRAME_SECONDS = 0.02
WINDOW_SECONDS = 5.0  # of the usual sliding window
HOP_SECONDS = 1.0
EDGE_SECONDS = 600.0  # what counts as the first and the last part


@dataclass(frozen=True)
class Scene:
    """A long recording and what was laid into it: (onset, offset, label), in order."""

    samples: Samples
    truth: list[tuple[float, float, str]]


def active(samples: Samples, sample_rate: int) -> tuple[int, int]:
    """Return where a clip's sound begins and ends, in samples."""
    length = round(FRAME_SECONDS * sample_rate)
    frames = samples[: len(samples) // length * length].reshape(-1, length)
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(level > level.max() - ACTIVE_DB)
    return int(loud[0]) * length, int(loud[-1] + 1) * length


def read_clips(clips: Iterable[Clip], sample_rate: int) -> list[tuple[str, Samples]]:
    """Return label and samples of the clips that have a class."""
    return [
        (clip.label, decode.read(clip.path, sample_rate))
        for clip in clips
        if clip.label is not None
    ]


def scene(
    clips: Sequence[tuple[str, Samples]], sample_rate: int, minutes: float, snr_db: float, seed: int
) -> Scene:
    """Lay clips into noise; a tenth begin before the one before them has ended."""
    rng = np.random.default_rng(seed)
    total = round(60 * minutes * sample_rate)
    sound = np.zeros(total, np.float32)
    gap = max(1.0, 60 * minutes / len(clips) - WINDOW_SECONDS)
    truth, at = [], rng.exponential(gap / 2)
    for number in rng.permutation(len(clips)):
        label, clip = clips[number]
        start = round(at * sample_rate)
        part = clip[: max(0, total - start)]
        first, last = active(clip, sample_rate)
        if start + last > total:
            break
        sound[start : start + len(part)] += part
        truth.append(((start + first) / sample_rate, (start + last) / sample_rate, label))
        overlap = rng.uniform() < 0.1
        at += len(clip) / sample_rate + (
            -rng.uniform(0.5, 2.5) if overlap else rng.exponential(gap)
        )
    if np.isfinite(snr_db):
        loud = np.median([np.square(clip).mean() for _, clip in clips])
        for start in range(0, total, 60 * sample_rate):  # another colour every minute
            part = sound[start : start + 60 * sample_rate]
            hiss = noise(rng, len(part), rng.uniform(0.5, 2.0), sample_rate)
            part += (hiss * np.sqrt(loud / 10 ** (snr_db / 10)) / hiss.std()).astype(np.float32)
    return Scene(np.clip(sound, -1, 1), sorted(truth))


def carried(engine: Engine, settings: EventSettings, samples: Samples) -> Samples:
    """Score with the state carried on."""
    session = Classifier(engine).stream(settings=settings, block_seconds=10.0)
    session.push(samples)
    rows = session.rows
    session.finish()
    return np.concatenate([rows, session.rows])


def reset_every(
    seconds: float, engine: Engine, settings: EventSettings, samples: Samples
) -> Samples:
    """Score with the state thrown away every so often."""
    scorer = StreamScorer(engine, settings)
    steps = round(seconds / scorer.step_seconds)
    part = steps * scorer.block_samples
    parts = [samples[start : start + part] for start in range(0, len(samples), part)]
    return np.concatenate([carried(engine, settings, piece) for piece in parts])


def sliding(engine: Engine, _settings: EventSettings, samples: Samples) -> Samples:
    """Score windows of five seconds, each anew, and hold each score until the next."""
    step, sample_rate = engine.info.step_samples, engine.info.sample_rate
    window = round(WINDOW_SECONDS * sample_rate) // step * step
    scores = []
    for second in range(1, int(len(samples) / sample_rate / HOP_SECONDS) + 1):
        recent = samples[: round(second * HOP_SECONDS * sample_rate)][-window:]
        recent = recent[len(recent) % step :]
        scores.append(engine.step(recent[None], [engine.initial_state(1)])[1][0])
    per_row = np.arange(len(samples) // step) * engine.info.step_seconds
    held = np.clip((per_row / HOP_SECONDS).astype(int), 0, len(scores) - 1)
    return np.stack(scores)[held]


def found(engine: Engine, settings: EventSettings, rows: Samples) -> list[Event]:
    """Return the events in all scores of a recording."""
    step_seconds = engine.info.step_seconds
    thresholds = engine.info.calibration.thresholds
    settings = settings.with_lags(engine.info.model.lags_seconds)
    finder = EventFinder(engine.info.classes, thresholds, step_seconds, settings)
    events, state = finder.step(rows, finder.initial_state())
    return sorted(events + finder.finish(state), key=lambda event: event.onset)


def by_second(
    engine: Engine, rows: Samples, step_seconds: float, recording: Scene, span: slice
) -> tuple[list[bool], list[bool]]:
    """Compare second by second; seconds of two classes, or half full, are left out.

    Returns:
        Whether each second of one class was named rightly, and each of none left unnamed.
    """
    seconds = int(len(rows) * step_seconds)
    inside: list[dict[str, float]] = [{} for _ in range(seconds)]
    for onset, offset, label in recording.truth:
        for second in range(int(onset), min(seconds, int(offset) + 1)):
            share = min(offset, second + 1) - max(onset, second)
            inside[second][label] = inside[second].get(label, 0.0) + share
    place = (np.arange(len(rows)) * step_seconds).astype(int)
    thresholds = np.array(engine.info.calibration.thresholds or [0.5] * len(engine.info.classes))
    right, quiet = [], []
    for second in range(*span.indices(seconds)):
        mean = rows[place == second].mean(axis=0)
        named = engine.info.classes[int(mean.argmax())] if (mean >= thresholds).any() else None
        if not inside[second]:
            quiet.append(named is None)
        elif len(inside[second]) == 1:
            ((label, share),) = inside[second].items()
            if share >= 0.5:
                right.append(named == label)
    return right, quiet


def event_scores(truth: Scene, events: Sequence[Event], collar: float, offsets: bool) -> float:
    """Return sed_eval's event-based F1, over all events."""
    import dcase_util
    import sed_eval

    def listed(items: Sequence[tuple[float, float, str]]) -> Any:
        return dcase_util.containers.MetaDataContainer(
            [
                {"filename": "a.wav", "onset": on, "offset": off, "event_label": label}
                for on, off, label in items
            ]
        )

    labels = sorted({label for *_, label in truth.truth} | {e.label for e in events})
    metric = sed_eval.sound_event.EventBasedMetrics(
        labels, t_collar=collar, percentage_of_length=0.5, evaluate_offset=offsets
    )
    metric.evaluate(listed(truth.truth), listed([(e.onset, e.offset, e.label) for e in events]))
    return float(np.nan_to_num(metric.results_overall_metrics()["f_measure"]["f_measure"]))


def measures(
    engine: Engine, settings: EventSettings, rows: Samples, recording: Scene
) -> dict[str, float]:
    """Return every figure of one way on one recording."""
    step_seconds = engine.info.step_seconds
    settings = settings.with_lags(engine.info.model.lags_seconds)
    events = found(engine, settings, rows)
    seconds = len(rows) * step_seconds
    edge = round(min(EDGE_SECONDS, seconds / 3))
    lag = settings.onset_lag_seconds + settings.smoothing_seconds / 2
    delays, onsets_late, offsets_late = [], [], []
    for onset, offset, label in recording.truth:
        hits = [e for e in events if e.label == label and e.offset > onset and e.onset < offset]
        if hits:
            delays.append(max(0.0, hits[0].onset + lag + step_seconds - onset))
            onsets_late.append(hits[0].onset - onset)
            offsets_late.append(hits[-1].offset - offset)

    def false_alarms(start: float, end: float) -> float:
        alone = [
            e
            for e in events
            if start <= e.onset < end
            and not any(on < e.offset and off > e.onset for on, off, _ in recording.truth)
        ]
        busy = sum(max(0.0, min(off, end) - max(on, start)) for on, off, _ in recording.truth)
        return 3600 * len(alone) / max(1.0, end - start - busy)

    def mean(values: list[bool]) -> float:
        return sum(values) / len(values) if values else float("nan")

    def accuracy(span: slice) -> tuple[float, float]:
        right, quiet = by_second(engine, rows, step_seconds, recording, span)
        return mean(right), mean(quiet)

    whole, first, last = accuracy(slice(None)), accuracy(slice(edge)), accuracy(slice(-edge, None))
    return {
        "seconds_right": whole[0],
        "seconds_right_first": first[0],
        "seconds_right_last": last[0],
        "quiet_right": whole[1],
        "f1_onset_half_second": event_scores(recording, events, 0.5, offsets=False),
        "f1_onset_second": event_scores(recording, events, 1.0, offsets=False),
        "f1_second": event_scores(recording, events, 1.0, offsets=True),
        "found": len(delays) / max(1, len(recording.truth)),
        "delay_seconds": float(np.median(delays or [np.nan])),
        "onset_late_seconds": float(np.median(onsets_late or [np.nan])),
        "offset_late_seconds": float(np.median(offsets_late or [np.nan])),
        "false_alarms_per_hour": false_alarms(0.0, seconds),
        "false_alarms_first": false_alarms(0.0, edge),
        "false_alarms_last": false_alarms(seconds - edge, seconds),
    }


COLUMNS = {
    "seconds_right": ("seconds right %", 100),
    "seconds_right_first": ("first 10 min %", 100),
    "seconds_right_last": ("last 10 min %", 100),
    "quiet_right": ("quiet seconds right %", 100),
    "f1_onset_half_second": ("onset F1, 0.5 s %", 100),
    "f1_onset_second": ("onset F1, 1 s %", 100),
    "f1_second": ("onset and offset F1, 1 s %", 100),
    "found": ("events found %", 100),
    "delay_seconds": ("delay s", 1),
    "onset_late_seconds": ("onset late s", 1),
    "offset_late_seconds": ("offset late s", 1),
    "false_alarms_per_hour": ("false alarms an hour", 1),
    "false_alarms_first": ("first 10 min", 1),
    "false_alarms_last": ("last 10 min", 1),
}


def exported(run: Path) -> Engine:
    """Return what runs a model as its users do, from an exported file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_bytes(path, build(load_model(run)).SerializeToString())
        return OnnxEngine(path)


def held_out(dataset: Dataset, fold: str, trained: TrainedModel) -> list[Clip]:
    """Return the clips that a validated run held out of the training folds."""
    recipe = trained.training["recipe"]
    clips = [clip for clip in dataset.clips if str(clip.fold) != fold]
    labels = np.array([dataset.classes.index(clip.label) for clip in clips])
    groups = [clip.group for clip in clips]
    mask = validation_mask(labels, groups, recipe["validation_fraction"], recipe["seed"])
    assert mask.sum() == trained.data["validation_clips"]
    return [clip for clip, held in zip(clips, mask, strict=True) if held]


def choose(args: argparse.Namespace, dataset: Dataset, folds: Sequence[str]) -> None:
    """Score every combination of event settings on held-out clips, and print the best first."""
    names = ("window_seconds", "smoothing_seconds", "off_ratio", "merge_gap_seconds")
    grid: list[tuple[float, ...]] = list(
        itertools.product(args.windows, args.smoothing, args.off_ratio, args.gap)
    )
    rows: dict[tuple[float, ...], list[dict[str, float]]] = {values: [] for values in grid}
    for fold in folds:
        run = args.runs / f"fold-{fold}-seed-{args.seed}" / VALIDATED
        engine, part = exported(run), held_out(dataset, fold, load_model(run))
        sample_rate = engine.info.sample_rate
        clips = read_clips(part, sample_rate)
        for snr in args.snr:
            recording = scene(clips, sample_rate, args.minutes, snr, args.seed)
            scored: dict[float, Samples] = {}
            for values in grid:
                settings = EventSettings(**dict(zip(names, values, strict=True)))
                if values[0] not in scored:
                    scored[values[0]] = carried(engine, settings, recording.samples)
                rows[values].append(measures(engine, settings, scored[values[0]], recording))
        print(f"fold {fold} done", flush=True)
    means = {
        values: {key: float(np.nanmean([row[key] for row in some])) for key in COLUMNS}
        for values, some in rows.items()
    }
    shown = (
        *("f1_onset_half_second", "f1_onset_second", "f1_second", "seconds_right"),
        *("quiet_right", "found", "delay_seconds", "onset_late_seconds", "offset_late_seconds"),
        "false_alarms_per_hour",
    )
    print(" ".join(names), "|", " ".join(shown))
    for setting, row in sorted(means.items(), key=lambda item: -item[1]["f1_onset_second"]):
        print(*setting, "|", *(f"{row[key]:.3f}" for key in shown))


def draw_minute(args: argparse.Namespace, dataset: Dataset, fold: str) -> None:
    """Draw one minute of a fold's recording, the tenth, and what was laid into it."""
    engine = exported(args.runs / f"fold-{fold}-seed-{args.seed}")
    sample_rate, settings = engine.info.sample_rate, EventSettings()
    inside = [clip for clip in dataset.clips if str(clip.fold) == fold]
    clips = read_clips(inside, sample_rate)
    recording = scene(clips, sample_rate, 12.0, args.snr[0], args.seed)
    scores = carried(engine, settings, recording.samples)
    events = [(e.onset, e.offset, e.label) for e in found(engine, settings, scores)]
    start, end = 540.0, 600.0

    def within(items: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
        shown = [item for item in items if item[1] > start and item[0] < end]
        return [(onset - start, offset - start, label) for onset, offset, label in shown]

    part = torch.from_numpy(recording.samples[int(start * sample_rate) : int(end * sample_rate)])
    step_seconds = engine.info.step_seconds
    draw_events(
        args.picture,
        LogMel(engine.info.front_end)(part[None])[0].numpy(),
        scores[int(start / step_seconds) : int(end / step_seconds)],
        end - start,
        engine.info.classes,
        {"laid": within(recording.truth), "found": within(events)},
        f"Test clips of fold {fold}, noise {args.snr[0]:g} dB below them, minute 10",
    )


def main() -> None:
    """Run every fold, level and way, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--runs", type=Path, required=True, help="folder of an earmark crossval")
    parser.add_argument("--seed", type=int, default=0, help="of the models and the recordings")
    parser.add_argument("--folds", nargs="+", help="only these")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--snr", type=float, nargs="+", default=[np.inf, 30.0, 20.0, 10.0])
    parser.add_argument(
        "--windows", type=float, nargs="+", default=[EventSettings().window_seconds]
    )
    parser.add_argument("--validation", action="store_true", help="choose settings of events")
    defaults = EventSettings()
    for name in ("smoothing", "gap"):
        default = [getattr(defaults, f"{name}_seconds")]
        parser.add_argument(f"--{name}", type=float, nargs="+", default=default)
    parser.add_argument("--off_ratio", type=float, nargs="+", default=[defaults.off_ratio])
    parser.add_argument("--resets", type=float, nargs="+", default=[10.0, 60.0])
    parser.add_argument("--picture", type=Path, help="draw a minute of the first fold instead")
    parser.add_argument("--out", type=Path, default=Path("docs/results/hours"))
    args = parser.parse_args()
    dataset = read_dataset(args.dataset)
    folds = args.folds or sorted({str(clip.fold) for clip in dataset.clips})
    if args.picture:
        draw_minute(args, dataset, folds[0])
        return
    if args.validation:
        choose(args, dataset, folds)
        return
    rows: list[dict[str, Any]] = []
    for fold in folds:
        engine = exported(args.runs / f"fold-{fold}-seed-{args.seed}")
        sample_rate = engine.info.sample_rate
        inside = [clip for clip in dataset.clips if str(clip.fold) == fold]
        clips = read_clips(inside, sample_rate)
        for snr in args.snr:
            recording = scene(clips, sample_rate, args.minutes, snr, args.seed)
            for window in args.windows:
                settings = EventSettings(window_seconds=window)
                ways: dict[str, Any] = {"carried": carried}
                for seconds in args.resets:
                    ways[f"reset every {seconds:g} s"] = lambda *given, seconds=seconds: (
                        reset_every(seconds, *given)
                    )
                ways["sliding 5 s window"] = sliding
                for name, way in ways.items():
                    begun = time.perf_counter()
                    scores = way(engine, settings, recording.samples)
                    took = time.perf_counter() - begun
                    row = {"fold": fold, "snr_db": snr, "window": window, "way": name}
                    figures = measures(engine, settings, scores, recording)
                    cost = 1000 * took / (len(recording.samples) / sample_rate)
                    rows.append({**row, **figures, "ms_per_second": cost})
                    print(
                        {k: v if isinstance(v, str) else round(v, 3) for k, v in rows[-1].items()}
                    )
    lines = [
        "# Hours of sound",
        "",
        " ".join(__doc__.split("\n\n")[2].split()),
        "",
        f"{args.minutes:g} minutes for each of {len(folds)} fold(s) and each level of noise "
        f"({', '.join(f'{snr:g}' for snr in args.snr)} dB below the clips); means over them.",
        "",
        "Events are found with one set of settings, chosen for the carried state on held-out "
        "clips: its lags do not suit the sliding window, whose offsets come three seconds late, so "
        "onsets are the fairer comparison there. A false alarm is an event where nothing sounds; "
        "they are counted per hour in which nothing does.",
        "",
        "| window s | way | " + " | ".join(name for name, _ in COLUMNS.values()) + " | ms/s |",
        "|---|---|" + "---|" * (len(COLUMNS) + 1),
    ]
    keys = sorted({(row["window"], row["way"]) for row in rows})
    for window, name in keys:
        some = [row for row in rows if (row["window"], row["way"]) == (window, name)]
        cells = [
            f"{scale * np.nanmean([r[k] for r in some]):.1f}" for k, (_, scale) in COLUMNS.items()
        ]
        cells.append(f"{np.mean([r['ms_per_second'] for r in some]):.1f}")
        lines.append(f"| {window:g} | {name} | {' | '.join(cells)} |")
    lines += [
        "",
        *how(
            f"python benchmarks/hours.py path/to/ESC-10 --runs {args.runs}"
            f" --minutes {args.minutes:g} --snr {' '.join(map('{:g}'.format, args.snr))}"
        ),
    ]
    finite = [{k: str(v) if v == np.inf else v for k, v in row.items()} for row in rows]
    write_json(args.out.with_suffix(".json"), {"rows": finite})
    write_text(args.out.with_suffix(".md"), "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
