"""The names that a model's weights have in files.

They are those from when encoder and pooling were parts of one class: `mean`, `scale`,
`convolutions.0.norm.bias`, `attention.weight`. So weights of every version load, strictly.
"""

from __future__ import annotations

from typing import Any

from torch import nn

_LEFT_OUT = ("encoder.", "pooling.")


def keep_saved_names(model: nn.Module) -> None:
    """Let a model's `state_dict` and `load_state_dict` use the names that files have.

    Args:
        model: its parts `encoder` and `pooling` do not appear in the names of their weights.
    """
    model.register_state_dict_post_hook(_shorten)
    model.register_load_state_dict_pre_hook(_lengthen)


def _shorten(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    """Rename weights as they are saved: a hook of `state_dict`."""
    items = list(state.items())
    state.clear()
    for name, tensor in items:
        own = name.removeprefix(prefix)
        state[(prefix if name.startswith(prefix) else "") + _short(own)] = tensor


def _lengthen(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Rename weights as they lie in the parts: a hook of `load_state_dict`."""
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name in (name for name, _ in tensors):
        if _short(name) != name and prefix + _short(name) in state:
            state[prefix + name] = state.pop(prefix + _short(name))


def _short(name: str) -> str:
    for part in _LEFT_OUT:
        name = name.removeprefix(part)
    return name
