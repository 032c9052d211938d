"""Alerts to a real mosquitto, with restarts; what Home Assistant is told."""

import json
import signal
import threading
import time

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
    assert sound["state_topic"] == score["state_topic"] == "earmark/yard/dog_bark"
    assert sound["json_attributes_topic"] == sound["state_topic"]
    assert sound["availability_topic"] == "earmark/yard/status"
    assert sound["device"] == score["device"]
    assert len({one["unique_id"] for one in told.values()}) == 6
    assert "off_delay" not in sound
    (sound, *_) = topics(send_off=False).discovery().values()
    assert sound["off_delay"] == 30
    assert topics(discovery_prefix="").discovery() == {}
    assert topics(discovery_prefix="").discovery_filters() == []


def test_what_home_assistant_was_told_of_before_is_known_for_its_own():
    made = topics()
    (topic, content), *_ = (
        Topics(MqttSettings(node="yard"), [Rule("x")], ["Owl"]).discovery().items()
    )
    told = json.dumps(content).encode()
    assert made.is_obsolete(topic, told)
    assert not made.is_obsolete(next(iter(made.discovery())), told)
    assert not Topics(MqttSettings(node="barn"), RULES, CLASSES).is_obsolete(topic, told)
    for junk in (b"", b"no JSON", b"[]", b'{"device": 1}', b"\xff"):
        assert not made.is_obsolete(topic, junk)


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

    def __init__(self, path, port, *, rules=RULES, **options):
        self.said = list[str]()
        self.settings = MqttSettings(**{"host": "127.0.0.1", "node": "yard", **options}, port=port)
        self.target = Mqtt(
            self.settings,
            Topics(self.settings, rules, CLASSES),
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
    rest, content = listener.on("earmark/yard/turklingel")
    assert rest == {"state": "OFF"}
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


def retained(port):
    """What a broker has kept for those who come later, by topic."""
    later = Listener(port, name="later")
    later.client.publish("end", b"x", 1)  # comes after all that was kept
    assert until(lambda: "x" in later.on("end"))
    later.stop()
    return {one.topic: one.payload.decode() for one in later.messages if one.retain}


TOPIC = "earmark/yard/dog_bark"


@needs_broker
def test_who_comes_later_finds_a_class_off_or_on(tmp_path, broker, listener):
    def found():
        return json.loads(retained(broker.port).get(TOPIC, "{}"))

    line = Line(tmp_path / "box.jsonl", broker.port, off_delay_seconds=2.0)
    assert until(lambda: found() == {"state": "OFF"})
    assert until(lambda: listener.on("earmark/yard/status"))
    order = [one.topic for one in listener.messages]
    assert order.index(TOPIC) < order.index("earmark/yard/status")  # or an old ON would be seen
    line.put(0)
    assert until(lambda: found() == {**alert(0), "state": "ON"})
    assert until(lambda: found() == {**alert(0), "state": "OFF"})
    broker.stop()
    (tmp_path / "mosquitto.db").unlink()
    broker.start()
    assert until(lambda: found() == {**alert(0), "state": "OFF"})
    line.sender.close(0)


@needs_broker
def test_a_class_stays_on_when_the_connection_is_lost(tmp_path, broker, listener):
    line = Line(tmp_path / "box.jsonl", broker.port)
    line.put(0)
    assert line.box.wait_until_empty(15)
    assert until(lambda: listener.ids)
    listener.settle()  # or the broker would hand them on again
    broker.stop()
    broker.start()
    assert until(lambda: len(line.said) == 2)  # it is gone, it is back
    line.put(1)
    assert until(lambda: len(listener.ids) == 2)
    of_class = [one for one in listener.messages if one.topic == TOPIC and not one.retain]
    assert [json.loads(one.payload)["state"] for one in of_class] == ["OFF", "ON", "ON"]
    line.sender.close(0)
    assert until(lambda: listener.on(TOPIC)[-1] == {**alert(1), "state": "OFF"})


@needs_broker
def test_home_assistant_may_turn_classes_off_by_itself(tmp_path, broker, listener):
    line = Line(tmp_path / "box.jsonl", broker.port, send_off=False, off_delay_seconds=1.0)
    line.put(0)
    assert until(lambda: listener.ids)
    assert json.loads(retained(broker.port)[TOPIC]) == {"state": "OFF"}  # the ON is not kept
    time.sleep(1.5)
    line.sender.close(0)
    assert [one["state"] for one in listener.on(TOPIC)] == ["OFF", "ON"]


@needs_broker
def test_an_alert_on_its_way_when_the_connection_broke_is_not_turned_off(tmp_path, broker):
    # More entities than the client sends at a time, so that the alert overtakes them.
    classes = tuple(f"Class {n}" for n in range(30))
    line = Line(tmp_path / "box.jsonl", broker.port, rules=(Rule("all", classes=classes),))
    topic = "earmark/yard/class_29"
    assert until(lambda: topic in retained(broker.port))
    broker.process.send_signal(signal.SIGSTOP)  # it takes the alert no more, and is still connected
    line.put(0, label="Class 29")
    assert until(lambda: line.target._sending)
    broker.process.kill()
    broker.stop()
    broker.start()
    line.put(1, label="Class 0")  # comes after all that was announced
    assert line.box.wait_until_empty(30)
    assert json.loads(retained(broker.port)[topic]) == {**alert(label="Class 29"), "state": "ON"}
    line.sender.close(0)


@needs_broker
def test_entities_that_no_rule_names_any_more_are_taken_away(tmp_path, broker):
    before = Line(tmp_path / "a.jsonl", broker.port)
    other = Line(tmp_path / "b.jsonl", broker.port, node="barn")
    assert before.target._connected.wait(15)
    assert other.target._connected.wait(15)
    before.sender.close(0)
    rules = (Rule("bang", louder_than_db=-9.0), Rule("dogs", classes=("Dog bark",)))
    line = Line(tmp_path / "a.jsonl", broker.port, rules=rules)
    words = {"yard_bang", "yard_dog_bark", "barn_dog_bark", "barn_turklingel", "barn_big_bang"}

    def told():
        kept = retained(broker.port)
        return {topic.split("/")[2] for topic in kept if topic.startswith("homeassistant/")}

    assert until(lambda: told() == words)
    # Another model is taken, which has other classes.
    line.target.take_topics(Topics(line.settings, (Rule("all"),), ("Rooster",)))
    assert until(lambda: told() == {"yard_rooster", *(word for word in words if "barn" in word)})
    assert json.loads(retained(broker.port)["earmark/yard/rooster"]) == {"state": "OFF"}
    line.sender.close(0)
    other.sender.close(0)


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
