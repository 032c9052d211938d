"""Where the cache lies, and how large it may grow."""

import sys
from pathlib import Path

import pytest

from earmark.data.cache import place
from earmark.data.cache.place import (
    DEFAULT_MAX_BYTES,
    cache_folder,
    parse_limit,
    read_limit,
    write_limit,
)
from earmark.errors import SettingsError


def test_a_folder_that_is_asked_for_comes_before_the_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "variable"))
    assert cache_folder(tmp_path / "flag") == tmp_path / "flag"
    assert cache_folder() == tmp_path / "variable"


@pytest.mark.parametrize(
    ("system", "variables", "expected"),
    [
        ("linux", {}, "{home}/.cache/earmark"),
        ("linux", {"XDG_CACHE_HOME": "/somewhere"}, "/somewhere/earmark"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "{home}/.cache/earmark"),  # to be ignored: XDG
        ("darwin", {}, "{home}/Library/Caches/earmark"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/earmark/Cache"),
        ("win32", {}, "{home}/AppData/Local/earmark/Cache"),
    ],
)
def test_each_system_has_its_own_place(monkeypatch, system, variables, expected):
    for name in ("EARMARK_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", system)
    assert cache_folder() == Path(expected.format(home=Path.home()))


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def no_home():
        raise RuntimeError

    for name in ("EARMARK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(SettingsError, match="set EARMARK_CACHE"):
        cache_folder()


@pytest.mark.parametrize("text", ["", "much", "1 KB", "0"])
def test_what_is_no_limit_is_refused(text):
    assert parse_limit("20GB") == 20 * 10**9
    with pytest.raises(SettingsError, match="--max_size must be a size"):
        parse_limit(text)


def test_the_limit_is_kept_and_a_damaged_one_is_the_usual_one(tmp_path):
    assert read_limit(tmp_path) == DEFAULT_MAX_BYTES
    write_limit(tmp_path, 5 * 10**6)
    assert read_limit(tmp_path) == 5 * 10**6
    for damage in ("", "[]", '{"max_bytes": "5"}', '{"max_bytes": -1}', '{"max_bytes": true}'):
        place.limit_file(tmp_path).write_text(damage)
        assert read_limit(tmp_path) == DEFAULT_MAX_BYTES
