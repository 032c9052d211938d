"""One server for the tests that change nothing of it."""

import pytest

from tests.serve.running import running


@pytest.fixture(scope="session")
def served():
    with running() as (site, address):
        yield site, address


@pytest.fixture
def address(served):
    return served[1]
