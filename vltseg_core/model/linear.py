# SPDX-License-Identifier: Apache-2.0
"""Linear maps of tokens, on a CPU by the library that computes convolutions, which is the faster one.

N tokens, C and D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def is_eager_cpu_inference(tensor: Tensor) -> bool:
    """Whether what is computed from this tensor may take the CPU's own way: fp32, without gradients, not being traced.

    Training, GPUs and exported graphs compute by the plain way, which is the reference.
    """
    return (
        tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.compiler.is_exporting()
    )


def linear(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Tokens [..., C] times weight [D, C] plus bias [D], to [..., D].

    `F.linear` calls MKL, which on processors of other makers than Intel leaves AVX-512 unused; a 1x1 convolution over
    channels-last places is the same sum and goes to oneDNN.
    """
    if not is_eager_cpu_inference(tokens) or tokens.numel() == 0:
        return F.linear(tokens, weight, bias)
    places = tokens.contiguous().view(1, -1, 1, tokens.shape[-1]).permute(0, 3, 1, 2)  # [1, C, N, 1], channels last
    mapped = F.conv2d(places, weight[:, :, None, None], bias)
    return mapped.permute(0, 2, 3, 1).contiguous().view(*tokens.shape[:-1], weight.shape[0])


def products(rows: Tensor, others: Tensor) -> Tensor:
    """Every row's product with every other, image by image: [B, N, C] and [B, M, C] to [B, N, M]."""
    if not is_eager_cpu_inference(rows):
        return torch.einsum("bnc,bmc->bnm", rows, others)
    each = [linear(r, o, None)[None] for r, o in zip(rows, others, strict=True)]
    return each[0] if len(each) == 1 else torch.cat(each)


class Linear(nn.Linear):
    """`nn.Linear` by `linear`: the same weights under the same names."""

    def forward(self, input: Tensor) -> Tensor:  # nn.Linear's own argument name
        return linear(input, self.weight, self.bias)
