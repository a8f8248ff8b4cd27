# SPDX-License-Identifier: Apache-2.0
"""The CPU's own way of linear maps gives what torch's gives, and is taken only where it may be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vltseg_core.model.deformable_attention import MultiScaleDeformableAttention
from vltseg_core.model.linear import Linear, is_eager_cpu_inference, linear, products


def tokens_of(kind: str) -> Tensor:
    torch.manual_seed(0)
    whole = torch.randn(2, 37, 24)
    parts = {"part": whole[:, 5:20], "transposed": torch.randn(2, 24, 37).mT, "one": whole[0, 0], "none": whole[:, :0]}
    return parts.get(kind, whole)


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["whole", "part", "transposed", "one", "none"])
def test_it_is_the_linear_map(kind: str, bias: bool) -> None:
    tokens, layer = tokens_of(kind), Linear(24, 40, bias=bias)
    found = linear(tokens, layer.weight, layer.bias)
    expected = F.linear(tokens, layer.weight, layer.bias)
    assert found.shape == expected.shape and found.is_contiguous()
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.equal(layer(tokens), found)


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [1, 3])
def test_products_are_those_of_each_image(batch_size: int) -> None:
    torch.manual_seed(0)
    rows, others = torch.randn(batch_size, 7, 24), torch.randn(batch_size, 11, 24)
    assert torch.allclose(products(rows, others), rows @ others.mT, atol=1e-5)


def test_training_other_precisions_and_other_devices_go_the_plain_way() -> None:
    tokens = torch.zeros(1)
    assert not is_eager_cpu_inference(tokens)  # with gradients
    with torch.no_grad():
        assert is_eager_cpu_inference(tokens)
        assert not is_eager_cpu_inference(tokens.bfloat16())
        assert not is_eager_cpu_inference(tokens.to("meta"))
    with torch.inference_mode():
        assert is_eager_cpu_inference(tokens)


@torch.no_grad()
def test_an_exported_graph_has_the_plain_operators() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = MultiScaleDeformableAttention(16, 2, 1, 2)

        def forward(self, tokens: Tensor, points: Tensor) -> Tensor:
            return self.attention(tokens, tokens, points, [(3, 4)])

    graph = torch.export.export(Attention().eval(), (torch.randn(1, 12, 16), torch.rand(12, 2))).graph
    operators = {str(node.target) for node in graph.nodes if node.op == "call_function"}
    assert any("grid_sampler" in name for name in operators) and "aten.linear.default" in operators
    assert not any("conv" in name or "embedding_bag" in name for name in operators)


def test_gradients_reach_the_weights() -> None:
    layer = Linear(24, 40)
    layer(tokens_of("whole")).sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0
