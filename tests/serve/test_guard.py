"""Who may come: names, origins, tokens, prefixes; and the headers of every answer."""

import re

import pytest
from websockets.exceptions import InvalidStatus

from earmark.errors import SettingsError
from earmark.serve.settings import Access, is_loopback
from tests.serve.running import Client, ask, fault, running

TOKEN = "a-token-for-tests"


def test_the_default_is_this_machine_alone():
    assert Access().loopback
    assert [is_loopback(name) for name in ("localhost", "127.0.0.2", "::1")] == [True] * 3
    assert not is_loopback("example.org")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_elsewhere_needs_a_token(host):
    with pytest.raises(SettingsError, match="needs a token"):
        Access(host=host)
    Access(host=host, token=TOKEN)


@pytest.mark.parametrize("token", ["short", "with spaces in it", 'quo"ted-token', "a;b;c;d;e;f"])
def test_a_token_that_a_cookie_cannot_hold_is_refused(token):
    with pytest.raises(SettingsError, match="8 or more letters"):
        Access(token=token)


def test_other_names_are_refused_as_after_dns_rebinding(address):
    answer = ask(address, "GET", "/api/model", host="evil.example")
    assert (answer[0], fault(answer)) == (421, "host")
    handshake = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec_websocket_version": "13",
        "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    assert ask(address, "GET", "/api/stream", host="evil.example", **handshake)[0] == 403
    assert ask(address, "GET", "/api/stream", **handshake)[0] == 101
    port = address.rsplit(":", 1)[1]
    assert ask(address, "GET", "/api/model", host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1:1", "null", "http://["]
)
def test_pages_of_other_origins_are_refused(address, origin):
    answer = ask(address, "POST", "/api/files", b"x", origin=origin)
    assert (answer[0], fault(answer)) == (403, "origin")
    with pytest.raises(InvalidStatus, match="403"):
        Client(address, additional_headers={"Origin": origin})


def test_the_pages_own_origin_may_and_one_that_the_operator_names():
    access = Access(port=0, origins=("https://other.example",))
    with running(access) as (_, address):
        for origin in (f"http://{address}", "https://other.example"):
            with Client(address, {}, additional_headers={"Origin": origin}) as client:
                assert client.receive()["type"] == "ready"
        with Client(
            address,
            {},
            additional_headers={"Origin": "http://front:80", "X-Forwarded-Host": "front:80"},
        ) as client:
            assert client.receive()["type"] == "ready"


def test_a_token_is_needed_on_http_and_websockets():
    with running(Access(port=0, token=TOKEN)) as (_, address):
        for path in ("/", "/api/model", "/metrics", "/api/openapi.json", "/?token=wrong-token"):
            answer = ask(address, "GET", path)
            assert (answer[0], fault(answer)) == (401, "token")
        status, headers, body = ask(address, "GET", "/", accept="text/html,*/*")
        assert (status, headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert b"<p>open the address that earmark serve printed; it holds the token.</p>" in body
        assert ask(address, "POST", "/api/files", b"x")[0] == 401
        with pytest.raises(InvalidStatus, match="403"):
            Client(address)
        with pytest.raises(InvalidStatus, match="403"):
            Client(address, path=f"/api/stream?token={TOKEN}")
        assert ask(address, "GET", "/healthz")[0] == 200
        assert ask(address, "GET", "/api/model", authorization=f"Bearer {TOKEN}")[0] == 200

        status, headers, _ = ask(address, "GET", f"/?token={TOKEN}")
        cookie = headers["set-cookie"]
        assert (status, headers["location"]) == (303, "./")
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        kept = cookie.split(";")[0]
        assert ask(address, "GET", "/", cookie=kept)[0] == 200
        with Client(address, {}, additional_headers={"Cookie": kept}) as client:
            assert client.receive()["type"] == "ready"


def test_a_prefix_of_a_proxy_may_be_left_on_and_bounds_the_cookie():
    with running(Access(port=0, token=TOKEN)) as (_, address):
        for name in ("x_forwarded_prefix", "x_ingress_path"):
            headers = {name: "/sounds/here", "authorization": f"Bearer {TOKEN}"}
            assert ask(address, "GET", "/sounds/here/api/model", **headers)[0] == 200
            assert ask(address, "GET", "/api/model", **headers)[0] == 200
        made = ask(address, "GET", f"/?token={TOKEN}", x_forwarded_prefix="/sounds")
        assert "Path=/sounds;" in made[1]["set-cookie"]
        for odd in ("/a b", "//x", "/a;b", "http://x", "/<script>"):
            made = ask(address, "GET", f"/?token={TOKEN}", x_forwarded_prefix=odd)
            assert "Path=/;" in made[1]["set-cookie"]


def test_refusals_are_counted_by_rule_over_http_and_websockets():
    access = Access(port=0, token=TOKEN)
    with running(access) as (_, address):
        shown = {"authorization": f"Bearer {TOKEN}"}

        def counts():
            text = ask(address, "GET", "/metrics", **shown)[2].decode()
            found = re.findall(r'earmark_refused_total\{rule="(\w+)"\} ([\d.]+)', text)
            return {rule: float(number) for rule, number in found}

        assert counts() == {}
        assert ask(address, "GET", "/api/model")[0] == 401
        assert ask(address, "GET", "/clips/x.wav", **shown)[0] == 404
        with pytest.raises(InvalidStatus):
            Client(address)
        with Client(address, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            client.say({"type": "ping"})
            assert client.refusal()[0] == "start"
        assert counts() == {"token": 2, "clip": 1, "start": 1}


def test_every_answer_has_a_strict_policy(address):
    for path in ("/", "/api/model", "/nothing", "/clips/x.wav"):
        headers = ask(address, "GET", path)[1]
        policy = headers["content-security-policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert not any("unsafe" in rule or "*" in rule for rule in policy)
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
