"""Settings are checked where they enter and come back from JSON unchanged."""

import dataclasses
import json

import pytest

from earmark.config import (
    LAGS_SECONDS,
    POOLINGS,
    Calibration,
    EventSettings,
    FrontEndSettings,
    ModelSettings,
    NetworkSettings,
    TrainingSettings,
    frames_per_step,
    from_json,
    to_json,
)
from earmark.errors import SettingsError

NETWORK = NetworkSettings(stack=1, delta=0)
MODEL = ModelSettings(64, 10, NETWORK)
CONVOLUTIONS = ((4, 3, 3, 2, 2), (5, 3, 5, 1, 2))
BLOCKS = ((3, 3, 3, 1, 0, 0, 1), (6, 4, 5, 2, 2, 1, 0))
EXAMPLES = [
    FrontEndSettings(),
    FrontEndSettings(44_100, 2048, 882, 128, 0.0, 22_050.0, 1e-10),
    FrontEndSettings(4_000, 2, 1, 1, 0.0, 2_000.0, 1e-6),
    MODEL,
    ModelSettings(1, 1, NetworkSettings(1, 1, 0.0, True, 3, 2, "last")),
    ModelSettings(40, 3, NetworkSettings(8, 1, stack=1, delta=0, convolutions=CONVOLUTIONS)),
    ModelSettings(40, 3, NetworkSettings(8, 1, stack=4, frequency_lstm=(8, 40, 1))),
    ModelSettings(
        40, 3, NetworkSettings(stack=1, delta=0, blocks=BLOCKS, residual=True, linear_head=True)
    ),
    Calibration(),
    Calibration(1.5, (0.25, 0.5), 0.02, 40, 240),
    TrainingSettings(),
    TrainingSettings(seed=2**63 - 1, validation_fraction=0.5, mixup_probability=1.0, patience=1),
]
WRONG_VALUES = [
    *[(FrontEndSettings(), "sample_rate", value) for value in (3_999, 384_001, 0, -1)],
    *[(FrontEndSettings(), "n_fft", value) for value in (1, 0, -5)],
    *[(FrontEndSettings(), "hop_length", value) for value in (0, 1025, -1)],
    *[(FrontEndSettings(), "n_mels", value) for value in (0, -1)],
    *[(FrontEndSettings(), "low_hz", value) for value in (-0.1,)],
    *[(FrontEndSettings(), "high_hz", value) for value in (20.0, 16_000.1, 0.0)],
    *[(FrontEndSettings(), "floor", value) for value in (0.0, -1e-6)],
    *[(FrontEndSettings(), "win_length", value) for value in (1025, 639, -1)],
    *[(FrontEndSettings(), "pre_emphasis", value) for value in (1.0, -0.1)],
    *[(FrontEndSettings(), "mel_scale", value) for value in ("htk", "")],
    *[(FrontEndSettings(), "min_clip_seconds", value) for value in (-0.1, 60.1)],
    *[(MODEL, name, 0) for name in ("input_size", "num_classes")],
    *[(NETWORK, name, 0) for name in ("hidden_size", "num_layers", "stack")],
    *[(NETWORK, "dropout", value) for value in (-0.1, 1.0, 1.5)],
    *[(NETWORK, "delta", -1), (NETWORK, "pooling", "median"), (NETWORK, "pooling", "")],
    *[
        (TrainingSettings(), name, 0)
        for name in (
            "batch_size",
            "num_epochs",
            "learning_rate",
            "patience",
            "crops_per_clip",
            "clip_seconds",
            "validation_fraction",
            "max_grad_norm",
            "clips_per_sequence",
            "segment_seconds",
        )
    ],
    *[
        (TrainingSettings(), name, -1)
        for name in (
            "seed",
            "warmup",
            "weight_decay",
            "ema_decay",
            "label_smoothing",
            "gain",
            "mixup_probability",
            "random_eq",
            "mel_shift",
            "time_mask",
            "mel_mask",
            "noise",
            "stretch",
            "segment_loss_weight",
        )
    ],
    *[(NETWORK, "frequency_lstm", value) for value in ((8, 16), (8, 0, 4), (8, 16, 8, 1))],
    (NetworkSettings(stack=1, delta=0, convolutions=CONVOLUTIONS), "frequency_lstm", (8, 16, 8)),
    *[
        (NETWORK, "blocks", (block,))
        for block in (
            (3, 3, 3, 1, 0, 0),
            (0, 3, 3, 1, 0, 0, 0),
            (3, 3, 4, 1, 0, 0, 0),
            (3, 3, 3, 5, 0, 0, 0),
            (3, 3, 3, 1, -1, 0, 0),
            (3, 3, 3, 1, 0, 2, 0),
        )
    ],
    (NetworkSettings(), "blocks", BLOCKS),
    (NetworkSettings(stack=1, delta=0, convolutions=CONVOLUTIONS), "blocks", BLOCKS),
    (NetworkSettings(stack=1, delta=0, frequency_lstm=(8, 16, 8)), "blocks", BLOCKS),
    *[(NETWORK, name, 0) for name in ("block_features", "block_memory")],
    (NetworkSettings(pooling="max"), "residual", True),
    (NetworkSettings(bidirectional=True), "residual", True),
    (TrainingSettings(), "clips_per_sequence", 5),  # does not divide the batch of 32
    (TrainingSettings(network=NetworkSettings(bidirectional=True)), "clips_per_sequence", 2),
    (TrainingSettings(network=NetworkSettings(bidirectional=True)), "segment_loss_weight", 0.5),
    *[(TrainingSettings(), name, 1.0) for name in ("ema_decay", "label_smoothing")],
    (TrainingSettings(), "warmup", 1.0),
    (TrainingSettings(), "seed", 2**63),
    (TrainingSettings(), "validation_fraction", 0.51),
    (TrainingSettings(), "mixup_probability", 1.01),
    (TrainingSettings(), "balance", 1.01),
    (TrainingSettings(), "negatives_probability", 1.0),
    *[(TrainingSettings(), name, -0.1) for name in ("pitch", "balance", "negatives_probability")],
    *[(Calibration(), "temperature", value) for value in (0.0, -1.0)],
    (Calibration(), "thresholds", (0.5, 1.5)),
    (Calibration(), "false_alarm_rate", 1.0),
]
WRONG_TYPES = [
    *[("sample_rate", value) for value in (32_000.0, "32000", None, True, [32_000])],
    *[("floor", value) for value in ("1e-6", None, True, float("nan"), float("inf"))],
]


