"""Which events raise an alert, and which loud sounds are of no class."""

import datetime
import zoneinfo

import pytest

from earmark.alerts.judge import Judge
from earmark.alerts.loud import LONGEST_SECONDS, SETTLE_SECONDS, LoudFinder
from earmark.alerts.settings import Rule
from earmark.live.recorder import HeardBlock
from tests.alerts.builders import START


def at(seconds):
    return START + datetime.timedelta(seconds=seconds)


def raised(judge, *events):
    """The rules that each event raises; an event is (label, score, seconds[, source])."""
    found = []
    for label, score, seconds, *source in events:
        found.append([one.rule.name for one in judge.event(label, score, at(seconds), *source)])
    return found


def test_classes_and_scores():
    judge = Judge(
        [
            Rule("dogs", classes=("Dog bark",), min_score=0.8, cooldown_seconds=0),
            Rule("all", cooldown_seconds=0),
            Rule("loud", louder_than_db=-20.0),
        ]
    )
    assert raised(judge, ("Dog bark", 0.8, 0), ("Dog bark", 0.79, 1), ("Rain", 0.9, 2)) == [
        ["dogs", "all"],
        ["all"],
        ["all"],
    ]


def test_a_cooldown_is_of_a_class_and_a_source_and_a_clock_set_back_ends_it():
    judge = Judge([Rule("r", cooldown_seconds=60.0)])
    assert raised(
        judge,
        ("Dog bark", 0.9, 0),
        ("Dog bark", 0.9, 59.9),
        ("Rain", 0.9, 59.9),
        ("Dog bark", 0.9, 59.9, "other"),
        ("Dog bark", 0.9, 60),
        ("Dog bark", 0.9, -3600),
    ) == [["r"], [], ["r"], ["r"], ["r"], ["r"]]


def test_an_event_under_way_is_judged_once_as_soon_as_its_score_is_enough():
    judge = Judge(
        [
            Rule("soon", min_score=0.8, cooldown_seconds=0),
            Rule("later", min_score=0.8, cooldown_seconds=0, when="offset"),
        ]
    )
    found = [
        [one.rule.name for one in judge.event("Dog", score, at(0), name="a", ended=ended)]
        for score, ended in ((0.7, False), (0.81, False), (0.9, False), (0.9, True))
    ]
    assert found == [[], ["soon"], [], ["later"]]
    # One that began and ended at once, and one whose score was enough in the end alone.
    assert raised(judge, ("Dog", 0.9, 5)) == [["soon", "later"]]
    assert judge.event("Dog", 0.7, at(9), name="b", ended=False) == []
    ended = judge.event("Dog", 0.9, at(9), name="b")
    assert [one.rule.name for one in ended] == ["soon", "later"]


def test_an_event_under_way_counts_once_as_a_hit():
    judge = Judge([Rule("r", hits=2, cooldown_seconds=0)])
    assert not judge.event("Dog", 0.9, at(0), name="a", ended=False)
    assert not judge.event("Dog", 0.9, at(0), name="a")
    (one,) = judge.event("Dog", 0.9, at(4), name="b", ended=False)
    assert one.hits == 2


def test_hits_must_come_within_their_time_and_are_used_up():
    judge = Judge([Rule("r", hits=3, within_seconds=10.0, cooldown_seconds=0.0)])
    times = (0, 6, 11, 12, 13, 14, 15, 30)
    found = [judge.event("Dog bark", 0.9, at(seconds)) for seconds in times]
    assert [bool(one) for one in found] == [False, False, False, True, False, False, True, False]
    assert found[3][0].hits == 3
    assert not judge.event("Rain", 0.9, at(30))


def test_hits_outside_of_the_hours_or_in_a_cooldown_do_not_count():
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")  # 4:30 UTC is 6:30 there
    judge = Judge([Rule("r", hours=("06:31-07:00",), hits=2, cooldown_seconds=100.0)], berlin)
    assert raised(
        judge,
        ("a", 1, 50),
        ("a", 1, 61),
        ("a", 1, 62),
        ("a", 1, 63),
        ("a", 1, 64),
        ("a", 1, 170),
        ("a", 1, 171),
    ) == [[], [], ["r"], [], [], [], ["r"]]


def test_the_machine_s_own_zone_is_the_default():
    local = START.astimezone()
    begin = f"{local:%H:%M}"
    end = f"{local + datetime.timedelta(minutes=1):%H:%M}"
    judge = Judge([Rule("r", hours=(f"{begin}-{end}",), cooldown_seconds=0)])
    assert raised(judge, ("a", 1, 0), ("a", 1, 60)) == [["r"], []]


class Sounds:
    """A finder that is given half seconds: a level, and `*` where a class is accepted."""

    def __init__(self, **options):
        self.finder = LoudFinder(**{"level_db": -20.0, "seconds": 0.5, **options})
        self.end, self.found = 0.0, []

    def feed(self, *levels):
        for level in levels:
            active = isinstance(level, str)
            start, self.end = self.end, self.end + 0.5
            block = HeardBlock(
                "yard",
                start,
                self.end,
                at(self.end),
                float(str(level).strip("*")),
                active,
                {"Rain": 0.1, "Dog bark": self.end / 100},
            )
            if sound := self.finder.step(block):
                self.found.append((sound.onset, sound.offset, sound.level_db))
                self.last = sound
        return self.found


QUIET = [-60] * round(2 * SETTLE_SECONDS)


def test_a_loud_sound_of_no_class_is_found_when_it_is_sure():
    sounds = Sounds()
    assert sounds.feed(-60, -60, -15, -10, *QUIET[:-1]) == []
    assert sounds.feed(-60) == [(1.0, 2.0, -10.0)]
    assert list(sounds.last.scores) == ["Rain", "Dog bark"]
    second = 2.0 + 2 * SETTLE_SECONDS
    later = (second, second + 0.5, -20.0)
    assert sounds.feed(*QUIET, -20, *QUIET) == [(1.0, 2.0, -10.0), later]


@pytest.mark.parametrize("late", range(1, len(QUIET) + 1))
def test_a_class_that_is_accepted_later_takes_the_sound_back(late):
    sounds = Sounds()
    assert sounds.feed(-60, -10, *[-60] * (late - 1), "*-60", *QUIET, *QUIET) == []


def test_what_is_loud_while_a_class_dies_away_belongs_to_it():
    sounds = Sounds()
    assert sounds.feed("*-10", "*-10", -10, -10, -60, -60, *QUIET, *QUIET) == []
    assert len(sounds.feed(-10, *QUIET)) == 1


def test_a_sound_that_is_too_short_is_none_and_an_endless_one_is_told_of():
    assert Sounds(seconds=1.0).feed(-60, -10, *QUIET, *QUIET) == []
    assert Sounds(seconds=1.0).feed(-60, -10, -10, *QUIET) == [(0.5, 1.5, -10.0)]
    sounds = Sounds()
    sounds.feed(*[-10] * 50)
    assert sounds.found == [(0.0, LONGEST_SECONDS, -10.0), (10.0, 20.0, -10.0)]
