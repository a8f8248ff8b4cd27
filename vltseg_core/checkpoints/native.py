# SPDX-License-Identifier: Apache-2.0
"""The package's own weights file: safetensors, with the network's configuration and origin in the header."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from vltseg_core.checkpoints.foreign_config import check_config, expected_shapes
from vltseg_core.checkpoints.safetensors_file import ChangedFileError, FormatError, SafetensorsFile, opened
from vltseg_core.config import VltsegConfig
from vltseg_core.errors import CheckpointError, ConfigurationError, quotable
from vltseg_core.model.vltseg import Vltseg

FORMAT = "vltseg/1"
MAX_TEXT_LETTERS = 64 * 2**10
"""Of the description of a network, and of what it was trained on; a preset's description has 0.9 kB."""


@dataclass(frozen=True)
class Checkpoint:
    """A network with its weights. trained_on: the data sets and their licences, in words."""

    network: Vltseg
    trained_on: str


def save(network: Vltseg, path: Path, *, trained_on: str) -> None:
    """Write the weights as float32, beside the target first and renamed, so that no half file is ever left."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    header = {"format": FORMAT, "config": json.dumps(network.config.to_dict()), "trained_on": trained_on}
    partial = path.with_name(f".{path.name}.partial")
    try:
        save_file(state, partial, metadata=header)
        partial.chmod(0o644)  # safetensors keeps its files to their owner
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"weights could not be written to '{path}': {error}") from error


def read_header(path: Path) -> tuple[VltsegConfig, str]:
    """A weights file's network and what it was trained on; CheckpointError where it is none of ours."""
    with _opened(path) as weights:
        return _parsed_header(weights.metadata, path)


def load(path: Path) -> Checkpoint:
    """The network of a weights file, on the CPU, in evaluation mode.

    Takes the memory of the network and of its largest tensor. Raises CheckpointError where the file is none of ours, holds
    numbers that are not finite, or is written by another process meanwhile.
    """
    with _opened(path) as weights:
        config, trained_on = _parsed_header(weights.metadata, path)
        _check_shapes(config, {name: stored.shape for name, stored in weights.tensors.items()}, path)
        network = Vltseg(config)
        for name, target in network.state_dict().items():
            _fill(target, name, weights, path)
    return Checkpoint(network.eval(), trained_on)


def _fill(target: Tensor, name: str, weights: SafetensorsFile, path: Path) -> None:
    """Put the file's tensor into the network's, of the same kind of numbers but for the precision."""
    stored = weights.tensors[name]
    if stored.dtype != target.dtype and not (stored.dtype.is_floating_point and target.is_floating_point()):
        raise CheckpointError(f"checkpoint '{path}': {name} is {stored.dtype}, expected {target.dtype}; convert it again")
    target.copy_(weights.read(name))
    if target.is_floating_point() and not _is_finite(target):
        raise CheckpointError(f"checkpoint '{path}': {name} holds values that are no finite numbers: take another checkpoint")


def _is_finite(tensor: Tensor) -> bool:
    """Whether every number is; the sum alone tells in a tenth of the time, unless it is too large itself."""
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


@contextmanager
def _opened(path: Path) -> Iterator[SafetensorsFile]:
    if not path.is_file():
        raise CheckpointError(f"checkpoint '{path}' not found: give a .safetensors file or the name of a preset")
    try:
        with opened(path) as weights:
            yield weights
    except (FormatError, OSError) as error:
        next_step = "check the file"
        if path.suffix == ".pth":  # as published
            next_step = f"run 'vltseg convert {path} -o {path.with_suffix('.safetensors')}' first"
        raise CheckpointError(f"checkpoint '{path}' is no safetensors file ({error}): {next_step}") from error
    except ChangedFileError as error:
        raise CheckpointError(f"checkpoint '{path}' was written while it was read: load it again when it is whole") from error


def _parsed_header(header: Mapping[str, str], path: Path) -> tuple[VltsegConfig, str]:
    if header.get("format") != FORMAT:
        found = quotable(header.get("format", "no format at all"))
        raise CheckpointError(f"checkpoint '{path}' names {found} in its header, expected {FORMAT}: convert it first")
    for key in ("config", "trained_on"):
        if len(header.get(key, "")) > MAX_TEXT_LETTERS:
            raise CheckpointError(
                f"checkpoint '{path}' has over {MAX_TEXT_LETTERS} letters of {key} in its header: convert it again"
            )
    try:
        config = VltsegConfig.from_dict(json.loads(header["config"]))
        check_config(config)
    except (KeyError, ValueError, RecursionError, AttributeError, TypeError, ConfigurationError) as error:
        raise CheckpointError(f"checkpoint '{path}' has a header that cannot be read: {quotable(str(error), 300)}") from error
    return config, header.get("trained_on", "unknown")


def _check_shapes(config: VltsegConfig, found: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """CheckpointError unless the tensors are the network's, seen before any of them is allocated."""
    try:
        expected = expected_shapes(config)
    except ConfigurationError as error:
        raise CheckpointError(f"checkpoint '{path}': {error}; convert it again") from error
    wrong = sorted(set(expected) ^ set(found)) or sorted(name for name in expected if expected[name] != found[name])
    if wrong:
        shown = ", ".join(map(quotable, wrong[:3])) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise CheckpointError(f"checkpoint '{path}' does not fit network '{config.name}': {shown} differ; convert it again")
