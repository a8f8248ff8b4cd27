# SPDX-License-Identifier: Apache-2.0
"""A network on a GPU recorded once and replayed, so that starting its kernels costs next to nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from vltseg_core.runtime.agreement import CompiledNetwork
from vltseg_core.runtime.device import as_current

_NUM_WARM_UPS = 3


class CudaGraph:
    """Replays a network for images like the example; the outputs are overwritten by the next call.

    Recorded by hand, because `mode="reduce-overhead"` of torch.compile keeps its recordings to the thread that compiled,
    and the node compiles in one thread and serves in another.
    """

    def __init__(self, network: CompiledNetwork, example: Tensor) -> None:
        self._images = example.clone()
        self._network = network  # owns the memory that the recording reads
        with as_current(example.device):  # a recording on another GPU would be empty, and its outputs never change
            stream = torch.cuda.Stream(example.device)
            stream.wait_stream(torch.cuda.current_stream(example.device))
            with torch.cuda.stream(stream):
                for _ in range(_NUM_WARM_UPS):
                    network(self._images)
            torch.cuda.current_stream(example.device).wait_stream(stream)
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                self._outputs = network(self._images)

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        self._images.copy_(images)
        self._graph.replay()
        return self._outputs
