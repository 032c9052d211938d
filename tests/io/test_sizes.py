"""Sizes are read and written as people write them."""

import pytest

from earmark.errors import SettingsError
from earmark.io.sizes import parse_size, show_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GB", 20 * 10**9),
        ("500 mb", 5 * 10**8),
        ("1.5gb", 1_500_000_000),
        ("1.5e9", 1_500_000_000),
        ("2T", 2 * 10**12),
        ("20000000", 2 * 10**7),
        ("9b", 9),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1..5GB", "nan", "1e400", "5 PB", "much"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(SettingsError, match="is no size; give one as 500MB or 2GB"):
        parse_size(text)


def test_sizes_are_shown_in_a_unit_that_fits():
    assert [show_size(n) for n in (500, 2.5e6, 79_300_000, 20e9, 5.3e13)] == [
        "0.5 kB",
        "2.5 MB",
        "79.3 MB",
        "20.0 GB",
        "53.0 TB",
    ]
