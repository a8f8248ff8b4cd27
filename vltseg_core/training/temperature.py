# SPDX-License-Identifier: Apache-2.0
"""Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", 2017): how sure a network says it is.

N pixels, K classes of the network, T classes of the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]  # scipy has no stubs
from torch import Tensor
from torch.nn import functional as F

from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.evaluation.calibration import NUM_LEVELS, Calibration
from vltseg_core.labels import IGNORE
from vltseg_core.model.mask_decoder import MaskDecoder
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime.augmentation import within_pixels
from vltseg_core.runtime.network_input import NetworkInput
from vltseg_core.runtime.scoring import MASK_STRIDE, covered_size

_PIXELS_AN_IMAGE = 4000
_LOWEST, _HIGHEST = 0.05, 20.0


class Pixels(NamedTuple):
    """Annotated pixels of one set. logits: fp32 [N, K]. truth: int64 [N] below T. membership: fp32 [K, T], 1 where a class of
    the network is that class of the truth.
    """

    logits: Tensor
    truth: Tensor
    membership: Tensor


class TemperatureFit(NamedTuple):
    """temperature: what mask logits are divided by. error_before, error_after: expected calibration error, 0..1."""

    temperature: float
    error_before: float
    error_after: float


def fit_temperature(
    network: Vltseg, sets: Mapping[str, EvaluationSet], *, seed: int = 0, progress: Callable[[str, int, int], None] | None = None
) -> TemperatureFit:
    """The temperature that makes the truth likeliest, every set counting alike; some pixels of every image are drawn.

    progress: told a set's name, how many of its images are done, and of how many. Raises ConfigurationError where masks do
    not compete in a softmax (learned queries), InputError where a set has no annotated pixel.
    """
    require_softmax(network)
    pixels = [_pixels(network, name, evaluation_set, seed, progress) for name, evaluation_set in sets.items()]
    temperature = _likeliest(pixels)
    return TemperatureFit(temperature, _expected_error(pixels, 1.0), _expected_error(pixels, temperature))


@torch.no_grad()
def divide_mask_logits(network: Vltseg, temperature: float) -> None:
    """Divide a network's mask logits by a temperature, in place, in the weights that they are linear in.

    Labels stay, and inference costs what it did. Raises ConfigurationError as `fit_temperature` does, and for a
    temperature that is not positive.
    """
    parameters = require_softmax(network).mask_parameters()
    if not temperature > 0:
        raise ConfigurationError(f"temperature {temperature} is not positive")
    for parameter in parameters:
        parameter.div_(temperature)


def require_softmax(network: Vltseg) -> MaskDecoder:
    """The mask decoder of a network whose masks compete in a softmax; else ConfigurationError."""
    decoder = network.mask_decoder
    if decoder is None or not decoder.from_text:
        raise ConfigurationError(
            f"network '{network.config.name}' has no masks that compete in a softmax, so there is no temperature to fit: "
            "calibrate a network with text queries, such as tiny"
        )
    return decoder


@torch.inference_mode()
def _pixels(
    network: Vltseg,
    name: str,
    evaluation_set: EvaluationSet,
    seed: int,
    progress: Callable[[str, int, int], None] | None,
) -> Pixels:
    num_classes, images = len(network.config.classes), evaluation_set.images
    to_truth = torch.from_numpy(evaluation_set.to_truth_classes[:num_classes].astype(np.int64))
    num_truth = len(evaluation_set.class_names)
    membership = F.one_hot(to_truth.clamp(max=num_truth), num_truth + 1)[:, :num_truth].float()
    logits, truth = [], []
    for i in range(len(images)):
        frame = images[i]
        places, classes = _drawn_places(frame, np.random.default_rng((seed, i)))
        logits.append(_mask_logits(network, frame)[:, places].T)
        truth.append(classes)
        if progress:
            progress(name, i + 1, len(images))
    found = torch.cat(truth) if truth else torch.empty(0, dtype=torch.int64)
    if not len(found):
        raise InputError(f"'{name}' has no annotated pixel to fit a temperature on: give another set")
    return Pixels(torch.cat(logits), found, membership)


def _drawn_places(frame: LabelledImage, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Flat places of some annotated pixels, and their classes."""
    annotated = np.flatnonzero(frame.codes != IGNORE)
    places = rng.choice(annotated, min(_PIXELS_AN_IMAGE, len(annotated)), replace=False) if len(annotated) else annotated
    return torch.from_numpy(places), torch.from_numpy(frame.codes.reshape(-1)[places].astype(np.int64))


def _mask_logits(network: Vltseg, frame: LabelledImage) -> Tensor:
    """Of every pixel of an image that enters whole, as in the node, fp32 [K, H W]."""
    config, size = network.config, (frame.image.shape[0], frame.image.shape[1])
    entered = within_pixels(size, config.inference.max_input_pixels)
    inputs = NetworkInput(config, "fp32", torch.device("cpu"))(torch.from_numpy(frame.image).permute(2, 0, 1)[None], entered)
    masks = network(inputs).predictions[-1].mask_logits
    covered = covered_size(masks, MASK_STRIDE, config, inputs, size)
    logits = F.interpolate(masks, covered, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    return logits[0].flatten(1).float()


def _negative_log_likelihood(pixels: Pixels, temperature: float) -> float:
    probabilities = (pixels.logits / temperature).softmax(1) @ pixels.membership  # [N, T]
    of_truth = probabilities.gather(1, pixels.truth[:, None]).clamp(min=1e-9)
    return -of_truth.log().mean().item()


def _likeliest(sets: list[Pixels]) -> float:
    """By golden section on the temperature's logarithm, to a thousandth."""

    def loss(log_temperature: float) -> float:
        return sum(_negative_log_likelihood(pixels, float(np.exp(log_temperature))) for pixels in sets)

    found = minimize_scalar(loss, bounds=(np.log(_LOWEST), np.log(_HIGHEST)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def _expected_error(sets: list[Pixels], temperature: float) -> float:
    """Mean over the sets of the winning class's calibration error, as the node publishes its confidence."""
    errors = []
    for pixels in sets:
        confidence, winner = (pixels.logits / temperature).softmax(1).max(1)
        right = pixels.membership[winner].gather(1, pixels.truth[:, None])[:, 0] > 0
        counts = Calibration()
        levels = (confidence * (NUM_LEVELS - 1)).round().to(torch.uint8).numpy()[None]
        truth = np.zeros(levels.shape, np.uint8)
        counts.add((~right).numpy()[None].astype(np.uint8), truth, levels)
        errors.append(counts.expected_error())
    return float(np.mean(errors))
