"""A small model as a file, recordings for it, and an engine that works in this process."""

import dataclasses
import datetime

import numpy as np
import pytest
import soundfile

from earmark import Classifier
from earmark.archive.driver import Order, Run
from earmark.archive.engine import Report
from earmark.archive.plan import plan_sources
from earmark.archive.result_set import result_set
from earmark.archive.store import Writing
from earmark.archive.worker import Setup, label_file
from earmark.config import Calibration
from earmark.export.build import build
from earmark.runtime.onnx_engine import OnnxEngine
from earmark.runtime.scorer import StreamScorer
from tests.runtime.builders import SETTINGS, moving_model, sound

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")


class InProcess:
    """An engine of one worker that works here, when it is waited for."""

    bundle, workers = 1, 1

    def __init__(self, setup, label=label_file):
        self.setup, self.label, self.units, self.labelled = setup, label, (), []

    @property
    def idle(self):
        return int(not self.units)

    def start(self, units):
        self.units = tuple(units)

    def wait(self, seconds):
        units, self.units = self.units, ()
        if not units:
            return []
        done = tuple(self.label(unit, self.setup) for unit in units)
        self.labelled += [unit.address for unit in units]
        return [Report(units, done)]

    def stop(self):
        pass


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A file of a model whose scores move with the sound, with thresholds amid them."""
    path = tmp_path_factory.mktemp("model") / "moving.onnx"
    trained = moving_model()
    path.write_bytes(build(trained).SerializeToString())
    scorer = StreamScorer(OnnxEngine(path), SETTINGS)
    rows, _ = scorer.score(sound(), scorer.initial_state().model)
    thresholds = tuple(np.quantile(rows, 0.7, axis=0).tolist())
    trained = dataclasses.replace(trained, calibration=Calibration(1.0, thresholds))
    path.write_bytes(build(trained).SerializeToString())
    return path


@pytest.fixture
def recordings(tmp_path):
    """A folder of seven recordings, three of them in folders of their sites, and two bad ones."""
    folder = tmp_path / "recordings"
    names = ("a.wav", "b.flac", "c.wav", "north/20240131_054500.WAV", "north/x.wav", "south/y.ogg")
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rate = 44_100 if seed % 2 else 8_000
        format = "WAV" if name.endswith("WAV") else None
        soundfile.write(folder / name, sound(3.0, rate, seed), rate, format=format)
    (folder / "empty.wav").touch()
    (folder / "cut.wav").write_bytes((folder / "a.wav").read_bytes()[:9_000])
    return folder


@pytest.fixture
def label(model, tmp_path):
    """Label a folder with an engine in this process; return tally and engine."""

    def run(
        source,
        out=None,
        *,
        engine=InProcess,
        outputs=("events",),
        plan=None,
        checkpoint_seconds=60.0,
        **order,
    ):
        classifier = Classifier.load(model)
        settings = order.pop("settings", SETTINGS)
        made = []

        def start(setup):
            made.append(engine(setup))
            return made[-1]

        with Writing(out or tmp_path / "out") as archive:
            results = result_set(classifier.info, settings)
            run = Run(
                archive,
                results,
                plan or plan_sources([str(source)]),
                Order(**order, about={"command": "test", "engine": "test"}),
            )
            left = run.todo(outputs)
            setup = Setup(
                classifier,
                settings,
                outputs,
                str(run.progress_folder),
                datetime.timezone.utc,
                checkpoint_seconds=checkpoint_seconds,
            )
            tally = run.work(left, setup, start)
        return tally, made[0] if made else None

    return run
