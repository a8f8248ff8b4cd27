# SPDX-License-Identifier: Apache-2.0
"""What an exception from a device means: memory that ran out, or a device that is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vltseg_core.errors import DeviceError, DeviceLostError, DeviceMemoryError

_OUT_OF_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|failed to allocate memory|bad_alloc|_ALLOC_FAILED", re.IGNORECASE
)
_LOST = re.compile(r"CUDA error|CUDA driver error|cuDNN error|CUDNN_STATUS|CUBLAS_STATUS|CUSOLVER_STATUS|NVML|ECC error")


def device_fault(error: Exception, device: torch.device, images: str) -> DeviceError | None:
    """The error to raise in place of one that came from a device; None for an exception that says nothing of it.

    PyTorch has a type for memory that its own allocator misses and one for what the CUDA runtime returns; what libraries
    and the allocator of the CPU say comes as a RuntimeError, told by its text. images: what was in work, for the message.
    """
    if isinstance(error, DeviceError):
        return None
    text = str(error)
    first_line = text.strip().partition("\n")[0]
    is_devices_own = isinstance(error, (torch.OutOfMemoryError, torch.AcceleratorError, MemoryError, RuntimeError))
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (is_devices_own and _OUT_OF_MEMORY.search(text)):
        return DeviceMemoryError(
            f"out of memory on {device} for {images}: use a smaller input_size, fewer cameras in a batch, or precision fp16"
        )
    if isinstance(error, torch.AcceleratorError) or (is_devices_own and _LOST.search(text)):
        return DeviceLostError(f"{device} failed on {images} ({first_line}): load anew, in a new process if it fails again")
    return None


@contextmanager
def device_faults_told(device: torch.device, images: str) -> Iterator[None]:
    """Raises what `device_fault` makes of an exception inside; others pass."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        fault = device_fault(error, device, images)
        if fault is None:
            raise
        raise fault from error
