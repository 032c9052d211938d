"""The card of the model `base`: what it works out itself."""

from tools.base_card import latency_ms
from tools.base_network import ALL, FRONT_END, network

from earmark.config import ModelSettings, to_json


def test_latency_is_that_of_the_inputs_held_back():
    for delays, expected in (({1: 1, 3: 1, 5: 2, 6: 2}, 380), ({1: 1, 3: 1}, 60), ({}, 0)):
        settings = ModelSettings(128, 50, network(delays, kept=ALL))
        model = {"front_end": to_json(FRONT_END), "model": to_json(settings)}
        assert latency_ms(model) == expected
