# SPDX-License-Identifier: Apache-2.0
"""Which device and precision this machine offers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import psutil
import torch

from vltseg_core.errors import ConfigurationError, DeviceError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """The torch device of a name: "auto", "cpu", "cuda" or "cuda:N".

    Raises ConfigurationError for another name, DeviceError where the machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()) or (kind == "cpu" and number):
        raise ConfigurationError(f"unknown device '{name}': use auto, cpu, cuda or cuda:N")
    if kind == "cpu":
        return torch.device("cpu")
    index = int(number or 0)
    if index >= torch.cuda.device_count():
        raise DeviceError(
            f"device '{name}' is not there: this machine shows {torch.cuda.device_count()} CUDA devices; "
            "check the driver (nvidia-smi), or use device cpu"
        )
    return torch.device("cuda", index)


def resolve_precision(name: str, device: torch.device) -> str:
    """One of "fp32", "fp16", "bf16"; "auto" is fp16 on a GPU and fp32 on a CPU.

    Raises ConfigurationError for another name, DeviceError for fp16 on a CPU, which most cannot compute fast.
    """
    if name == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if name not in DTYPES:
        raise ConfigurationError(f"unknown precision '{name}': use auto, {', '.join(DTYPES)}")
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("precision fp16 needs a GPU: use fp32 or bf16 on a CPU")
    return name


def as_current(device: torch.device) -> AbstractContextManager[object]:
    """While it lasts, what libraries do on this thread's current GPU, by default the first, they do on this one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def describe_device(device: torch.device) -> str:
    """For people: "cpu (2 threads)" or "cuda:0 (NVIDIA H200)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def memory_bytes(device: torch.device) -> int:
    """Memory in use: allocated on the GPU, else the process's resident set."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
