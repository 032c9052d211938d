"""Encoders: mel frames -> the steps of the LSTM, one module each.

A further encoder is a subclass of `Encoder` in a module of its own, a line in `build_encoder`, its
settings in `NetworkSettings` and its nodes in `earmark.export.encoders`.
"""

from __future__ import annotations

from earmark.config import NetworkSettings
from earmark.nn.encoders.base import Encoder, EncoderState
from earmark.nn.encoders.convolutional import CausalConvolution, ConvolutionalEncoder
from earmark.nn.encoders.frequency import FrequencyEncoder
from earmark.nn.encoders.mobile import MobileEncoder
from earmark.nn.encoders.stacked import StackedEncoder

__all__ = [
    "CausalConvolution",
    "ConvolutionalEncoder",
    "Encoder",
    "EncoderState",
    "FrequencyEncoder",
    "MobileEncoder",
    "StackedEncoder",
    "build_encoder",
]


def build_encoder(input_size: int, network: NetworkSettings) -> Encoder:
    """Return the untrained encoder that the settings of a network ask for.

    Args:
        input_size: mel bands of a frame.
        network: the settings.
    """
    if network.blocks:
        return MobileEncoder(
            input_size,
            network.blocks,
            features=network.block_features,
            memory=network.block_memory,
            dropout=network.dropout,
        )
    if network.convolutions:
        return ConvolutionalEncoder(input_size, network.convolutions, dropout=network.dropout)
    if network.frequency_lstm:
        units, width, stride = network.frequency_lstm
        return FrequencyEncoder(
            input_size,
            units=units,
            width=width,
            stride=stride,
            stack=network.stack,
            delta=network.delta,
        )
    return StackedEncoder(input_size, stack=network.stack, delta=network.delta)
