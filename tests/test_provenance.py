"""The lines that end a page of figures."""

import re

import pytest

from earmark import provenance
from tests.processes import ROOT


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="is no checkout")
def test_the_commit_is_that_of_the_checkout():
    assert re.fullmatch(r"[0-9a-f]{12}(-dirty)?", provenance.commit())


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.commit() == ""
    assert any(line.startswith("- commit: unknown; 20") for line in provenance.how("x"))


def test_a_page_says_command_machine_commit_and_versions():
    lines = provenance.how("earmark hears", cores=1)
    assert lines[0] == "- command: `earmark hears`"
    assert re.fullmatch(r"- machine: \w+ \w+, 1 of \d+ cores, cpu", lines[1])
    assert "numpy " in lines[3]
