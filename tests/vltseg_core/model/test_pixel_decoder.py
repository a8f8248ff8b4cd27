# SPDX-License-Identifier: Apache-2.0
"""Deformable attention against a loop over its own definition."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional as F

from vltseg_core.checkpoints import native
from vltseg_core.config import PixelDecoderConfig
from vltseg_core.data.demo_images import FIRST_UNSEEN_SEED, DemoImages
from vltseg_core.model import deformable_attention
from vltseg_core.model.bag_sampling import BagSampler
from vltseg_core.model.deformable_attention import MultiScaleDeformableAttention
from vltseg_core.model.pixel_decoder import build_pixel_decoder
from vltseg_core.runtime.weights_path import WEIGHTS_FOLDER


def bilinear(level_map: torch.Tensor, x: float, y: float) -> torch.Tensor:
    """Value [C] of a map [C, h, w] at pixel coordinates whose cell centres are at .5; zero outside."""
    channels, height, width = level_map.shape
    value = torch.zeros(channels)
    x, y = x - 0.5, y - 0.5
    for row in (int(y // 1), int(y // 1) + 1):
        for column in (int(x // 1), int(x // 1) + 1):
            if 0 <= row < height and 0 <= column < width:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * level_map[:, row, column]
    return value


def test_deformable_attention_is_its_definition() -> None:
    torch.manual_seed(0)
    sizes, heads, points, width = [(2, 3), (4, 5)], 2, 3, 8
    attention = MultiScaleDeformableAttention(width, heads, len(sizes), points)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    num_tokens = sum(h * w for h, w in sizes)
    queries, values = torch.randn(1, num_tokens, width), torch.randn(1, num_tokens, width)
    reference = torch.rand(num_tokens, 2)
    with torch.no_grad():
        result = attention(queries, values, reference, sizes)[0]
        offsets = attention.sampling_offsets(queries)[0].view(num_tokens, heads, len(sizes), points, 2)
        weights = attention.attention_weights(queries)[0].view(num_tokens, heads, -1).softmax(-1)
        weights = weights.view(num_tokens, heads, len(sizes), points)
        projected = attention.value_proj(values)[0].view(num_tokens, heads, -1)
        expected = torch.zeros(num_tokens, heads, width // heads)
        start = 0
        for level, (h, w) in enumerate(sizes):
            for head in range(heads):
                level_map = projected[start : start + h * w, head].T.reshape(-1, h, w)
                for token in range(num_tokens):
                    for point in range(points):
                        x, y = reference[token] * torch.tensor((w, h)) + offsets[token, head, level, point]
                        sample = bilinear(level_map, float(x), float(y))
                        expected[token, head] += weights[token, head, level, point] * sample
            start += h * w
        expected = attention.output_proj(expected.flatten(1))
    assert torch.allclose(result, expected, atol=1e-5)


def attention_and_inputs(sizes: list[tuple[int, int]]) -> tuple[MultiScaleDeformableAttention, torch.Tensor, torch.Tensor]:
    """Points that lie far outside the maps, too; tokens [2, N, 16] and reference points [N, 2]."""
    torch.manual_seed(0)
    attention = MultiScaleDeformableAttention(16, 4, len(sizes), 3).eval()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.6)
    num_tokens = sum(h * w for h, w in sizes)
    return attention, torch.randn(2, num_tokens, 16), 1.4 * torch.rand(num_tokens, 2) - 0.2


@torch.no_grad()
@pytest.mark.parametrize("sizes", [[(2, 3), (4, 5), (7, 11)], [(1, 1), (1, 2), (2, 1)], [(5, 4), (3, 8), (9, 2)]])
def test_bags_give_what_grid_sampling_gives(
    sizes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, fidelity: Callable[[str, str, float], None]
) -> None:
    attention, tokens, points = attention_and_inputs(sizes)
    by_bags = attention(tokens, tokens, points, sizes)
    monkeypatch.setattr(deformable_attention, "is_eager_cpu_inference", lambda _: False)
    by_grid = attention(tokens, tokens, points, sizes)
    difference = float((by_bags - by_grid).abs().max() / by_grid.abs().max())
    fidelity(f"deformable attention by bags, levels {sizes}", "grid_sample", difference)
    assert difference < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("x", [-1.0, -0.5, 0.0, 0.5, 3.0, 3.5, 4.0, 4.5, 1e9, float("inf"), -float("inf")])
def test_on_and_behind_the_border_bags_are_zero_outside(x: float) -> None:
    values = torch.arange(1.0, 13.0).view(1, 12, 1)  # a map of 3x4
    sampler = BagSampler(values, [(3, 4)], num_heads=1, num_points=1)
    found = sampler(torch.tensor([x, 1.5]).view(1, 1, 2, 1), torch.ones(1, 1, 1), torch.zeros(1, 2)).item()
    expected = 0.0 if abs(x) > 10 else bilinear(values[0].T.reshape(1, 3, 4), x, 1.5).item()
    assert found == pytest.approx(expected)


@torch.no_grad()
def test_places_that_are_no_numbers_give_no_numbers_and_read_nothing_else() -> None:
    sizes = [(2, 3), (4, 5)]
    attention, tokens, points = attention_and_inputs(sizes)
    sound = attention(tokens, tokens, points, sizes)
    queries = tokens.clone()
    queries[1, 3] = float("nan")
    broken = attention(queries, tokens, points, sizes)
    assert broken[1, 3].isnan().all()
    broken[1, 3] = sound[1, 3]
    assert torch.allclose(broken, sound, atol=1e-5)


def test_both_decoders_keep_the_pyramid_s_sizes() -> None:
    sizes = [(24, 31), (12, 16), (6, 8), (3, 4)]
    channels = (16, 24, 32, 40)
    maps = tuple(torch.randn(2, c, *s) for c, s in zip(channels, sizes, strict=True))
    for kind in ("deformable", "fpn"):
        config = PixelDecoderConfig(kind, width=32, mask_width=16, num_layers=1, num_heads=4, ffn_width=64, num_groups=8)
        pixels = build_pixel_decoder(config, channels)(maps)
        assert pixels.mask_features.shape == (2, 16, 24, 31)
        assert [tuple(m.shape[-2:]) for m in pixels.memory] == sizes[:0:-1]


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1])
def test_a_street_lies_in_the_mask_where_it_lies_in_the_image(seed: int) -> None:
    """Strides divide the padded image alone, and both show the same: maps of odd sizes must not shift what they show."""
    network = native.load(WEIGHTS_FOLDER / "tiny.safetensors").network.eval()
    street = DemoImages(1, first_seed=FIRST_UNSEEN_SEED + seed, image_size=(328, 456))[0].image
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.config.mean, network.config.std))
    image = (torch.from_numpy(street).permute(2, 0, 1)[None] - mean) / std
    labels, padded_labels = (
        network(x).predictions[-1].mask_logits.argmax(1)[:, :82, :114] for x in (image, F.pad(image, (0, 24, 0, 24)))
    )
    assert (labels == padded_labels).float().mean() > 0.99
    assert len(labels.unique()) > 5


@torch.no_grad()
@pytest.mark.parametrize("eager_cpu", [True, False])
def test_chunks_of_tokens_change_nothing(eager_cpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deformable_attention, "is_eager_cpu_inference", lambda _: eager_cpu)
    torch.manual_seed(0)
    config = PixelDecoderConfig("deformable", width=32, mask_width=32, num_layers=2, num_heads=4, ffn_width=64, num_groups=8)
    decoder = build_pixel_decoder(config, (8, 8, 8, 8)).eval()
    maps = tuple(torch.randn(2, 8, 48 // s, 64 // s) for s in (1, 2, 4, 8))
    whole = decoder(maps)
    monkeypatch.setattr(deformable_attention, "_CHUNK_TOKENS", 100)
    monkeypatch.setattr(deformable_attention, "_BAG_CHUNK_TOKENS", 100)
    chunked = decoder(maps)
    assert torch.allclose(chunked.mask_features, whole.mask_features, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("heads", [4, 8])
def test_bfloat16_is_as_near_as_its_rounding_allows(heads: int) -> None:
    """Places known to bf16 alone would be off by a third of a cell here, and torch's sampling of strided bf16 gives NaN."""
    torch.manual_seed(0)
    config = PixelDecoderConfig(
        "deformable", width=16 * heads, mask_width=32, num_layers=2, num_heads=heads, ffn_width=64, num_groups=8
    )
    decoder = build_pixel_decoder(config, (8, 8, 8, 8)).eval()
    for parameter in decoder.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    maps = [torch.randn(1, 8, 160 // s, 272 // s) for s in (1, 2, 4, 8)]
    exact = decoder(tuple(maps))
    rounded = decoder.bfloat16()(tuple(m.bfloat16() for m in maps))
    for wanted, found in zip((exact.mask_features, *exact.memory), (rounded.mask_features, *rounded.memory), strict=True):
        assert found.dtype == torch.bfloat16 and torch.isfinite(found).all()
        assert (found - wanted).norm() < 0.03 * wanted.norm()
