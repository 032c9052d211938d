"""The network: the documented contract, padding, streaming."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from earmark.config import POOLINGS
from earmark.errors import ModelError, SettingsError
from earmark.nn.classifier import LSTMClassifier, segment_stride


def small_model(**options):
    torch.manual_seed(0)
    model = LSTMClassifier(5, 8, 2, 3, **options).eval()
    model.mean.uniform_(-1, 1)
    model.scale.uniform_(0.5, 2)
    for part in model.encoder.modules():
        if isinstance(part, torch.nn.BatchNorm2d):  # after training they are not 0 and 1
            part.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return model


def test_the_documented_example():
    model = LSTMClassifier(input_size=40, hidden_size=128, num_layers=2, num_classes=10)
    probabilities = model(torch.randn(16, 100, 40))
    assert probabilities.shape == (16, 10)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(16))
    assert (probabilities >= 0).all()


def test_positional_arguments_keep_their_documented_order():
    model = LSTMClassifier(40, 64, 1, 7, 0.5, True)
    assert model.settings.network.dropout == 0.5
    assert model.settings.network.bidirectional is True
    assert model(torch.randn(2, 9, 40)).shape == (2, 7)


def test_later_options_are_keyword_only():
    values: list[Any] = [40, 64, 1, 7, 0.5, False, 3]
    with pytest.raises(TypeError):
        LSTMClassifier(*values)


def test_layers_are_lstm_then_fully_connected_with_relu_and_dropout():
    kinds = [type(part).__name__ for part in LSTMClassifier(4, 8, 2, 3).head]
    assert kinds == ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert LSTMClassifier(4, 8, 2, 3).lstm.num_layers == 2


def test_a_linear_head_is_one_layer():
    head = LSTMClassifier(4, 8, 2, 3, linear_head=True).head
    assert [type(part).__name__ for part in head] == ["Dropout", "Linear"]
    assert head[-1].weight.shape == (3, 8)


def test_logits_are_finite_where_probabilities_round_to_zero():
    model = small_model()
    with torch.no_grad():
        model.head[-1].bias.copy_(torch.tensor([0.0, 0.0, 500.0]))
    x, target = torch.randn(1, 6, 5), torch.tensor([0])
    loss = torch.nn.functional.cross_entropy(model.logits(x), target)
    assert model(x)[0, 0] == 0.0
    assert loss.isfinite()
    assert loss > 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("input_size", 0), ("hidden_size", -1), ("num_layers", 0), ("num_classes", 0)),
        *(("dropout", 1.0), ("dropout", -0.1), ("stack", 0), ("pooling", "sum"), ("delta", -1)),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    sizes = {"input_size": 4, "hidden_size": 8, "num_layers": 1, "num_classes": 3}
    with pytest.raises(SettingsError, match=name):
        LSTMClassifier(**{**sizes, name: value})


@pytest.mark.parametrize("shape", [(4, 5), (2, 6, 4), (2, 0, 5)])
def test_input_of_another_shape_is_refused(shape):
    with pytest.raises(SettingsError, match="frames"):
        small_model()(torch.zeros(shape))


CONVOLUTIONS = ((4, 5, 3, 2, 2), (6, 3, 3, 2, 1), (7, 3, 1, 1, 2))
BLOCKS = ((3, 3, 3, 1, 0, 0, 1), (6, 4, 3, 2, 2, 1, 0))
OPTIONS: list[dict[str, Any]] = [
    {"pooling": pooling, "stack": stack, "delta": delta, "bidirectional": both}
    for pooling, (stack, delta), both in itertools.product(
        POOLINGS, [(1, 0), (3, 0), (3, 4)], [False, True]
    )
    if not (both and pooling == "last")
] + [
    {"convolutions": CONVOLUTIONS},
    {"convolutions": CONVOLUTIONS[:1], "pooling": "attention"},
    {"frequency_lstm": (3, 3, 2), "stack": 3},
    {"frequency_lstm": (3, 5, 1), "stack": 3, "delta": 4, "pooling": "attention"},
    {
        "blocks": BLOCKS,
        "block_features": 6,
        "block_memory": 9,
        "residual": True,
        "linear_head": True,
    },
    {"stack": 2, "residual": True, "pooling": "attention"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_padding_changes_no_score(options):
    model = small_model(**options)
    clips = [torch.randn(frames, 5) for frames in (4, 8, 20, 31)]
    padded = torch.full((4, 31, 5), 99.0)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    together = model.logits(padded, torch.tensor([len(clip) for clip in clips]))
    alone = torch.cat([model.logits(clip[None]) for clip in clips])
    # float32 sums in another order; measured below 3e-7
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


STREAMING = [options for options in OPTIONS if not options.get("bidirectional")]


@pytest.mark.parametrize("options", STREAMING, ids=str)
@pytest.mark.parametrize("chunk", [1, 2, 7, 100])
def test_chunks_give_the_scores_of_one_pass(options, chunk):
    model = small_model(**options)
    x = torch.randn(2, 50, 5)
    state = model.initial_state(2)
    for start in range(0, 50, chunk):
        so_far = x[:, : start + chunk]
        logits, state = model.step(x[:, start : start + chunk], state)
        if so_far.shape[1] < model.frames_per_step:
            assert logits is None
        else:
            # measured below 4e-7
            torch.testing.assert_close(logits, model.logits(so_far), atol=2e-6, rtol=0)


def pooled_by_hand(model, outputs):
    """Pool `(batch, steps, hidden)` as the settings say, in the plainest way."""
    attention = getattr(model.pooling, "attention", None)
    weights = torch.softmax(attention(outputs), 1) if attention else None
    return {
        "mean": lambda: outputs.mean(1),
        "max": lambda: outputs.amax(1),
        "meanmax": lambda: torch.cat([outputs.mean(1), outputs.amax(1)], 1),
        "last": lambda: outputs[:, -1],
        "attention": lambda: (outputs * weights).sum(1),
    }[model.settings.network.pooling]()


@pytest.mark.parametrize("options", STREAMING, ids=str)
@pytest.mark.parametrize(("chunk", "window"), [(1, 3), (7, 3), (100, 3), (7, 1), (7, 40)])
@torch.no_grad()
def test_every_step_has_the_scores_of_the_window_that_ends_with_it(options, chunk, window):
    model = small_model(**options)
    kept = []
    if options.get("residual"):
        torch.nn.init.normal_(model.lstm.mend.weight)
    model.lstm.register_forward_hook(lambda _module, _given, result: kept.append(result[0]))
    x = torch.randn(2, 50, 5)
    model.logits(x)
    (outputs,) = kept
    state, logits = model.initial_state(2, window), []
    for start in range(0, 50, chunk):
        some, state = model.score_segments(x[:, start : start + chunk], state)
        logits.append(some)
    wanted = [
        model.head(pooled_by_hand(model, outputs[:, max(0, step + 1 - window) : step + 1]))
        for step in range(outputs.shape[1])
    ]
    # measured below 4e-7
    torch.testing.assert_close(torch.cat(logits, 1), torch.stack(wanted, 1), atol=2e-6, rtol=0)


@pytest.mark.parametrize("options", STREAMING, ids=str)
@pytest.mark.parametrize(("clips_per_sequence", "window"), [(1, 3), (3, 1), (3, 5), (6, 4)])
@torch.no_grad()
def test_crops_that_follow_one_another_score_as_the_stream_of_them_does(
    options, clips_per_sequence, window
):
    model = small_model(**options)
    frames = 5 * model.frames_per_step
    x = torch.randn(6, frames, 5)
    whole, segments = model.logits_of_sequences(x, clips_per_sequence, window)
    streams = x.reshape(6 // clips_per_sequence, clips_per_sequence * frames, 5)
    for size, given in ((5, whole[:, None]), (window, segments)):
        every, _ = model.score_segments(streams, model.initial_state(len(streams), size))
        inside = every.reshape(6, 5, -1)[:, size - 1 :: segment_stride(size)]
        torch.testing.assert_close(given, inside[:, : given.shape[1]], atol=2e-6, rtol=0)
    if clips_per_sequence == 1:
        torch.testing.assert_close(whole, model.logits(x), atol=2e-6, rtol=0)


def test_an_empty_chunk_changes_nothing():
    model = small_model(stack=2, delta=3)
    nothing, state = model.step(torch.zeros(1, 0, 5), model.initial_state())
    assert nothing is None
    first, state = model.step(torch.randn(1, 8, 5), state)
    again, after = model.step(torch.zeros(1, 0, 5), state)
    torch.testing.assert_close(first, again)
    assert after.steps == state.steps == 4


@pytest.mark.parametrize("options", [{}, {"convolutions": CONVOLUTIONS}], ids=str)
@torch.no_grad()
def test_a_state_is_a_value_that_later_steps_do_not_change(options):
    model = small_model(**options)
    _, state = model.score_segments(torch.randn(1, 16, 5), model.initial_state(1, 3))
    kept = copy.deepcopy(state)
    model.score_segments(torch.randn(1, 16, 5), state)
    for name in ("beginning", "encoder", "hidden", "cell", "pooled", "recent"):
        torch.testing.assert_close(getattr(kept, name), getattr(state, name))
    assert kept.steps == state.steps


@torch.no_grad()
def test_the_sums_of_a_long_stream_stay_exact():
    """Each block's sum counts whole: one step after the other would be rounded away."""
    model = small_model(pooling="mean")
    x, state = torch.randn(1, 1_000, 5), model.initial_state()
    _, once = model.step(x, state)
    state = once._replace(pooled=once.pooled * 1e5)  # as after a hundred million steps
    _, after = model.step(x, state)
    _, more = model.step(x, after)
    added = (more.pooled - after.pooled).double()
    alone = model.step(x, after._replace(pooled=torch.zeros_like(after.pooled)))[1].pooled.double()
    once_rounded = torch.finfo(torch.float32).eps * after.pooled.abs()
    assert ((added - alone).abs() <= once_rounded).all()  # step by step it was 3.3 of these


