# SPDX-License-Identifier: Apache-2.0
"""Whether a compiled network says what the plain one says, on fixed images. B batch, K classes, H and W pixels."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from vltseg_core.errors import DeviceError
from vltseg_core.model.semantic_map import semantic_scores
from vltseg_core.runtime.run_time_network import NetworkShape, RunTimeNetwork, as_prediction, example_images

CompiledNetwork = Callable[[Tensor], tuple[Tensor, ...]]
"""Normalised images [B, 3, H, W] of the shape that it was made for, to what `RunTimeNetwork` gives."""


class Agreement(NamedTuple):
    """equal_labels: share of the pixels. confidence_error: mean difference of the winning class's score."""

    equal_labels: float
    confidence_error: float

    def __str__(self) -> str:
        return f"{100 * self.equal_labels:.2f} % equal labels, confidence off by {self.confidence_error:.4f}"


LEAST_AGREEMENT = {"fp32": Agreement(0.999, 0.001), "fp16": Agreement(0.99, 0.01), "bf16": Agreement(0.97, 0.03)}
"""By precision: under it a compiled network is refused. Reference is the same weights computed in fp32."""


@torch.inference_mode()
def agreement(network: RunTimeNetwork, compiled: CompiledNetwork, shape: NetworkShape) -> Agreement:
    """How far a compiled network agrees with its eager one, computed in fp32; values that are no numbers agree with nothing.

    On the examples' mirror images: a recording that always gives the example's answer would agree on the example.
    """
    images = example_images(shape, network).flip(-1).contiguous(memory_format=torch.channels_last)
    reference = network if images.dtype == torch.float32 else copy.deepcopy(network).float()
    expected, found = _scores(reference(images.float()), shape), _scores(compiled(images), shape)
    best, labels = expected.max(1)  # [B, H, W]
    found_best, found_labels = found.max(1)
    equal = (labels == found_labels) & found.isfinite().all(1)
    error = (best - found_best).abs().mean().item()
    return Agreement(equal.float().mean().item(), error if error == error else float("inf"))


def require_agreement(network: RunTimeNetwork, compiled: CompiledNetwork, shape: NetworkShape, *, precision: str) -> Agreement:
    """The agreement; raises DeviceError where it is under the least for that precision."""
    found, least = agreement(network, compiled, shape), LEAST_AGREEMENT[precision]
    if found.equal_labels < least.equal_labels or found.confidence_error > least.confidence_error:
        advice = "use precision bf16 or fp32, or backend eager" if precision == "fp16" else "use precision fp32 or backend eager"
        raise DeviceError(
            f"the compiled network was refused: {found} against the eager one in fp32, at least "
            f"{100 * least.equal_labels:g} % and at most {least.confidence_error:g} were expected: {advice}"
        )
    return found


def _scores(outputs: tuple[Tensor, ...], shape: NetworkShape) -> Tensor:
    prediction = as_prediction(tuple(output.float() for output in outputs))
    return semantic_scores(prediction, (shape.height, shape.width))
