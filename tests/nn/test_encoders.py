"""Encoders: any chunks give the steps of one pass, nothing looks ahead, state is a value."""

import copy
import math

import pytest
import torch

from earmark.config import NetworkSettings
from earmark.errors import ModelError
from earmark.nn.encoders import (
    CausalConvolution,
    ConvolutionalEncoder,
    FrequencyEncoder,
    MobileEncoder,
    StackedEncoder,
    build_encoder,
)
from earmark.nn.encoders.inverted_residual import Block, InvertedResidual, RunningExcitation

MELS = 6
LAYERS = ((4, 5, 3, 2, 2), (3, 2, 1, 2, 1), (5, 3, 3, 1, 2))
# Expanded channels, channels, kernel, stride, squeezed units, hard swish, delay of the skip.
BLOCKS = (
    (3, 3, 3, 1, 0, 0, 1),
    (6, 4, 3, 2, 0, 0, 0),
    (8, 4, 5, 1, 2, 1, 2),
    (8, 4, 3, 1, 3, 0, 0),
)
ENCODERS = {
    "frames": lambda: StackedEncoder(MELS),
    "stacked": lambda: StackedEncoder(MELS, stack=3),
    "changes": lambda: StackedEncoder(MELS, stack=3, delta=4),
    "frequency": lambda: FrequencyEncoder(MELS, units=2, width=4, stride=1, stack=2, delta=3),
    "convolutional": lambda: ConvolutionalEncoder(MELS, LAYERS, dropout=0.5),
    "mobile": lambda: MobileEncoder(MELS, BLOCKS, features=5, memory=9, dropout=0.5),
}
EVERY = pytest.mark.parametrize("name", ENCODERS)


def make(name):
    torch.manual_seed(2)
    encoder = ENCODERS[name]().eval()
    encoder.mean.uniform_(-1, 1)
    encoder.scale.uniform_(0.5, 2)
    for part in encoder.modules():
        if isinstance(part, torch.nn.BatchNorm2d):  # after training they are not 0 and 1
            part.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return encoder


def frames(count, batch=2):
    return torch.randn(batch, count, MELS, generator=torch.Generator().manual_seed(count))


def encode(encoder, x, chunk):
    state, parts = encoder.initial_state(len(x)), []
    for start in range(0, x.shape[1], chunk):
        steps, state = encoder.step(x[:, start : start + chunk], state)
        parts.append(steps)
    return torch.cat(parts, 1), state