def test_later_frames_do_not_change_earlier_scores():
    model = small_model(pooling="last", delta=2)
    x = torch.randn(1, 20, 5)
    changed = x.clone()
    changed[:, 12:] += 5
    torch.testing.assert_close(model.logits(x[:, :12]), model.logits(changed[:, :12]))
    assert not torch.allclose(model.logits(x), model.logits(changed))


def test_a_bidirectional_model_refuses_to_stream():
    with pytest.raises(ModelError, match="bidirectional"):
        small_model(bidirectional=True).initial_state()


@pytest.mark.parametrize("options", [{"stack": 5, "delta": 3}, {"convolutions": CONVOLUTIONS}])
def test_fewer_frames_than_one_step_still_give_a_score(options):
    model, x = small_model(**options), torch.randn(2, 3, 5)
    state = model.initial_state(2)
    for frame in range(3):
        logits, state = model.step(x[:, frame : frame + 1], state)
        assert logits is None
    torch.testing.assert_close(model.finish(state), model.logits(x))
    with pytest.raises(SettingsError, match="fewer frames"):
        model.finish(model.initial_state(2))


def test_with_every_stride_of_frames_a_step_comes_out_at_once():
    model = small_model(convolutions=CONVOLUTIONS)
    assert model.frames_per_step == 4
    _, state = model.step(torch.randn(1, 11, 5), model.initial_state())
    assert state.steps == 2
    _, state = model.step(torch.randn(1, 1, 5), state)
    assert state.steps == 3


