# SPDX-License-Identifier: Apache-2.0
"""The network as it is compiled and exported: normalised images of one size and number in, masks and classes out.

B batch, Q queries, K classes, H and W pixels.
"""

from __future__ import annotations

import copy
import threading
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime.constant_folding import fold_constants
from vltseg_core.runtime.gather_sampling import GATHER_SAMPLING

OUTPUT_NAMES = ("mask_logits", "class_logits")
EXPORTING = threading.RLock()
"""Held by whoever traces a network: torch.export knows of one in a process."""
GRAPH_REVISION = 2
"""Raised when the same weights compute something else than before, so that engines which were kept are built again."""


class NetworkShape(NamedTuple):
    """What one compiled network takes: `batch` images of height and width in pixels."""

    batch: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.batch} x {self.width}x{self.height}"


class RunTimeNetwork(nn.Module):
    """Only what a mask needs, without the text side: images [B, 3, H, W] to (mask_logits, class_logits) or (mask_logits,).

    As `MaskPrediction` has them; class_logits are left out where query k is bound to class k.
    """

    def __init__(self, network: Vltseg) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        mask_logits, class_logits = self.network(images).predictions[-1]
        return (mask_logits,) if class_logits is None else (mask_logits, class_logits)


def as_prediction(outputs: tuple[Tensor, ...]) -> MaskPrediction:
    """A run-time network's outputs by their names."""
    return MaskPrediction(outputs[0], outputs[1] if len(outputs) > 1 else None)


def example_images(shape: NetworkShape, like: nn.Module) -> Tensor:
    """The fixed images that compiled networks are tried on: patches of many sizes, the same on every machine.

    Normalised values in the device and dtype of the module's weights, channels last.
    """
    generator = torch.Generator().manual_seed(20231204)
    batch, height, width = shape
    images = torch.zeros(batch, 3, height, width)
    for cells in (2, 5, 11, 29, 67):
        noise = torch.randn(batch, 3, min(cells, height), min(cells, width), generator=generator)
        images += nn.functional.interpolate(noise, (height, width), mode="nearest" if cells % 2 else "bilinear")
    weight = next(like.parameters())
    return (images / 2).to(weight.device, weight.dtype).to(memory_format=torch.channels_last)


@torch.no_grad()
def exported(network: RunTimeNetwork, shape: NetworkShape, *, gather_sampling: bool = False) -> ExportedProgram:
    """The network's graph for one shape; what does not depend on the image is computed and kept as a constant.

    gather_sampling: sample by index in place of GridSample, which some TensorRT versions compute wrong without a word.
    """
    images = example_images(shape, network)
    fixed = _without_gradients(network)
    with EXPORTING:
        program = torch.export.export(fixed, (images,))
        program = program.run_decompositions(GATHER_SAMPLING if gather_sampling else {})
        graph_module = program.module()
        for node in graph_module.graph.find_nodes(op="call_function", target=torch.ops.aten.view.default):
            node.target = torch.ops.aten.reshape.default  # traced again, attention's output may lie in memory otherwise
        return torch.export.export(fold_constants(graph_module), (images,))


def _without_gradients(network: RunTimeNetwork) -> RunTimeNetwork:
    """The same weights, not copied, without gradients; the caller's module is left as it is."""
    memo = {id(p): p.detach() for p in (*network.parameters(), *network.buffers())}
    memo = {key: nn.Parameter(value, False) if isinstance(value, Tensor) else value for key, value in memo.items()}
    for buffer in network.buffers():
        memo[id(buffer)] = buffer
    return copy.deepcopy(network, memo)
