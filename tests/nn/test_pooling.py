"""Poolings: running forms and windows give what the whole gives, whatever the cut."""

import pytest
import torch

from earmark.config import POOLINGS
from earmark.nn.pooling import MOST_WEIGHT, AttentionPooling, build_pooling

SIZE = 5
EVERY = pytest.mark.parametrize("name", POOLINGS)


def make(name):
    torch.manual_seed(4)
    return build_pooling(name, SIZE).eval()


def outputs(steps, batch=3):
    generator = torch.Generator().manual_seed(steps)
    return torch.rand(batch, steps, SIZE, generator=generator) * 2 - 1


def pool_plainly(pooling, name, x):
    """Pool `(batch, steps, size)` in the plainest way."""
    if name == "attention":
        weights = torch.softmax(pooling.attention(x), 1)
        return (x * weights).sum(1)
    parts = {
        "mean": [x.mean(1)],
        "max": [x.amax(1)],
        "meanmax": [x.mean(1), x.amax(1)],
        "last": [x[:, -1]],
    }
    return torch.cat(parts[name], 1)


@EVERY
@torch.no_grad()
def test_a_whole_clip_is_pooled_as_its_name_says(name):
    pooling, x = make(name), outputs(9)
    pooled = pooling(x)
    assert pooled.shape == (3, pooling.output_size)
    torch.testing.assert_close(pooled, pool_plainly(pooling, name, x), atol=1e-6, rtol=0)


@EVERY
@torch.no_grad()
def test_padding_does_not_count(name):
    pooling, x = make(name), outputs(9)
    counts = torch.tensor([4, 9, 1])
    together = pooling(x, counts)
    for row, count in enumerate(counts):
        alone = pooling(x[row : row + 1, :count])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-6, rtol=0)


@EVERY
@pytest.mark.parametrize("chunk", [1, 2, 7, 20])
@torch.no_grad()
def test_the_running_form_gives_what_the_whole_gives(name, chunk):
    pooling, x = make(name), outputs(20)
    pooled = pooling.initial(3)
    assert pooled.shape == (3, pooling.statistics)
    for start in range(0, 20, chunk):
        some = x[:, start : start + chunk]
        pooled = pooling.step(some, pooled)
        so_far = x[:, : start + chunk]
        torch.testing.assert_close(
            pooling.finish(pooled, some[:, -1]), pooling(so_far), atol=1e-6, rtol=0
        )


@EVERY
@pytest.mark.parametrize(("window", "chunk"), [(1, 3), (4, 1), (4, 3), (4, 20), (30, 7)])
@torch.no_grad()
def test_a_window_that_slides_pools_the_steps_that_end_with_each(name, window, chunk):
    pooling, x = make(name), outputs(20)
    recent, parts = torch.zeros(3, window - 1, pooling.statistics), []
    for start in range(0, 20, chunk):
        pooled, recent = pooling.slide(x[:, start : start + chunk], recent)
        assert recent.shape == (3, window - 1, pooling.statistics)
        parts.append(pooled)
    wanted = [pooling(x[:, max(0, step + 1 - window) : step + 1]) for step in range(20)]
    torch.testing.assert_close(torch.cat(parts, 1), torch.stack(wanted, 1), atol=1e-6, rtol=0)


@EVERY
@torch.no_grad()
def test_no_outputs_slide_no_window(name):
    pooling = make(name)
    recent = torch.rand(3, 2, pooling.statistics)
    pooled, same = pooling.slide(outputs(0), recent)
    assert pooled.shape == (3, 0, pooling.output_size)
    torch.testing.assert_close(same, recent, atol=0, rtol=0)


@EVERY
@torch.no_grad()
def test_cut_windows_begin_with_the_clip_and_end_within_it(name):
    pooling, x = make(name), outputs(11)
    whole, windows = pooling.cut(x, 4, 3)
    torch.testing.assert_close(whole, pooling(x), atol=0, rtol=0)
    wanted = [pooling(x[:, start : start + 4]) for start in (0, 3, 6)]
    torch.testing.assert_close(windows, torch.stack(wanted, 1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["mean", "max", "meanmax", "attention"])
@torch.no_grad()
def test_statistics_join_in_any_grouping(name):
    pooling = make(name)
    statistics = pooling.measure(outputs(8))
    halves = torch.stack([pooling.join(statistics[:, :3], 1), pooling.join(statistics[:, 3:], 1)])
    torch.testing.assert_close(
        pooling.join(halves, 0), pooling.join(statistics, 1), atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_no_step_outweighs_all_others_for_ever():
    pooling = AttentionPooling(SIZE)
    pooling.attention.weight.fill_(1e3)
    weights = pooling.weigh(torch.tensor([[1.0] * SIZE, [-1.0] * SIZE]))
    torch.testing.assert_close(weights[:, 0].log(), torch.tensor([MOST_WEIGHT, -MOST_WEIGHT]))
