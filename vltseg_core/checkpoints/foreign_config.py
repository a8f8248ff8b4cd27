# SPDX-License-Identifier: Apache-2.0
"""A network's configuration from a file that anybody may have written: what it may name, and how large it may be.

Building a network calls constructors of other libraries by name, some of which can read files or reach the network, and
allocates what the numbers say. So names are plain, what goes to a constructor is numbers, and numbers are bounded before
anything is built; whether the network fits its tensors is found on the meta device, which allocates nothing.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from vltseg_core.config import VltsegConfig
from vltseg_core.errors import ConfigurationError
from vltseg_core.model.vltseg import Vltseg

MAX_NUMBER = 16384
"""Widths, counts and sizes of a network; the largest in use is 5120."""
MAX_LAYERS = 100
MAX_TABLES_BYTES = 64 * 2**20
"""Of what a network computes for itself when it is built and no file holds, such as position tables; the largest has 5 MB."""
_LAYER_COUNTS = ("num_layers", "num_blocks", "depth")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
_BUILDING_ERRORS = (
    ConfigurationError,
    TypeError,
    ValueError,
    RuntimeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    AssertionError,
)
"""What settings without sense lead constructors to."""


def check_config(config: VltsegConfig) -> None:
    """ConfigurationError for a configuration that could reach beyond the network, or be larger than any network."""
    if not isinstance(config.name, str) or len(config.name) > 64 or not _PLAIN_NAME.fullmatch(config.name):
        raise ConfigurationError("its name is no plain name of at most 64 letters")
    model = config.image_encoder.model
    if not isinstance(model, str) or not _PLAIN_NAME.fullmatch(model):
        raise ConfigurationError(f"image encoder {model!r} is no plain name of an architecture")
    for key, value in config.image_encoder.overrides.items():
        if not isinstance(value, (int, float)):
            raise ConfigurationError(f"override {key} of the image encoder is {value!r}: only numbers are taken")
    for name in ("mean", "std"):
        values = getattr(config, name)
        if not isinstance(values, Sequence) or len(values) != 3 or not all(isinstance(v, (int, float)) for v in values):
            raise ConfigurationError(f"{name} is {values!r}: expected three numbers")
    if 0 in config.std:
        raise ConfigurationError(f"std {config.std} holds a zero: nothing can be divided by it")
    for name, number in _numbers(dataclasses.asdict(config)):
        limit = MAX_LAYERS if name in _LAYER_COUNTS else MAX_NUMBER
        if abs(number) > limit or not math.isfinite(number):  # in this order: integers may be too large for a float
            raise ConfigurationError(f"{name} is {str(number)[:40]}, over the limit of {limit}")


def expected_shapes(config: VltsegConfig) -> dict[str, tuple[int, ...]]:
    """The shapes of the network's tensors by name, without allocating them.

    Raises ConfigurationError where it cannot be built, or would be far larger than its tensors.
    """
    try:
        with torch.device("meta"):
            network = Vltseg(config)
    except _BUILDING_ERRORS as error:
        raise ConfigurationError(f"network '{config.name}' cannot be built: {error}") from error
    state = network.state_dict()
    tables_bytes = sum(b.numel() * b.element_size() for name, b in network.named_buffers() if name not in state)
    if tables_bytes > MAX_TABLES_BYTES:
        raise ConfigurationError(f"network '{config.name}' would make {tables_bytes / 1e6:.0f} MB of tables beside its weights")
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _numbers(section: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, float]]:
    """Every number with the name of its setting."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, key)
        else:
            members = value if isinstance(value, (tuple, list)) else (value,)
            yield from ((key, member) for member in members if isinstance(member, (int, float)))