def change(settings, name, value):
    return dataclasses.replace(settings, **{name: value})


@pytest.mark.parametrize("settings", EXAMPLES, ids=repr)
def test_settings_come_back_from_json_text_unchanged(settings):
    text = json.dumps(to_json(settings))
    assert from_json(type(settings), json.loads(text)) == settings


def test_a_network_written_before_it_had_blocks_is_read():
    values = to_json(NETWORK)
    later = ("blocks", "block_features", "block_memory", "residual", "linear_head")
    before = {name: value for name, value in values.items() if name not in later}
    assert from_json(NetworkSettings, before) == NETWORK


def test_events_take_the_lags_of_the_model_where_none_are_given():
    assert EventSettings(threshold=0.4).with_lags((1.1, 0.5)) == EventSettings(
        threshold=0.4, onset_lag_seconds=1.1, offset_lag_seconds=0.5
    )
    given = EventSettings(offset_lag_seconds=0.0).with_lags((1.1, 0.5))
    assert (given.onset_lag_seconds, given.offset_lag_seconds) == (1.1, 0.0)
    assert given.with_lags() is given


def test_a_model_written_before_it_had_lags_is_read():
    values = to_json(MODEL)
    del values["lags_seconds"]
    assert from_json(ModelSettings, values).lags_seconds == LAGS_SECONDS


@pytest.mark.parametrize("lags", [(0.5,), (-1.0, 0.5), (0.1, 0.2, 0.3)])
def test_lags_are_two_and_not_below_zero(lags):
    with pytest.raises(SettingsError, match="lags_seconds"):
        dataclasses.replace(MODEL, lags_seconds=lags)


def test_a_step_takes_the_stem_s_stride_and_those_of_the_blocks():
    assert frames_per_step(NetworkSettings(stack=1, delta=0, blocks=BLOCKS)) == 4
    assert frames_per_step(NetworkSettings(stack=1, delta=0, convolutions=CONVOLUTIONS)) == 2
    assert frames_per_step(NetworkSettings(stack=3)) == 3


