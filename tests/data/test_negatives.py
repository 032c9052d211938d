"""What means no class."""

import pytest

from earmark.data.negatives import means_no_class


@pytest.mark.parametrize(
    "name",
    [
        *("none", "None", "none of these", "NONE_OF_THESE", "none-of  these", "background"),
        *("Background", "_background_noise_", "background noise", "noise", "__noise__", " Noise "),
    ],
)
def test_names_of_no_class(name):
    assert means_no_class(name)


@pytest.mark.parametrize("name", ["dog", "noises", "white noise", "background dog", "", "no"])
def test_names_of_classes(name):
    assert not means_no_class(name)
