# SPDX-License-Identifier: Apache-2.0
"""How an image gets to the device: as uint8, on a GPU through pinned memory and beside the network that runs there.

Written by torch.cuda's documentation and tested with a stand-in for it; not yet run on a GPU. B batch, H and W pixels.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST_PINNED_BUFFERS = 8


class UploadedImage(NamedTuple):
    """An image on the device, or on its way there.

    pixels: uint8 [H, W, 3]. is_there: the CUDA event after which they may be read; None where they may be at once.
    """

    pixels: Tensor
    is_there: Any = None


class ImageTransfer(Protocol):
    """Uploads images, from any thread, and makes batches of them where they are used."""

    runs_beside_the_network: bool

    def upload(self, image: NDArray[np.uint8]) -> UploadedImage:
        """Start to upload uint8 [H, W, 3]; on a GPU the array may be changed at once, on a CPU it must stay as it is."""
        ...

    def batch(self, images: Sequence[UploadedImage]) -> Tensor:
        """Images of one size as uint8 [B, 3, H, W], channels last, for the stream that is current here."""
        ...


class HostTransfer:
    """For the CPU: nothing is copied, but for a batch of several."""

    runs_beside_the_network = False

    def upload(self, image: NDArray[np.uint8]) -> UploadedImage:
        return UploadedImage(torch.from_numpy(np.require(image, requirements=("C", "W"))))

    def batch(self, images: Sequence[UploadedImage]) -> Tensor:
        return _stacked(images)


class CudaCalls:
    """What an upload asks of torch.cuda on one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def new_stream(self) -> Any:
        return torch.cuda.Stream(self._device)

    def current_stream(self) -> Any:
        return torch.cuda.current_stream(self._device)

    def on(self, stream: Any) -> AbstractContextManager[Any]:
        return torch.cuda.stream(stream)

    def new_event(self) -> Any:
        return torch.cuda.Event()

    def pinned(self, num_bytes: int) -> Tensor:
        return torch.empty(num_bytes, dtype=torch.uint8, pin_memory=True)

    def empty(self, shape: Sequence[int]) -> Tensor:
        return torch.empty(shape, dtype=torch.uint8, device=self._device)

    def copy(self, source: Tensor, target: Tensor) -> None:
        target.copy_(source, non_blocking=True)

    def keep_for(self, stream: Any, tensor: Tensor) -> None:
        tensor.record_stream(stream)


class _PinnedBuffer(NamedTuple):
    memory: Tensor
    copied: Any


class CudaTransfer:
    """For a GPU: through reused pinned buffers, on a stream of its own, so that it runs beside the network."""

    runs_beside_the_network = True

    def __init__(self, cuda: CudaCalls) -> None:
        self._cuda = cuda
        self._stream = cuda.new_stream()
        self._buffers: deque[_PinnedBuffer] = deque()  # oldest first
        self._one_at_a_time = threading.Lock()

    def upload(self, image: NDArray[np.uint8]) -> UploadedImage:
        with self._one_at_a_time:
            memory = self._free_memory(math.prod(image.shape))
            staged = memory[: math.prod(image.shape)].view(image.shape)
            np.copyto(staged.numpy(), image)
            with self._cuda.on(self._stream):
                pixels = self._cuda.empty(image.shape)
                self._cuda.copy(staged, pixels)
                copied = self._cuda.new_event()
                copied.record(self._stream)
            self._buffers.append(_PinnedBuffer(memory, copied))
        return UploadedImage(pixels, copied)

    def batch(self, images: Sequence[UploadedImage]) -> Tensor:
        stream = self._cuda.current_stream()
        for image in images:
            stream.wait_event(image.is_there)
            self._cuda.keep_for(stream, image.pixels)  # else its memory might go to the next upload too early
        return _stacked(images)

    def _free_memory(self, num_bytes: int) -> Tensor:
        """Pinned memory that no copy reads any more; waits for the oldest copy where all buffers are in use."""
        if not self._buffers or (len(self._buffers) < _MOST_PINNED_BUFFERS and not self._buffers[0].copied.query()):
            return self._cuda.pinned(num_bytes)
        oldest = self._buffers.popleft()
        oldest.copied.synchronize()
        return oldest.memory if len(oldest.memory) >= num_bytes else self._cuda.pinned(num_bytes)


def image_transfer(device: torch.device) -> ImageTransfer:
    """The way to that device."""
    return CudaTransfer(CudaCalls(device)) if device.type == "cuda" else HostTransfer()


def _stacked(images: Sequence[UploadedImage]) -> Tensor:
    pixels = [image.pixels for image in images]
    batch = pixels[0][None] if len(pixels) == 1 else torch.stack(pixels)  # [B, H, W, 3]
    return batch.permute(0, 3, 1, 2)
