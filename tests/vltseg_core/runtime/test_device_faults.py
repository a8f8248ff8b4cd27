# SPDX-License-Identifier: Apache-2.0
"""What devices and their libraries say is told apart; what is no device's fault passes as it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vltseg_core.errors import DeviceError, DeviceLostError, DeviceMemoryError, NonFiniteScoresError
from vltseg_core.runtime import Segmenter
from vltseg_core.runtime.device_faults import device_fault
from vltseg_core.runtime.network_runner import NetworkRunner

CUDA = torch.device("cuda:1")
IMAGE = np.zeros((32, 32, 3), np.uint8)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("ONNX Runtime: std::bad_alloc"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried 99 bytes"),
        MemoryError(),
    ],
)
def test_memory_that_ran_out(error: Exception) -> None:
    fault = device_fault(error, CUDA, "2 images of 64x32")
    assert isinstance(fault, DeviceMemoryError)
    assert str(fault).startswith("out of memory on cuda:1 for 2 images of 64x32: use a smaller input_size")


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later"),
        torch.AcceleratorError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA driver error: device not ready"),
    ],
)
def test_a_device_that_is_gone(error: Exception) -> None:
    fault = device_fault(error, CUDA, "1 images of 64x32")
    assert isinstance(fault, DeviceLostError)
    assert str(error).partition("\n")[0] in str(fault) and "\n" not in str(fault)


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shapes differ"), DeviceError("CUDA error")])
def test_what_says_nothing_of_the_device_is_left_alone(error: Exception) -> None:
    assert device_fault(error, CUDA, "1 images") is None


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), DeviceMemoryError),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), DeviceLostError),
        (RuntimeError("shapes differ"), RuntimeError),
    ],
)
def test_a_segmenter_says_what_failed(monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[Exception]) -> None:
    segmenter = Segmenter.load("tiny", device="cpu")

    def fail(*arguments: Any) -> Any:
        raise raised

    monkeypatch.setattr(NetworkRunner, "__call__", fail)
    with pytest.raises(expected) as caught:
        segmenter.segment([IMAGE])
    assert type(caught.value) is expected


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_give_no_labels(poison: float) -> None:
    segmenter = Segmenter.load("tiny", device="cpu")
    network = segmenter._network
    assert network is not None
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(poison)
    with pytest.raises(NonFiniteScoresError, match="no finite numbers"):
        segmenter.segment([IMAGE])
