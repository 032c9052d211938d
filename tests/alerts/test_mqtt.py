"""Alerts to a real mosquitto, with restarts; what Home Assistant is told."""

import json
import threading

import pytest

from earmark.alerts.discovery import Topics, slug, told_of
from earmark.alerts.mqtt import Mqtt
from earmark.alerts.outbox import Outbox
from earmark.alerts.sender import Sender, StoppedError
from earmark.alerts.settings import MqttSettings, Rule
from earmark.errors import SettingsError
from tests.alerts.builders import CLASSES, Broker, Listener, alert, free_port, needs_broker, until

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install earmark[serve]")
RULES = (Rule("dogs", classes=("Dog bark", "Türklingel")), Rule("Big bang!", louder_than_db=-9.0))


def topics(**options):
    return Topics(MqttSettings(node="yard", **options), RULES, CLASSES)


def test_there_is_a_topic_for_each_class_of_the_rules_and_each_loud_rule():
    made = topics(topic="home/sound/")
    assert made.status == "home/sound/yard/status"
    assert made.alerts == {
        "Dog bark": "home/sound/yard/dog_bark",
        "Türklingel": "home/sound/yard/turklingel",
        "Big bang!": "home/sound/yard/big_bang",
    }
    assert made.of_alert(alert()) == "home/sound/yard/dog_bark"
    assert made.of_alert(alert(rule="Big bang!", label="none of these")).endswith("/big_bang")
    assert made.of_alert(alert(label="Of Earlier Rules")).endswith("yard/of_earlier_rules")
    assert told_of([Rule("all")], CLASSES) == list(CLASSES)


def test_names_that_look_alike_get_topics_of_their_own():
    rules = [Rule("x", classes=("Dog", "dog!", "DOG", "犬", "猫", "Status"))]
    made = Topics(MqttSettings(node="n"), rules, ())
    words = [topic.rpartition("/")[2] for topic in made.alerts.values()]
    assert words == ["dog", "dog_2", "dog_3", "class", "class_2", "status_alerts"]
    assert slug("Ünïcode 9-x") == "unicode_9_x"


def test_home_assistant_is_told_of_a_device_with_two_entities_a_class():
    told = topics().discovery()
    assert len(told) == 6
    sound = told["homeassistant/binary_sensor/yard_dog_bark/sound/config"]
    score = told["homeassistant/sensor/yard_dog_bark/score/config"]
    assert (sound["name"], score["name"]) == ("Dog bark", "Dog bark score")
    assert sound["device_class"] == "sound"
    assert sound["off_delay"] == 30
    assert sound["state_topic"] == score["state_topic"] == "earmark/yard/dog_bark"
    assert sound["json_attributes_topic"] == sound["state_topic"]
    assert sound["availability_topic"] == "earmark/yard/status"
    assert sound["device"] == score["device"]
    assert len({one["unique_id"] for one in told.values()}) == 6
    assert "off_delay" not in topics(send_off=True).discovery()[next(iter(told))]
    assert topics(discovery_prefix="").discovery() == {}


def test_without_paho_the_remedy_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.client", None)
    with pytest.raises(SettingsError, match=r"pip install earmark\[serve\]"):
        Mqtt(MqttSettings(), topics(), report=print)


@pytest.fixture
def broker(tmp_path):
    made = Broker(tmp_path)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def listener(broker):
    made = Listener(broker.port)
    yield made
    made.stop()


class Line:
    """An outbox, a sender and a broker's client, as a desk puts them together."""

    def __init__(self, path, port, **options):
        self.said = list[str]()
        settings = MqttSettings(host="127.0.0.1", port=port, node="yard", **options)
        self.target = Mqtt(
            settings,
            Topics(settings, RULES, CLASSES),
            report=self.said.append,
            reconnect_seconds=(1, 1),
        )
        self.box = Outbox(path, "mqtt", most=100, report=self.said.append)
        self.sender = Sender(self.box, self.target, report=self.said.append, max_age=3600.0)
        self.sender.start()

    def put(self, *numbers, **changes):
        for number in numbers:
            self.box.put(f"ab-{number}.1", alert(number, **changes))


