"""`earmark cache`: what it shows, the limit, and clearing."""

import pytest

from tests.processes import assert_one_line, call_here


@pytest.fixture
def kept(own, tmp_path):
    """A folder whose cache has the clips of `own`."""
    words = ("prepare", own / "sounds", "--recipe", own / "small.toml")
    done = call_here("earmark", *words, "--cache_dir", "kept", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def cache(folder, *words):
    return call_here("earmark", "cache", "--cache_dir", "kept", *words, cwd=folder)


def test_place_size_and_clips_are_shown_and_cleared(kept):
    done = cache(kept)
    assert done.returncode == 0, done.stderr
    first, _, row = done.stdout.splitlines()
    assert first.startswith(f"{kept / 'kept'}: ")
    assert first.endswith(" of at most 20.0 GB")
    assert row.split()[0] == "30"
    assert row.endswith("sample_rate 8000, n_fft 256, hop_length 160, n_mels 16")
    done = cache(kept, "--clear")
    assert "cleared" in done.stdout
    assert not list((kept / "kept").rglob("*.frames"))
    assert cache(kept).stdout == f"{kept / 'kept'}: 0.0 kB of at most 20.0 GB\n"


def test_a_limit_is_kept(kept):
    assert "at most 5.0 GB" in cache(kept, "--max_size", "5GB").stdout
    assert "at most 5.0 GB" in cache(kept).stdout


def test_a_cache_that_is_not_there_is_empty_and_not_made(tmp_path):
    done = cache(tmp_path)
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("--max_size", "lots"), ("--max_size must be a size of at least 1MB", "'lots'")),
        (("--max_size", "1GB", "--clear"), ("leave out --max_size",)),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, words, parts):
    assert_one_line(cache(tmp_path, *words), *parts)
