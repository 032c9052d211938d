"""Results of earlier versions under the names of now."""

from earmark.evaluation.upgrade import upgrade_results


def test_results_of_now_stay_as_they_are():
    now = {"clips": [], "none_of_these": {"coverage": 1.0}, "recorded_negatives": {"clips": 1}}
    assert upgrade_results(now) == {**now, "test_negatives": 0}


def test_names_of_before_become_those_of_now():
    before = {"clips": [], "none_of_these": {"test_clips_named": 0.5, "backgrounds": 3}}
    after = upgrade_results(before)
    assert after["none_of_these"] == {"coverage": 0.5, "negatives": 3}
    assert after["recorded_negatives"] is None
    unknown = upgrade_results({"left_out": ["dog"], "known_named": 0.5, "unknown_named": 0.1})
    assert unknown == {"left_out": ["dog"], "known_accepted": 0.5, "unknown_accepted": 0.1}