@pytest.mark.parametrize(
    "options",
    [
        {"convolutions": [[4, 3, 3, 1]]},
        {"convolutions": [[4, 3, 3, 4, 1]]},
        {"convolutions": [[4, 0, 3, 1, 1]]},
        {"convolutions": [[4, 3, 3, 1, 1.0]]},
        {"convolutions": 3},
        {"convolutions": CONVOLUTIONS, "stack": 2},
        {"convolutions": CONVOLUTIONS, "delta": 2},
    ],
    ids=str,
)
def test_convolutions_that_cannot_be_are_refused(options):
    with pytest.raises(SettingsError, match="convolution"):
        small_model(**options)


def test_sizes_may_be_numpy_s_numbers():
    labels = np.array([0, 4])
    model = LSTMClassifier(5, np.int64(8), 1, labels.max() + 1, dropout=np.float32(0.5))
    assert model.settings.num_classes == 5
    assert type(model.settings.num_classes) is int


NAMES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "stacked": ({"stack": 2, "delta": 1}, []),
    "convolutional": (
        {"convolutions": CONVOLUTIONS[:1], "pooling": "attention"},
        [
            "convolutions.0.convolution.weight",
            *(f"convolutions.0.norm.{name}" for name in ("weight", "bias")),
            *(f"convolutions.0.norm.running_{name}" for name in ("mean", "var")),
            "convolutions.0.norm.num_batches_tracked",
            "attention.weight",
            "attention.bias",
        ],
    ),
    "frequency": (
        {"stack": 2, "frequency_lstm": (2, 3, 2)},
        [
            f"frequency_lstm.{name}_l0{end}"
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            for end in ("", "_reverse")
        ],
    ),
}


