"""Named recipes: complete, explained, and strict about what they hold."""

import dataclasses
from importlib import resources

import pytest

from earmark.config import FrontEndSettings, NetworkSettings, TrainingSettings
from earmark.config.recipes import read_recipe, recipe_names
from earmark.errors import SettingsError


def test_the_documented_recipe_is_the_defaults():
    recipe = read_recipe("documented")
    assert recipe.front_end == FrontEndSettings()
    assert recipe.training == TrainingSettings()


def test_there_is_a_recipe_for_each_row_and_a_fast_one():
    assert recipe_names() == ["causal", "documented", "fast", "finetune", "lstm", "short"]


@pytest.mark.parametrize("name", ["causal", "documented", "fast", "lstm", "short"])
def test_every_key_stands_in_every_recipe_with_its_meaning(name):
    text = (resources.files("earmark.recipes") / f"{name}.toml").read_text(encoding="utf-8")
    lines = text.splitlines()
    for kind in (FrontEndSettings, NetworkSettings, TrainingSettings):
        for field in dataclasses.fields(kind):
            if field.name == "network":  # a table of its own
                continue
            (place,) = [n for n, line in enumerate(lines) if line.startswith(f"{field.name} = ")]
            assert lines[place - 1].startswith("# "), field.name
            if help_text := field.metadata.get("help"):
                start = place - 1
                while lines[start - 1].startswith("# "):
                    start -= 1
                comment = " ".join(line[2:] for line in lines[start:place])
                assert comment.lower().startswith(help_text.lower()[:40]), field.name


def test_the_recipe_that_starts_from_the_base_explains_what_it_says():
    recipe = read_recipe("finetune")
    assert (recipe.init, recipe.follow_clips, recipe.training.frozen) == ("base", False, True)
    lines = (resources.files("earmark.recipes") / "finetune.toml").read_text("utf-8").splitlines()
    keys = [place for place, line in enumerate(lines) if " = " in line and line[0] != "#"]
    assert len(keys) >= 12
    for place in keys:
        assert lines[place - 1].startswith("# "), lines[place]


def test_no_recipe_trains_a_model_that_cannot_stream():
    assert not any(read_recipe(name).training.network.bidirectional for name in recipe_names())


def test_a_recipe_of_one_s_own_keeps_what_it_does_not_say(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[training]\nnum_epochs = 7\nconvolutions = [[8, 3, 3, 2, 2]]\nstack=1\ndelta=0"
    )
    recipe = read_recipe(str(path))
    assert recipe.name == "mine"
    assert recipe.training.num_epochs == 7
    assert recipe.training.network.convolutions == ((8, 3, 3, 2, 2),)
    assert recipe.training.batch_size == TrainingSettings().batch_size
    assert recipe.front_end == FrontEndSettings()


def test_a_recipe_that_starts_from_a_model_may_set_what_this_leaves_open(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[start]\ninit = 'base'\n[front_end]\n[network]\ndropout = 0.5")
    assert read_recipe(str(path)).training.network.dropout == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nnum_epoch = 7", "did you mean num_epochs"),
        ("[training]\ncolour = 7", "unknown key in .training.: colour; there are batch_size"),
        ("[trainings]\n", "did you mean training"),
        ("[start]\ninit = 3", "init must be of type str"),
        ("[start]\nfollow_clips = 'yes'", "follow_clips must be of type bool"),
        (
            "[start]\ninit = 'base'\n[front_end]\nsample_rate = 16000",
            "init in .start. takes front end and network of base, so sample_rate would not count",
        ),
        ("[start]\ninit = 'base'\n[network]\ndropout = 0.1\nstack = 2", "so stack would not"),
        ("[start]\ninit = 'base'\n[training]\nhidden_size = 9", "so hidden_size would not"),
        ("[start]\nmodel = 'base'", "unknown key in .start.: model"),
        ("[training]\nhead_strength = 0", "head_strength must be above 0"),
        ("[training]\nmax_shift_seconds = -1", "max_shift_seconds must be at least 0"),
        ("training = 3", "must be a table"),
        ("[training]\nnum_epochs = 0", "num_epochs must be at least 1"),
        ("[training]\nnum_epochs = '7'", "num_epochs must be of type int"),
        ("[training]\nconvolutions = [3]", "convolutions must be"),
        ("[training]\nfrequency_lstm = [8, 16]", "frequency_lstm must be"),
        ("[training]\nfrequency_lstm = [8, 16, 0.5]", "frequency_lstm must be"),
        ("[front_end]\n[training]\nfrequency_lstm = [8, 16, 9]", "whose places cover the 40 mels"),
        ("[front_end]\nmels = -1", "mels"),
        ("[training\n", "is not TOML"),
        ("x = " + 100_000 * "[", "is not TOML"),
    ],
)
def test_a_wrong_recipe_is_one_line_that_names_it(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        read_recipe(str(path))
    assert "mine.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[training]\nviews = 7\n", encoding="utf-8-sig")
    assert read_recipe(str(path)).training.crops_per_clip == 7


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(
        SettingsError, match=r"there are causal, documented, fast, finetune, lstm, short"
    ):
        read_recipe("casual")
    with pytest.raises(SettingsError, match="no such file"):
        read_recipe(str(tmp_path / "none.toml"))
