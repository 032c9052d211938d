"""The rules file: all that it may say, and one line for what it may not."""

import dataclasses

import pytest

from earmark.alerts.rules_file import check_classes, read_rules, zone_of
from earmark.alerts.secrets import read_secret, secret_variables
from earmark.alerts.settings import (
    CommandSettings,
    GeneralSettings,
    MqttSettings,
    Rule,
    WebhookSettings,
)
from earmark.errors import SettingsError
from tests.processes import ROOT

RULE = '[[rule]]\nname = "dogs"\n'
TARGET = '[[command]]\nname = "log"\ncommand = ["true"]\n'
ALL = """
time_zone = "Europe/Berlin"
clip_address = "http://pi:8765"

[[rule]]
name = "dogs"
classes = ["Dog bark"]
min_score = 0.8
hours = ["22-6:30", "12:00-13:00"]
hits = 2
within_seconds = 30
cooldown_seconds = 0
send = ["mqtt", "phone"]

[[rule]]
name = "loud"
louder_than_db = -20
loud_seconds = 1

[mqtt]
host = "broker"

[[webhook]]
name = "phone"
url = "https://phone.example/x"

[[webhook]]
name = "other"
url_env = "OTHER_URL"

[command]
command = ["notify-send", "a b"]
"""


@pytest.fixture
def read(tmp_path):
    def made(text):
        path = tmp_path / "rules.toml"
        path.write_text(text, encoding="utf-8")
        return read_rules(path)

    return made


def test_everything_that_a_file_may_say(read):
    settings = read(ALL)
    assert settings.targets == ("mqtt", "phone", "other", "command")
    dogs, loud = settings.rules
    assert (dogs.classes, dogs.hits, dogs.within_seconds) == (("Dog bark",), 2, 30.0)
    assert (loud.louder_than_db, loud.send) == (-20.0, ())
    assert [rule.name for rule in settings.rules_of("phone")] == ["dogs", "loud"]
    assert [rule.name for rule in settings.rules_of("command")] == ["loud"]
    assert str(zone_of(settings)) == "Europe/Berlin"
    assert settings.commands[0].command == ("notify-send", "a b")
    assert zone_of(read(RULE + TARGET)) is None


