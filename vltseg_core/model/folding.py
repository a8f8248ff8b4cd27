# SPDX-License-Identifier: Apache-2.0
"""Neighbouring linear maps made one, exactly, for a network that is no longer trained: less work and memory, same result."""

from __future__ import annotations

from itertools import pairwise

import torch
from timm.layers.norm_act import BatchNormAct2d
from timm.models.efficientnet import EfficientNetFeatures
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
    trunk = getattr(network.image_encoder, "trunk", None)
    has_hooks = getattr(trunk, "feature_hooks", None) is not None  # its maps come from hooks on the convolutions themselves
    runs_in_order = set(trunk.modules()) if isinstance(trunk, EfficientNetFeatures) and not has_hooks else set()
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential) or module in runs_in_order:
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


def _fold_batch_norms(layers: nn.Module) -> None:
    """Every norm that is the next child after a convolution; of one with an activation that stays."""
    for (conv_name, conv), (norm_name, norm) in pairwise(list(layers.named_children())):
        is_norm = type(norm) is nn.BatchNorm2d or isinstance(norm, BatchNormAct2d)
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d) and is_norm:
            folded = fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
            setattr(layers, conv_name, folded)
            setattr(layers, norm_name, norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity())


def _as_own_linear(layer: nn.Linear) -> Linear:
    own = Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
    own.weight, own.bias = layer.weight, layer.bias
    return own.eval()
