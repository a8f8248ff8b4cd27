# SPDX-License-Identifier: Apache-2.0
"""Runs the network by the backend that serves now: the eager one until a compiled one has taken over."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.runtime.agreement import CompiledNetwork
from vltseg_core.runtime.run_time_network import NetworkShape, RunTimeNetwork, as_prediction

_log = logging.getLogger(__name__)
_MOST_SIZES_NAMED = 8


@dataclass(frozen=True)
class ReadyBackend:
    """What serves. name: one of BACKENDS but "auto". network and shape: None for eager, which takes any shape."""

    name: str
    reason: str
    network: CompiledNetwork | None = None
    shape: NetworkShape | None = None


class NetworkRunner:
    """Images of any number and size to their masks; one thread runs it while another may call `serve_with`.

    A compiled network takes images of its own size, in batches of its own: more go in several, fewer are filled up.
    Other sizes go to the eager network; that is logged once for each of the first few sizes and shown in `reason`.
    """

    def __init__(self, network: RunTimeNetwork, backend: ReadyBackend) -> None:
        self.network = network
        self._backend = backend
        self._other_sizes: list[str] = []

    @property
    def name(self) -> str:
        """The backend that serves."""
        return self._backend.name

    @property
    def reason(self) -> str:
        """Why it serves, and what it did not."""
        shown = ", ".join(self._other_sizes)
        return self._backend.reason + (f"; images of {shown} by the eager network" if shown else "")

    def serve_with(self, backend: ReadyBackend) -> None:
        """From the next images on."""
        _log.info("backend %s: %s", backend.name, backend.reason)
        self._backend, self._other_sizes = backend, []

    def __call__(self, images: Tensor) -> MaskPrediction:
        """Normalised images [B, 3, H, W] to their prediction."""
        backend = self._backend
        if backend.network is None or backend.shape is None:
            return as_prediction(self.network(images))
        size = (images.shape[-2], images.shape[-1])
        if size != backend.shape[1:]:
            self._note_other_size(size, backend)
            return as_prediction(self.network(images))
        batches = [_filled_up(batch, backend.shape.batch) for batch in images.split(backend.shape.batch)]
        outputs = [tuple(output.clone() for output in backend.network(batch)) for batch in batches]  # before the next call
        return as_prediction(tuple(torch.cat(parts)[: len(images)] for parts in zip(*outputs, strict=True)))

    def _note_other_size(self, size: tuple[int, int], backend: ReadyBackend) -> None:
        shown = f"{size[1]}x{size[0]}"
        if shown not in self._other_sizes and len(self._other_sizes) <= _MOST_SIZES_NAMED:
            if len(self._other_sizes) == _MOST_SIZES_NAMED:
                shown = "still other sizes"
            self._other_sizes.append(shown)
            _log.warning("images of %s go to the eager network: %s was made for %s", shown, backend.name, backend.shape)


def _filled_up(images: Tensor, batch: int) -> Tensor:
    """As many images as were compiled for, lying in memory as those did: for other strides torch.compile compiles again."""
    filled = torch.empty((batch, *images.shape[1:]), dtype=images.dtype, device=images.device, memory_format=torch.channels_last)
    if images.shape == filled.shape and images.stride() == filled.stride():
        return images
    filled[: len(images)] = images
    filled[len(images) :] = images[-1:]
    return filled