def test_a_front_end_written_before_it_had_a_window_of_its_own_is_read():
    values = to_json(FrontEndSettings(n_mels=64))
    later = ("win_length", "symmetric_window", "pre_emphasis", "mel_scale", "min_clip_seconds")
    before = {name: value for name, value in values.items() if name not in later}
    assert from_json(FrontEndSettings, before) == FrontEndSettings(n_mels=64)


def test_a_frame_reaches_back_to_the_rest_of_its_window():
    settings = FrontEndSettings(16_000, 512, 160, high_hz=8_000)
    assert (settings.window_samples, settings.context_samples) == (512, 352)
    kaldi = dataclasses.replace(settings, win_length=400, pre_emphasis=0.97)
    assert (kaldi.window_samples, kaldi.context_samples) == (400, 241)


def test_a_clip_is_filled_up_to_its_seconds_and_at_least_to_a_frame():
    assert FrontEndSettings().min_clip_samples == 640
    assert FrontEndSettings(min_clip_seconds=1.6).min_clip_samples == 51_200
    assert FrontEndSettings(min_clip_seconds=0.001).min_clip_samples == 640


def test_json_keeps_the_order_of_the_fields():
    names = [field.name for field in dataclasses.fields(FrontEndSettings)]
    assert list(to_json(FrontEndSettings())) == names


@pytest.mark.parametrize(("settings", "name", "value"), WRONG_VALUES, ids=repr)
def test_a_value_out_of_range_is_one_line_that_names_setting_and_value(settings, name, value):
    with pytest.raises(SettingsError) as caught:
        change(settings, name, value)
    message = str(caught.value)
    assert message.startswith(f"{name} must be ")
    assert message.endswith(repr(type(getattr(settings, name))(value)))
    assert "\n" not in message


@pytest.mark.parametrize(("name", "value"), WRONG_TYPES, ids=repr)
def test_a_value_of_the_wrong_type_is_refused(name, value):
    with pytest.raises(SettingsError, match=f"{name} must be "):
        change(FrontEndSettings(), name, value)


@pytest.mark.parametrize(("name", "value"), [("bidirectional", 1), ("pooling", 3)])
def test_a_number_is_neither_a_switch_nor_a_name(name, value):
    with pytest.raises(SettingsError, match=f"{name} must be of type"):
        change(NETWORK, name, value)


def test_a_whole_number_too_large_for_a_float_is_refused():
    values = {**to_json(FrontEndSettings()), "high_hz": 10**400}
    with pytest.raises(SettingsError, match="high_hz"):
        from_json(FrontEndSettings, json.loads(json.dumps(values)))


def test_a_whole_number_is_taken_where_a_float_is_meant():
    settings = FrontEndSettings(low_hz=50, high_hz=8_000)
    assert (settings.low_hz, settings.high_hz) == (50.0, 8_000.0)
    assert type(settings.low_hz) is float
    assert settings == FrontEndSettings(low_hz=50.0, high_hz=8_000.0)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_is_accepted(pooling):
    assert change(NETWORK, "pooling", pooling).pooling == pooling


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FrontEndSettings().n_mels = 3  # type: ignore[misc]


def test_frames_per_second_follow_from_rate_and_hop():
    assert FrontEndSettings().frames_per_second == 50.0
    assert FrontEndSettings(44_100, 2048, 441, high_hz=20_000).frames_per_second == 100.0


@pytest.mark.parametrize("kind", [FrontEndSettings, TrainingSettings])
def test_json_that_lacks_a_field_or_has_another_is_refused_by_name(kind):
    values = to_json(kind())
    first = next(iter(values))
    with pytest.raises(SettingsError, match=f"{kind.__name__} lacks {first}"):
        from_json(kind, {key: value for key, value in values.items() if key != first})
    with pytest.raises(SettingsError, match=f"{kind.__name__} has unknown 3, colour"):
        from_json(kind, {**values, "colour": "red", "3": 4})


@pytest.mark.parametrize("values", [None, [], "sample_rate", 3], ids=repr)
def test_json_that_is_no_object_is_refused(values):
    with pytest.raises(SettingsError, match="FrontEndSettings must be an object, got"):
        from_json(FrontEndSettings, values)


def test_json_values_are_checked_like_arguments():
    with pytest.raises(SettingsError, match="n_mels must be at least 1, got 0"):
        from_json(FrontEndSettings, {**to_json(FrontEndSettings()), "n_mels": 0})