@EVERY
@pytest.mark.parametrize("chunk", [1, 2, 5, 12, 100])
@torch.no_grad()
def test_any_chunks_give_the_steps_of_one_pass(name, chunk):
    encoder, x = make(name), frames(37)
    whole = encoder(x)
    assert whole.shape == (2, 37 // encoder.frames_per_step, encoder.output_size)
    steps, _ = encode(encoder, x, chunk)
    torch.testing.assert_close(steps, whole, atol=1e-6, rtol=0)  # measured below 4e-7


@EVERY
@torch.no_grad()
def test_later_frames_do_not_change_earlier_steps(name):
    encoder, x = make(name), frames(24)
    changed = x.clone()
    changed[:, 12:] += 3
    before, after = encoder(x), encoder(changed)
    same = 12 // encoder.frames_per_step
    torch.testing.assert_close(before[:, :same], after[:, :same], atol=1e-6, rtol=0)
    assert not torch.allclose(before[:, same], after[:, same])


@EVERY
@torch.no_grad()
def test_between_steps_the_state_has_the_shapes_that_are_promised(name):
    encoder = make(name)
    _, state = encoder.step(frames(12 * encoder.frames_per_step), encoder.initial_state(2))
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == {
        key: (2, *shape) for key, shape in encoder.state_shapes().items()
    }


@EVERY
@torch.no_grad()
def test_a_state_is_a_value(name):
    encoder = make(name)
    _, state = encoder.step(frames(13), encoder.initial_state(2))
    kept = copy.deepcopy(state)
    first, _ = encoder.step(frames(20), state)
    again, _ = encoder.step(frames(20), kept)
    torch.testing.assert_close(state, kept, atol=0, rtol=0)
    torch.testing.assert_close(first, again, atol=0, rtol=0)


@EVERY
@torch.no_grad()
def test_no_frames_give_no_steps(name):
    encoder = make(name)
    steps, state = encoder.step(frames(0), encoder.initial_state(2))
    assert steps.shape == (2, 0, encoder.output_size)
    steps, _ = encoder.step(frames(12), state)
    torch.testing.assert_close(steps, encoder(frames(12)), atol=0, rtol=0)


def test_stacked_steps_hold_each_frame_and_its_change():
    encoder, x = make("changes"), frames(6)
    normal = (x - encoder.mean) / encoder.scale
    padded = torch.cat([normal[:, :1].expand(-1, 4, -1), normal], 1)
    both = torch.cat([normal, normal - padded[:, :6]], 2)
    torch.testing.assert_close(encoder(x), both.reshape(2, 2, 3 * 2 * MELS))


@torch.no_grad()
def test_frequencies_are_read_within_a_step_only():
    encoder, x = make("frequency"), frames(8)
    alone = FrequencyEncoder(MELS, units=2, width=4, stride=1, stack=2).eval()
    changed = x.clone()
    changed[:, 2:4] += 1
    same = [0, 2, 3]  # without changes over time the other steps do not notice
    torch.testing.assert_close(alone(x)[:, same], alone(changed)[:, same], atol=0, rtol=0)
    assert not torch.allclose(alone(x)[:, 1], alone(changed)[:, 1])
    assert encoder.places == 3
    assert encoder.output_size == 3 * 2 * 2


@torch.no_grad()
def test_a_convolution_s_output_covers_the_frames_that_end_with_its_stride():
    layer = CausalConvolution((1, 1), bands=3, kernel=(5, 1), stride=(2, 1)).eval()
    layer.convolution.weight.fill_(1.0)
    x = torch.arange(1.0, 9.0).reshape(1, 1, 8, 1).expand(-1, -1, -1, 3)
    y, state = layer.step(x, layer.initial_state(1))
    sums = torch.tensor([1.0 + 2, 1 + 2 + 3 + 4, 2 + 3 + 4 + 5 + 6, 4 + 5 + 6 + 7 + 8])
    torch.testing.assert_close(y[0, 0, :, 0], sums / math.sqrt(1 + 1e-5))
    torch.testing.assert_close(state, x[:, :, 5:])


@torch.no_grad()
def test_a_folded_batch_norm_computes_the_same():
    layer = make("convolutional").convolutions[0]
    x = torch.randn(1, 1, 11, MELS)
    weights, bias = layer.fold_norm()
    wanted = torch.nn.functional.conv2d(
        x, weights, bias, stride=layer.convolution.stride, padding=layer.convolution.padding
    )
    given = layer.norm(layer.convolution(x))
    torch.testing.assert_close(given, wanted, atol=1e-6, rtol=0)


def test_a_batch_norm_without_statistics_cannot_be_folded():
    layer = make("convolutional").convolutions[0]
    layer.norm.running_var = None
    with pytest.raises(ModelError, match="statistics"):
        layer.fold_norm()


@torch.no_grad()
def test_a_running_excitation_weighs_the_channels_by_a_mean_that_forgets():
    torch.manual_seed(0)
    layer = RunningExcitation(3, 2, decay=0.8)
    x = torch.randn(1, 3, 600, 2)
    y, sums = layer.step(x, torch.zeros(1, 4))
    for step in (0, 1, 299, 599):
        weights = 0.8 ** torch.arange(step, -1, -1.0)
        mean = (x[0, :, : step + 1].mean(2) * weights).sum(1) / weights.sum()
        scale = torch.sigmoid(layer.fc2(torch.relu(layer.fc1(mean))))
        torch.testing.assert_close(y[0, :, step], x[0, :, step] * scale[:, None])
    torch.testing.assert_close(sums[0, 3], torch.tensor(5.0))  # 1 / (1 - 0.8)


@torch.no_grad()
def test_the_input_that_a_block_adds_is_held_back():
    block = InvertedResidual(2, Block(4, 2, 3, 1, 0, 0, 3), bands=4, decay=0.5).eval()
    block.project.convolution.weight.zero_()
    assert block.project.convolution.bias is not None
    block.project.convolution.bias.zero_()
    x = torch.randn(1, 2, 8, 4)
    state = {name: torch.zeros(1, *shape) for name, shape in block.state_shapes().items()}
    y, state = block.step(x, state)
    torch.testing.assert_close(y, torch.cat([torch.zeros(1, 2, 3, 4), x[:, :, :5]], 2))
    torch.testing.assert_close(state["skipped"], x[:, :, 5:])


@torch.no_grad()
def test_centred_blocks_come_out_later_where_the_skip_is_as_late():
    """Blocks of kernel 3 and a skip one step late are the centred network's, one step later."""
    torch.manual_seed(0)
    block = InvertedResidual(2, Block(4, 2, 3, 1, 0, 1, 1), bands=4, decay=0.5).eval()
    x = torch.randn(1, 2, 9, 4)
    state = {name: torch.zeros(1, *shape) for name, shape in block.state_shapes().items()}
    y, _ = block.step(x, state)
    assert block.expand is not None
    middle = block.expand(x)
    own = block.depthwise.convolution
    centred = torch.nn.functional.conv2d(middle, own.weight, own.bias, padding=1, groups=4)
    wanted = x + block.project(torch.nn.functional.hardswish(centred))
    torch.testing.assert_close(y[:, :, 2:], wanted[:, :, 1:-1], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"stack": 2, "delta": 1}, StackedEncoder),
        ({"stack": 2, "delta": 1, "frequency_lstm": (2, 4, 2)}, FrequencyEncoder),
        ({"stack": 1, "delta": 0, "convolutions": LAYERS}, ConvolutionalEncoder),
        ({"stack": 1, "delta": 0, "blocks": BLOCKS}, MobileEncoder),
    ],
)
def test_settings_choose_the_encoder(options, kind):
    network = NetworkSettings(**options)
    encoder = build_encoder(MELS, network)
    assert type(encoder) is kind
    assert encoder(frames(8)).shape == (2, 8 // encoder.frames_per_step, encoder.output_size)
