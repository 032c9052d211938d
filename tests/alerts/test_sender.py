"""Delivering again and again, with a clock that is not waited for."""

import pytest

from earmark.alerts.outbox import Outbox
from earmark.alerts.sender import LONGEST_WAIT, DeliveryError, Sender, StoppedError
from tests.alerts.builders import alert, until


class Fake:
    """A target that does what it is told to: None takes an alert, an error is raised."""

    name = "phone"

    def __init__(self, *answers, then=None, tries=0):
        self.answers, self.then, self.tries = list(answers), then, tries
        self.asked, self.got, self.closed = 0, [], 0

    def start(self):
        pass

    def deliver(self, alert, stop):
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else self.then
        if isinstance(answer, Exception):
            raise answer
        self.got.append(alert["id"])

    def close(self):
        self.closed += 1


class Bench:
    def __init__(self, path, target, waiting=1, **options):
        self.said = list[str]()
        self.waits = list[float]()
        self.target = target
        self.box = Outbox(path, "phone", most=1000, report=self.said.append)
        for number in range(waiting):
            self.box.put(f"ab-{number}.1", alert(number))
        self.sender = Sender(
            self.box,
            target,
            report=self.said.append,
            pause=lambda stop, seconds: self.waits.append(seconds),
            **{"max_age": 3600.0, **options},
        )

    def run(self):
        self.sender.start()
        assert self.box.wait_until_empty(20)
        assert self.sender.close(0) == 0
        assert self.target.closed == 1
        return self.target.got


def away(count, **options):
    return [DeliveryError("does not answer", **options) for _ in range(count)]


def test_alerts_go_out_in_their_order(tmp_path):
    bench = Bench(tmp_path / "box.jsonl", Fake(), waiting=5)
    assert bench.run() == [f"ab-{n}.1" for n in range(5)]
    assert bench.waits == []
    assert bench.said == ["phone: 5 alert(s) of an earlier run wait; they go first"]


def test_a_target_that_is_away_is_tried_later_and_later_and_said_once(tmp_path):
    bench = Bench(tmp_path / "box.jsonl", Fake(*away(9)), waiting=2)
    assert bench.run() == ["ab-0.1", "ab-1.1"]
    for wait, least in zip(bench.waits, [1, 2, 4, 8, 16, 30, 30, 30, 30], strict=True):
        assert 0.8 * least <= wait <= least <= LONGEST_WAIT
    assert bench.said[1:] == [
        "phone: does not answer; alerts wait and are tried again",
        "phone: takes alerts again",
    ]


def test_a_target_may_ask_for_more_time_but_not_for_ever(tmp_path):
    bench = Bench(tmp_path / "box.jsonl", Fake(*away(1, after=90.0), *away(1, after=1e9)))
    bench.run()
    assert bench.waits == [90.0, 3600.0]


def test_an_alert_that_is_refused_or_was_tried_often_enough_makes_way(tmp_path):
    bench = Bench(tmp_path / "a.jsonl", Fake(*away(1, again=False)), waiting=2)
    assert bench.run() == ["ab-1.1"]
    assert "ab-0.1 is given up after 1 tries" in bench.said[1]
    bench = Bench(tmp_path / "b.jsonl", Fake(*away(4), tries=3), waiting=2)
    assert bench.run() == ["ab-1.1"]
    assert "ab-0.1 is given up after 3 tries" in bench.said[2]


def test_an_alert_that_has_waited_too_long_is_dropped(tmp_path):
    bench = Bench(tmp_path / "box.jsonl", Fake(), max_age=-1.0)
    assert bench.run() == []
    assert "too old" in bench.said[1]


def test_a_fault_of_ours_stops_nothing(tmp_path):
    bench = Bench(tmp_path / "box.jsonl", Fake(KeyError("x")), waiting=2)
    assert bench.run() == ["ab-0.1", "ab-1.1"]
    assert "failed with KeyError ('x'); please report it" in bench.said[1]


@pytest.mark.parametrize("answer", [StoppedError("phone"), *away(1)])
def test_what_cannot_be_delivered_waits_for_the_next_start(tmp_path, answer):
    path = tmp_path / "box.jsonl"
    bench = Bench(path, Fake(then=answer), waiting=2)
    bench.sender._pause = type(bench.sender._stop).wait
    bench.sender.start()
    assert until(lambda: bench.target.asked)
    assert bench.sender.close(0.05) == 2
    assert Bench(path, Fake(), waiting=0).run() == ["ab-0.1", "ab-1.1"]