@needs_broker
def test_an_alert_comes_with_its_discovery_and_availability(tmp_path, broker, listener):
    line = Line(tmp_path / "box.jsonl", broker.port)
    line.put(0, label="Türklingel")
    assert line.box.wait_until_empty(15)
    assert until(lambda: listener.ids)
    (content,) = listener.on("earmark/yard/turklingel")
    assert content == {**alert(label="Türklingel"), "state": "ON"}
    assert listener.on("earmark/yard/status")[-1] == "online"
    told = {
        one.topic: json.loads(one.payload)
        for one in listener.messages
        if one.topic.startswith("homeassistant/")
    }
    assert told == topics().discovery()
    assert line.sender.close(0) == 0
    assert until(lambda: listener.on("earmark/yard/status")[-1] == "offline")
    # What a broker keeps for those who come later: the entities and that nobody is here.
    later = Listener(broker.port, topic="+/yard/status")
    assert later.client.is_connected()
    later.stop()
    assert line.said == []


@needs_broker
@pytest.mark.parametrize("qos", [1, 2])
def test_a_broker_that_is_restarted_gets_every_alert_once_and_in_order(
    tmp_path, broker, listener, qos
):
    line = Line(tmp_path / "box.jsonl", broker.port, qos=qos)
    line.put(*range(5))
    assert line.box.wait_until_empty(15)
    assert until(lambda: len(listener.ids) == 5)
    listener.settle()  # or the broker would hand them on again
    broker.stop()
    line.put(*range(5, 10))
    assert until(lambda: line.said)
    broker.start()
    line.put(*range(10, 15))
    assert line.box.wait_until_empty(30)
    assert until(lambda: len(listener.ids) >= 15)
    line.sender.close(0)
    assert listener.ids == [f"ab-{n}.1" for n in range(15)]
    assert "alerts wait for it" in line.said[0]
    assert line.said[1:] == [f"mqtt (127.0.0.1:{broker.port}): is back"]


@needs_broker
def test_a_kill_says_offline_and_the_next_start_delivers_what_waited(tmp_path, broker, listener):
    line = Line(tmp_path / "box.jsonl", broker.port)
    line.put(0)
    assert line.box.wait_until_empty(15)
    client = line.target._client
    line.sender._stop.set()
    line.sender._thread.join()
    client._sock_close()  # as the system closes it when the process is killed
    client.loop_stop()
    assert until(lambda: "offline" in listener.on("earmark/yard/status"))
    line.put(1)
    again = Line(tmp_path / "box.jsonl", broker.port)
    assert again.box.wait_until_empty(15)
    assert until(lambda: len(listener.ids) == 2)
    again.sender.close(0)
    assert listener.ids == ["ab-0.1", "ab-1.1"]
    assert again.said == [
        f"mqtt (127.0.0.1:{broker.port}): 1 alert(s) of an earlier run wait; they go first"
    ]


@needs_broker
def test_off_may_be_said_too(tmp_path, broker, listener):
    line = Line(tmp_path / "box.jsonl", broker.port, send_off=True, off_delay_seconds=1.0)
    line.put(0)
    topic = "earmark/yard/dog_bark"
    assert until(lambda: [one["state"] for one in listener.on(topic)][-2:] == ["ON", "OFF"])
    assert listener.on(topic)[-1] == {"state": "OFF", "score": 0.91, "id": "ab-0.1"}
    line.sender.close(0)


def test_a_broker_that_is_not_there_holds_nothing_up(tmp_path):
    line = Line(tmp_path / "box.jsonl", free_port())
    line.put(0)
    assert until(lambda: line.said)
    assert "cannot be reached; alerts wait for it" in line.said[0]
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        line.target.deliver(alert(1), stop)
    assert line.sender.close(0) == 1
