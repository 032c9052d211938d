"""Connections that say nothing, or leave in the middle of a request."""

import contextlib
import logging
import logging.handlers
import socket
from queue import SimpleQueue

import pytest

from earmark.serve import server
from earmark.serve.settings import Access
from tests.alerts.builders import until
from tests.serve.running import ask, limits, running

HALF = "POST /api/labels HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\n"


def connected(address):
    name, port = address.split(":")
    return socket.create_connection((name, int(port)), timeout=20)


def test_silent_connections_take_the_place_of_nobody_who_asks(monkeypatch):
    monkeypatch.setattr(server, "_OTHERS", 40)
    with running(Access(port=0, limits=limits(sessions=1))) as (_, address), many(address, 60):
        assert ask(address, "GET", "/healthz")[0] == 200


def test_one_address_has_so_many_connections(monkeypatch):
    monkeypatch.setattr(server, "_HTTP_OF_ONE", 3)
    monkeypatch.setattr(server, "network_of", lambda host: host)
    with running() as (_, address):
        with many(address, 3) as open_ones:
            for one in open_ones:
                one.sendall(HALF.format(address).encode())
            with connected(address) as last, contextlib.suppress(ConnectionError):
                assert last.recv(1) == b""
        assert until(lambda: answers(address))


def answers(address):
    try:
        return ask(address, "GET", "/healthz")[0] == 200
    except OSError:
        return False


@contextlib.contextmanager
def many(address, number):
    with contextlib.ExitStack() as held:
        yield [held.enter_context(connected(address)) for _ in range(number)]


@pytest.mark.parametrize("sent", ["", "[{"])
def test_a_small_request_that_stands_still_is_given_up(sent):
    bounded = Access(port=0, limits=limits(body_seconds=0.2))
    with running(bounded) as (_, address), connected(address) as half:
        half.sendall((HALF.format(address) + sent).encode())
        assert b"408" in half.recv(100)


@pytest.mark.parametrize("path", ["labels", "files"])
def test_a_client_that_leaves_is_no_fault_of_the_server(path):
    log = logging.getLogger("uvicorn.error")
    said: SimpleQueue[logging.LogRecord] = SimpleQueue()
    keeper = logging.handlers.QueueHandler(said)
    with running() as (_, address):
        log.addHandler(keeper)
        try:
            with connected(address) as half:
                half.sendall((HALF.format(address).replace("labels", path) + "[{").encode())
            assert ask(address, "GET", "/healthz")[0] == 200  # which came after it
        finally:
            log.removeHandler(keeper)
    assert said.empty()
