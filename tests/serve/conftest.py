"""One server for the tests that change nothing of it, and servers as processes."""

import re

import pytest

from tests.processes import start
from tests.serve.running import running


@pytest.fixture(scope="session")
def served():
    with running() as (site, address):
        yield site, address


@pytest.fixture
def address(served):
    return served[1]


@pytest.fixture
def serve(tmp_path):
    """Start servers; return their addresses."""
    started = []

    def begin(*words):
        process = start("earmark", "serve", "--port", "0", *words, cwd=tmp_path)
        started.append(process)
        line = process.stdout.readline().decode()
        found = re.search(r"(https?)://([^/]+)/(\S*)", line)
        assert found, line + process.stderr.read().decode()
        return process, *found.groups()

    yield begin
    for process in started:
        process.kill()
        process.communicate()