@pytest.mark.parametrize("kind", NAMES)
def test_weights_are_saved_under_the_names_they_have_always_had(kind):
    options, names = NAMES[kind]
    model = LSTMClassifier(5, 4, 1, 3, **options)
    lstm = [f"lstm.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    head = [f"head.{layer}.{name}" for layer in (1, 4) for name in ("weight", "bias")]
    state = model.state_dict()
    assert sorted(state) == sorted(["mean", "scale", *names, *lstm, *head])
    assert state["mean"].data_ptr() == model.mean.data_ptr()


@pytest.mark.parametrize("kind", NAMES)
def test_saved_weights_load_strictly_also_as_a_part_of_something_else(kind):
    options, _ = NAMES[kind]
    torch.manual_seed(1)
    first, second = (LSTMClassifier(5, 4, 1, 3, **options).eval() for _ in range(2))
    first.mean.uniform_()
    x = torch.randn(2, 12, 5)
    assert not torch.allclose(first(x), second(x))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(x), second(x), atol=0, rtol=0)
    whole = torch.nn.ModuleDict({"model": first})
    state = whole.state_dict()
    assert "model.mean" in state
    fresh = LSTMClassifier(5, 4, 1, 3, **options).eval()
    torch.nn.ModuleDict({"model": fresh}).load_state_dict(state)
    torch.testing.assert_close(first(x), fresh(x), atol=0, rtol=0)
    with pytest.raises(RuntimeError, match="mean"):
        fresh.load_state_dict({k: v for k, v in first.state_dict().items() if k != "mean"})


def test_a_copied_model_saves_and_loads_its_own_weights():
    model = small_model(pooling="attention")
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.mean.add_(1)
    assert not torch.equal(model.state_dict()["mean"], other.state_dict()["mean"])
    other.load_state_dict(model.state_dict())
    assert torch.equal(model.mean, other.mean)


def test_a_bidirectional_model_does_not_train_on_sequences():
    with pytest.raises(ModelError, match="bidirectional"):
        small_model(bidirectional=True).logits_of_sequences(torch.randn(4, 8, 5), 2, 3)


@torch.no_grad()
def test_a_residual_lstm_begins_as_the_steps_it_reads_and_adds_what_it_learns():
    model = small_model(stack=2, residual=True)
    x = torch.randn(2, 8, 5)
    steps = model.encoder(x)
    torch.testing.assert_close(model.lstm(steps)[0], steps, atol=0, rtol=0)
    torch.nn.init.normal_(model.lstm.mend.weight)
    outputs, _ = model.lstm(steps)
    plain, _ = torch.nn.LSTM.forward(model.lstm, steps)
    torch.testing.assert_close(outputs, steps + model.lstm.mend(plain))


@pytest.mark.parametrize(
    "options", [{"pooling": "max"}, {"pooling": "last"}, {"bidirectional": True}]
)
def test_a_residual_lstm_needs_a_mean_and_one_direction(options):
    with pytest.raises(SettingsError, match="residual must be"):
        small_model(residual=True, **options)
