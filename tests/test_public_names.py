"""The names of the package: all there, light to import, and what was renamed says so."""

import subprocess
import sys

import pytest

import earmark


@pytest.mark.parametrize("name", earmark.__all__)
def test_every_public_name_is_there(name):
    assert getattr(earmark, name) is not None
    assert name in dir(earmark)


def test_every_error_is_an_earmark_error():
    for name in earmark.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(earmark, name), earmark.EarmarkError)


def test_an_earlier_name_says_what_it_is_called_now():
    with pytest.raises(AttributeError, match=r"earmark\.Recognizer is called earmark\.Classifier"):
        earmark.Recognizer  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        earmark.Nothing  # noqa: B018


def test_names_that_need_no_torch_load_none():
    names = "load, train, cross_validate, to_dataframe, Classifier, Session, SessionPool, Event"
    code = f"import sys; from earmark import {names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
