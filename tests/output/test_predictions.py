"""Predictions in each format; where a clip is none of these, each says so."""

import csv
import io
import json
import sys

import numpy as np
import pytest

from earmark.decision.policy import NONE, Policy
from earmark.decision.prediction import Prediction
from earmark.errors import EarmarkError
from earmark.output.dataframe import to_dataframe
from earmark.output.predictions import FORMATS, prediction_writer

CLASSES = ("Rain", "Sea, waves", "Rooster")
POLICY = Policy((0.546, 0.322, 0.322))


def prediction(path, *scores):
    return Prediction.of_scores(path, 5.0, CLASSES, np.array(scores, np.float32), POLICY)


PLAIN = prediction("plain.wav", 0.9, 0.06, 0.04)
SECOND = prediction("second.wav", 0.5, 0.4, 0.1)  # Rain stays below its threshold
NOTHING = prediction("nothing.wav", 0.5, 0.3, 0.2)


def written(format, **options):
    lines: list[str] = []
    writer = prediction_writer(format, lines.append, classes=CLASSES, **options)
    writer.open()
    for one in (PLAIN, SECOND, NOTHING):
        writer.write(one)
        writer.next_file(5.0)
    writer.close(["gone.wav: no such file"])
    return lines


def test_a_table_has_the_label_first_and_then_the_most_likely():
    assert written("table", top=2) == [
        "plain.wav  Rain 0.900  Sea, waves 0.060",
        "second.wav  Sea, waves 0.400  Rain 0.500",
        f"nothing.wav  {NONE}  (Rain 0.500  Sea, waves 0.300)",
    ]


def test_csv_has_the_score_of_the_label_and_none_where_there_is_none():
    rows = list(csv.DictReader(io.StringIO("\n".join(written("csv")))))
    assert [row["prediction"] for row in rows] == ["Rain", "Sea, waves", NONE]
    assert [row["score"] for row in rows] == ["0.900000", "0.400000", ""]
    assert [row["Rain"] for row in rows] == ["0.900000", "0.500000", "0.500000"]
    assert list(rows[0])[:4] == ["path", "seconds", "prediction", "score"]
    assert tuple(rows[0])[4:] == CLASSES


@pytest.mark.parametrize(("threshold", "said"), [(0.0, None), (0.7, 0.7)])
def test_json_is_one_document(threshold, said):
    (text,) = written("json", threshold=threshold, model={"name": "m"})
    document = json.loads(text)
    assert document["model"] == {"name": "m"}
    assert document["threshold"] == said
    assert document["failures"] == ["gone.wav: no such file"]
    first, second, nothing = document["predictions"]
    assert first["prediction"] == first["most_likely"] == "Rain"
    assert (second["prediction"], second["most_likely"]) == ("Sea, waves", "Rain")
    assert second["score"] == pytest.approx(0.4)
    assert (nothing["prediction"], nothing["score"]) == (NONE, None)
    assert nothing["most_likely"] == "Rain"


def test_there_are_three_formats():
    assert FORMATS == ("table", "json", "csv")
    assert all(written(format) for format in FORMATS)


def test_without_pandas_a_data_frame_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EarmarkError, match="pip install pandas"):
        to_dataframe([PLAIN])


def test_a_data_frame_has_a_row_for_each_and_a_column_for_each_class():
    pandas = pytest.importorskip("pandas")
    frame = to_dataframe([PLAIN, NOTHING])
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["prediction"]) == ["Rain", NONE]
    assert frame["Rain"].tolist() == pytest.approx([0.9, 0.5])
    assert frame["score"].isna().tolist() == [False, True]
    assert len(to_dataframe(PLAIN)) == 1
