# SPDX-License-Identifier: Apache-2.0
"""Neighbouring linear maps made one, exactly, for a network that is no longer trained: less work and memory, same result."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vltseg_core.model.feature_pyramid import FeaturePyramid
from vltseg_core.model.linear import Linear
from vltseg_core.model.pixel_decoder import DeformablePixelDecoder
from vltseg_core.model.vltseg import Vltseg


@torch.no_grad()
def fold_for_inference(network: Vltseg) -> None:
    """Change a network in evaluation mode, in place; its state dict is another one afterwards.

    The pyramid's last transposed convolutions take in the 1x1 convolutions of the pixel decoder that follow them, so that
    maps of the encoder's width never exist at strides 4 and 8; batch norms go into the convolution before them. The towers'
    linear maps become `Linear`, which keeps their weights and names.
    """
    assert not network.training  # batch statistics would be lost
    pyramid, decoder = network.feature_pyramid, network.pixel_decoder
    if isinstance(pyramid, FeaturePyramid) and isinstance(decoder, DeformablePixelDecoder):
        pyramid.up4[3], decoder.lateral_conv[0] = _with_pointwise(pyramid.up4[3], decoder.lateral_conv[0]), nn.Identity()
        finest = decoder.input_convs[-1]
        assert isinstance(finest, nn.Sequential)
        pyramid.up2, finest[0] = _with_pointwise(pyramid.up2, finest[0]), nn.Identity()
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            _fold_batch_norms(module)
        for name, child in module.named_children():
            if type(child) is nn.Linear:
                setattr(module, name, _as_own_linear(child))


def _with_pointwise(doubling: nn.Module, pointwise: nn.Module) -> nn.ConvTranspose2d:
    """One transposed convolution for a transposed convolution and the 1x1 convolution after it."""
    assert isinstance(doubling, nn.ConvTranspose2d) and isinstance(pointwise, nn.Conv2d) and doubling.bias is not None
    outer = pointwise.weight[:, :, 0, 0]  # [out, middle]
    folded = nn.ConvTranspose2d(doubling.in_channels, pointwise.out_channels, doubling.kernel_size, doubling.stride)  # type: ignore[arg-type]  # two numbers each
    folded.to(outer.device, outer.dtype)
    folded.weight.copy_(torch.einsum("imhw,om->iohw", doubling.weight, outer))
    bias: Tensor = outer @ doubling.bias
    assert folded.bias is not None
    folded.bias.copy_(bias if pointwise.bias is None else bias + pointwise.bias)
    return folded.eval()


def _fold_batch_norms(layers: nn.Sequential) -> None:
    for index in range(len(layers) - 1):
        conv, norm = layers[index], layers[index + 1]
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and type(norm) is nn.BatchNorm2d:
            layers[index] = fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
            layers[index + 1] = nn.Identity()


def _as_own_linear(layer: nn.Linear) -> Linear:
    own = Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
    own.weight, own.bias = layer.weight, layer.bias
    return own.eval()
