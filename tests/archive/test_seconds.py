"""A row for each second, of short files too."""

import dataclasses

import numpy as np
import pytest

from earmark import Classifier
from earmark.archive.seconds import SecondScores
from tests.builders import FRONT_END
from tests.runtime.builders import SETTINGS, engine_of, moving_model, sound


@pytest.mark.parametrize(("seconds", "rows"), [(0.4, 1), (1.2, 2), (1.6, 2), (3.0, 3)])
def test_silence_after_a_short_file_adds_no_second(seconds, rows):
    front_end = dataclasses.replace(FRONT_END, min_clip_seconds=1.6)
    trained = dataclasses.replace(moving_model(), front_end=front_end)
    session = Classifier(engine_of(trained, "torch")).stream(settings=SETTINGS)
    made = SecondScores(session)
    session.push(sound()[: round(seconds * FRONT_END.sample_rate)])
    made.add(session.rows)
    every = [session.rows]
    session.finish()
    made.add(session.rows)
    every.append(session.rows)
    assert made.rows.shape == (rows, 3)
    np.testing.assert_array_equal(made.rows.max(0), np.concatenate(every).max(0))
