"""Alerts to a real web server: signed, tried again, never to another address."""

import hashlib
import hmac
import json
import threading

import pytest

from earmark.alerts.outbox import Outbox
from earmark.alerts.sender import DeliveryError, Sender
from earmark.alerts.settings import WebhookSettings
from earmark.alerts.webhook import Webhook
from earmark.errors import SettingsError
from tests.alerts.builders import Hook, alert, free_port, hook, until


def to(url, **options):
    return Webhook(WebhookSettings(name="phone", url=url, timeout_seconds=20.0), **options)


def deliver(target, number=0):
    target.deliver(alert(number, label="Türklingel"), threading.Event())


def test_an_alert_is_posted_as_json_with_its_key_and_signature():
    with hook() as server:
        target = to(server.url, secret="s3cret", authorization="Bearer x", clock=lambda: 1e9)
        deliver(target)
        ((path, headers, body, _),) = server.requests
    assert path == "/hook/secret-path"
    assert json.loads(body) == alert(label="Türklingel")
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "ab-0.1"
    assert headers["Authorization"] == "Bearer x"
    assert headers["Earmark-Timestamp"] == "1000000000"
    # As the documentation tells a receiver to check it.
    signed = hmac.new(b"s3cret", b"1000000000." + body, hashlib.sha256).hexdigest()
    assert headers["Earmark-Signature"] == f"sha256={signed}"


def test_without_secrets_nothing_is_signed():
    with hook() as server:
        deliver(to(server.url))
        headers = server.requests[0][1]
    assert "Earmark-Signature" not in headers
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("answer", "again", "after"),
    [
        ((500, {}), True, 0),
        ((404, {}), True, 0),
        ((429, {"Retry-After": "7"}), True, 7),
        ((503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), True, 0),
        ((400, {}), False, 0),
        ((422, {}), False, 0),
        ((302, {"Location": "http://127.0.0.1:1/elsewhere"}), True, 0),
        ((307, {"Location": "/elsewhere"}), True, 0),
        ((0, {}), True, 0),
    ],
)
def test_what_is_not_taken_says_whether_to_try_again(answer, again, after):
    with hook(answers=[answer]) as server:
        with pytest.raises(DeliveryError) as caught:
            deliver(to(server.url, secret="s3cret"))
        assert len(server.requests) == 1  # no redirect was followed
    assert (caught.value.again, caught.value.after) == (again, after)
    assert "secret" not in str(caught.value)
    assert (f"answers {answer[0]}" if answer[0] else "does not answer") in str(caught.value)


def test_what_a_server_says_is_made_fit_for_a_terminal():
    reason = "No\x1b[2J\x07way\x9b31m" + 200 * "x"
    with hook(answers=[(500, {})], reason=reason) as server, pytest.raises(DeliveryError) as caught:
        deliver(to(server.url))
    assert str(caught.value).startswith("answers 500 No [2J way 31mxxx")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 130


def test_nobody_there_a_silent_one_and_no_tls():
    with pytest.raises(DeliveryError, match="connection refused"):
        deliver(to(f"http://127.0.0.1:{free_port()}/"))
    with hook() as server, pytest.raises(DeliveryError, match="does not answer"):
        deliver(to(server.url.replace("http:", "https:")))


def test_the_address_may_be_a_secret_and_only_its_host_is_ever_said(tmp_path):
    target = Webhook(WebhookSettings(url_env="X"), url="https://h.example:8443/p/t0ken?k=v")
    assert target.name == "webhook (h.example)"
    with pytest.raises(SettingsError) as caught:
        Webhook(WebhookSettings(url_env="X"), url="t0ken")
    assert "t0ken" not in str(caught.value)
    with pytest.raises(SettingsError, match="ca_file"):
        Webhook(WebhookSettings(url="https://x", ca_file=str(tmp_path / "none.pem")))


def test_a_server_that_is_restarted_gets_every_alert_once_and_in_order(tmp_path):
    server, said = Hook(), list[str]()
    box = Outbox(tmp_path / "box.jsonl", "phone", most=100, report=said.append)
    sender = Sender(
        box,
        to(server.url),
        report=said.append,
        max_age=3600.0,
        pause=lambda stop, _: stop.wait(0.05),
    )
    sender.start()
    try:
        for number in range(15):
            if number == 5:
                assert box.wait_until_empty(10)
                server.stop()
            if number == 10:
                assert until(lambda: len(said) == 1)
                first = server
                server = Hook(port=first.port, answers=[(503, {}), (503, {})])
            box.put(f"ab-{number}.1", alert(number))
        assert box.wait_until_empty(20)
        assert first.taken + server.taken == [f"ab-{n}.1" for n in range(15)]
    finally:
        sender.close(0)
        server.stop()
    assert len(said) == 2
    assert said[0].startswith("phone (127.0.0.1): does not answer (")
    assert said[1] == "phone (127.0.0.1): takes alerts again"


def test_an_answer_that_is_lost_brings_the_same_key_again(tmp_path):
    with hook(answers=[(0, {})]) as server:
        box = Outbox(tmp_path / "box.jsonl", "phone", most=100, report=lambda _: None)
        box.put("ab-0.1", alert())
        sender = Sender(
            box, to(server.url), report=lambda _: None, max_age=3600.0, pause=lambda *_: None
        )
        sender.start()
        assert box.wait_until_empty(10)
        sender.close(0)
        keys = [headers["Idempotency-Key"] for _, headers, _, _ in server.requests]
    assert keys == ["ab-0.1", "ab-0.1"]