def test_the_documented_file_is_read_and_every_key_is_documented(read):
    page = (ROOT / "docs" / "how-to" / "alerts.md").read_text(encoding="utf-8")
    settings = read(page.split("```toml\n")[1].split("```")[0])
    assert settings.targets == ("mqtt", "phone", "desktop")
    for kind in (Rule, GeneralSettings, MqttSettings, WebhookSettings, CommandSettings):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in page, f"{field.name} of {kind.__name__}"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("rule = [", "is not TOML"),
        ("rule = " + 100_000 * "[", "is not TOML"),
        ("", "has no rule"),
        (RULE, "has no target"),
        (TARGET + "[[rule]]\nhits = 2\n", "rule 1: has no name"),
        (TARGET + RULE + 'clases = ["x"]', "did you mean classes?"),
        ("rules = 1\n" + RULE + TARGET, "unknown key: rules; did you mean rule?"),
        (RULE + "rule = 1", "unknown key in [[rule]]: rule"),
        (RULE + TARGET + RULE, "two rules are called 'dogs'"),
        (RULE + TARGET + TARGET, "two targets are called 'log'"),
        (RULE + "hits = 0\n" + TARGET, "rule 'dogs': hits must be at least 1, got 0"),
        (RULE + "hits = 1.5\n" + TARGET, "hits must be of type int"),
        (RULE + "min_score = 1.5\n" + TARGET, "min_score"),
        (RULE + "min_score = nan\n" + TARGET, "finite"),
        (RULE + "classes = 'x'\n" + TARGET, "list of strings"),
        (RULE + "when = 'begin'\n" + TARGET, "when must be onset or offset, got 'begin'"),
        (RULE + "hours = ['22']\n" + TARGET, "hours must be as \"22:00-06:00\", got '22'"),
        (RULE + "hours = ['22-25']\n" + TARGET, "hours"),
        (RULE + "hours = ['22:70-23']\n" + TARGET, "hours"),
        (RULE + "louder_than_db = 20\n" + TARGET, "louder_than_db"),
        (RULE + "louder_than_db = -9\nclasses=['x']\n" + TARGET, "make two rules"),
        (RULE + "send = ['mqtt']\n" + TARGET, "sends to 'mqtt', but the targets are log"),
        (RULE + "[mqtt]\npassword = 'x'", "did you mean password_env?"),
        (RULE + "[mqtt]\npassword_env = 'X'", "needs its username"),
        (RULE + "[mqtt]\nqos = 0", "qos must be 1 or 2"),
        (RULE + "[mqtt]\ntopic = 'a/#'", "topic"),
        (RULE + "[mqtt]\nnode = 'a b'", "node"),
        (RULE + "[mqtt]\nca_file = 'x'", "tls = true"),
        (RULE + "[[webhook]]\nname = 'x'", "webhook 'x': url is missing"),
        (RULE + "[webhook]\nurl = 'ftp://x'", "http:// or https://"),
        (RULE + "[webhook]\nurl = 'http://x'\nurl_env = 'Y'", "say the same"),
        (RULE + "[webhook]\nurl='http://x'\nsecret_env='Y'\nsecret_file='z'", "say the same"),
        (RULE + "[command]\ncommand = []", "command must be a list of words"),
        (RULE + "[command]\ncommand = 'rm -r x'", "command must be a list of strings"),
        ("webhook = 3\n" + RULE, "webhook must be a table"),
        ("time_zone = 'Mars/Base'\n" + RULE + TARGET, "Mars/Base"),
        ("max_age_hours = 0\n" + RULE + TARGET, "max_age_hours"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(read, tmp_path, text, part):
    with pytest.raises(SettingsError) as caught:
        read(text)
    assert part in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'rules.toml'}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingsError, match="no such file"):
        read_rules(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe4"')
    with pytest.raises(SettingsError, match="not UTF-8"):
        read_rules(tmp_path / "latin.toml")


def test_a_class_that_the_model_does_not_have(read):
    settings = read(RULE + 'classes = ["Dog brak"]\n' + TARGET)
    with pytest.raises(SettingsError, match="no class 'Dog brak'; did you mean 'Dog bark'"):
        check_classes(settings, ["Dog bark", "Rain"])
    with pytest.raises(SettingsError, match="did you mean 'Dog'"):
        check_classes(read(RULE + 'classes = ["Dog bark"]\n' + TARGET), ["Dog", "Wind"])
    with pytest.raises(SettingsError, match="it has 2: 'Rain', 'Wind'"):
        check_classes(settings, ["Rain", "Wind"])


@pytest.mark.parametrize(
    ("hours", "inside", "outside"),
    [
        ("22:00-06:00", (22 * 60, 0, 359), (360, 720, 1319)),
        ("8-17:30", (480, 1049), (479, 1050)),
        ("18-24", (1080, 1439), (0, 1079)),
        ("24:00-1", (0, 59), (60, 1439)),
        ("6-6", (0, 359, 360, 1439), ()),
    ],
)
def test_hours_may_go_over_midnight(hours, inside, outside):
    rule = Rule("x", hours=(hours,))
    assert all(rule.holds_at(minute) for minute in inside)
    assert not any(rule.holds_at(minute) for minute in outside)


def test_secrets_come_from_variables_and_files_and_stand_in_no_message(tmp_path):
    (tmp_path / "secret").write_text(" s3cret \n", encoding="utf-8")
    (tmp_path / "empty").write_text("\n", encoding="utf-8")
    (tmp_path / "two").write_text("s3cret\nlines", encoding="utf-8")

    def of(**options):
        settings = WebhookSettings(url="http://x", **options)
        return read_secret(settings, "secret", tmp_path, {"KEY": "k3y", "NONE": ""})

    assert of(secret_file="secret") == "s3cret"
    assert of(secret_env="KEY") == "k3y"
    assert of() == ""
    for options, part in (
        ({"secret_env": "OTHER"}, "OTHER, which is not set"),
        ({"secret_env": "NONE"}, "not set"),
        ({"secret_file": "missing"}, "no such file"),
        ({"secret_file": "empty"}, "is empty"),
        ({"secret_file": "two"}, "one line"),
    ):
        with pytest.raises(SettingsError, match=part) as caught:
            of(**options)
        assert "s3cret" not in str(caught.value)
    assert secret_variables(MqttSettings(username="u", password_env="P")) == {"P"}
