"""Which recipe trains where none is named, and one that follows its clips."""

import numpy as np
import pytest
import soundfile

from earmark import bundled
from earmark.config.recipes import read_recipe
from earmark.data.readers import Clip
from earmark.data.survey import Survey, survey_clips
from earmark.training.choice import choose_recipe, describe_choice, fit_to_clips

LONG, WORDS = Survey(5.0, 5.2, 44_100), Survey(0.5, 0.8, 8_000)


@pytest.mark.parametrize(
    ("survey", "given", "name"),
    [
        (LONG, (), "finetune"),
        (None, (), "finetune"),
        (WORDS, (), "short"),
        (Survey(1.0, 1.0, 8_000), ("seed", "balance"), "finetune"),
        (LONG, ("num_epochs",), "documented"),
        (WORDS, ("hidden_size",), "documented"),
    ],
)
def test_length_and_what_is_asked_for_choose(survey, given, name):
    assert choose_recipe(survey, given, "documented") == name


def test_without_a_base_nothing_starts_from_it(monkeypatch, tmp_path):
    monkeypatch.setitem(bundled.FOLDERS, bundled.BASE, tmp_path)
    assert choose_recipe(LONG, (), "fast") == "fast"


def test_a_recipe_that_follows_its_clips_has_their_rate_and_length():
    recipe = read_recipe("short")
    fitted = fit_to_clips(recipe, WORDS)
    before, after = recipe.front_end, fitted.front_end
    assert (after.sample_rate, after.high_hz) == (8_000, 4_000)
    for name in ("n_fft", "win_length", "hop_length"):
        lengths = [getattr(one, name) / one.sample_rate for one in (before, after)]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.01), name
    assert fitted.training.clip_seconds == 0.8
    assert fitted.training.max_shift_seconds == pytest.approx(0.12)
    fitted.check_fit()
    assert fit_to_clips(recipe, Survey(0.5, 0.8, 48_000)).front_end == before
    assert fit_to_clips(recipe, Survey(0.5, 0.8, 4_000)).front_end == after
    assert fit_to_clips(recipe, None) == recipe
    fast = read_recipe("fast")
    assert fit_to_clips(fast, WORDS) == fast


def test_the_choice_is_said_with_its_reason():
    line = describe_choice(read_recipe("finetune"), LONG)
    assert line.startswith("recipe finetune, for clips of 5.00 s in the middle: starts from the")
    assert "learns from the clips alone" in describe_choice(read_recipe("short"), WORDS)


def test_headers_say_lengths_and_rates_and_what_is_none_is_passed_over(tmp_path):
    clips = []
    for number, (seconds, rate) in enumerate([(0.25, 8_000), (0.5, 16_000), (1.0, 8_000)]):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.zeros(round(seconds * rate)), rate)
        clips.append(Clip(path, "a", str(number)))
    negative = tmp_path / "long.wav"
    soundfile.write(negative, np.zeros(80_000), 8_000)
    (tmp_path / "torn.wav").write_bytes(b"RIFF")
    more = [Clip(negative, None, "n"), Clip(tmp_path / "torn.wav", "a", "t")]
    more.append(Clip(tmp_path / "gone.wav", "a", "g"))
    found = survey_clips([*clips, *more])
    assert found is not None
    assert (found.median_seconds, found.sample_rate) == (0.5, 8_000)
    assert found.long_seconds == pytest.approx(0.95)
    assert survey_clips(more) is None
