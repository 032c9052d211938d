"""Which league a figure belongs to, and whether its test is clean."""

from earmark.evaluation.league import describe_league, find_league

BASE = {"dataset": "ESC-50, its CC0 and CC BY clips", "started_from": {"dataset": "AudioSet"}}
OWN = {"dataset": "my sounds", "started_from": BASE}


def test_a_model_from_nothing_is_of_the_dataset_alone():
    league = find_league({"dataset": "ESC-10"}, ["001 - Dog bark/1-100032-A.ogg"])
    assert league == {"name": "dataset alone", "knows": [], "clean": True}
    assert describe_league(league) == ["League: from the dataset alone."]


def test_a_base_is_named_with_all_that_it_knows():
    league = find_league(OWN, ["kettle/a.wav"])
    assert league["clean"]
    (line,) = describe_league(league)
    assert line == (
        "League: with a base, whose knowledge is from ESC-50, its CC0 and CC BY clips; AudioSet."
    )


def test_clips_of_esc50_are_known_whatever_the_dataset_is_called():
    for name in ("kettle/1-100032-A.ogg", "audio/5-9032-A-0.wav", "3-1187-B2.ogg"):
        assert describe_league(find_league(OWN, ["x/a.wav", name]))[1].startswith("Not clean"), name
    assert find_league({"dataset": "d", "started_from": {"dataset": "d0"}}, ["1-1-A.ogg"])["clean"]
