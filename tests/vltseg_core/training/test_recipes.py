# SPDX-License-Identifier: Apache-2.0
"""Every recipe says what the paper says: read by the training command, compared with the table of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from vltseg_core.config import preset
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.training.command_line import run
from vltseg_core.training.optimizer import OptimizerSettings

RECIPES = Path(__file__).parents[3] / "training/recipes"
SYNTHETIC = ([1280, 720], 512, 16, 5000)
REAL = ([2048, 1024], 1024, 8, 20_000)
TABLE = {
    "vltseg_gta5": ("eva02_clip_l", {"gta5"}, SYNTHETIC),
    "vltseg_synthia": ("eva02_clip_l", {"synthia"}, SYNTHETIC),
    "vltseg_gta5_synthia": ("eva02_clip_l", {"gta5", "synthia"}, SYNTHETIC),
    "vltseg_cityscapes": ("eva02_clip_l", {"cityscapes"}, REAL),
    "vltseg_acdc": ("eva02_clip_l", {"acdc"}, ([1920, 1080], *REAL[1:])),
    "vltseg_bdd100k": ("eva02_clip_l", {"bdd100k"}, REAL),
    "vltseg_mapillary": ("eva02_clip_l", {"mapillary"}, REAL),
    "clip_gta5": ("clip_l", {"gta5"}, SYNTHETIC),
    "deit3_gta5": ("deit3_l", {"gta5"}, SYNTHETIC),
    "vltseg_gta5_fpn": ("eva02_clip_l_fpn", {"gta5"}, SYNTHETIC),
    "vltseg_gta5_encoder_only": ("eva02_clip_l_encoder_only", {"gta5"}, SYNTHETIC),
    "vltseg_gta5_text_queries": ("eva02_clip_l_text_queries", {"gta5"}, SYNTHETIC),
    "first_stage_gta5": ("eva02_clip_l", {"gta5"}, (*SYNTHETIC[:3], 1000)),
    "first_stage_cityscapes": ("eva02_clip_l", {"cityscapes"}, (*REAL[:3], 1000)),
}


def read_by_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """All settings of a run by that recipe."""
    with pytest.raises(SystemExit) as end:
        run([str(RECIPES / f"{name}.yaml"), "--print_config"])
    assert end.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_there_is_a_recipe_for_each_row() -> None:
    assert {path.stem for path in RECIPES.glob("*.yaml")} >= {*TABLE, "tiny"}


@pytest.mark.parametrize("name", list(TABLE))
def test_a_recipe_is_the_paper_s(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    network, sources, (image_size, crop_size, batch_size, max_steps) = TABLE[name]
    settings = read_by_the_command(name, capsys)
    model, data, trainer = settings["model"], settings["data"], settings["trainer"]
    assert model["preset"] == network and model["pretrained"]
    assert set(data["weights"]) == sources and set(data["weights"].values()) == {1}
    assert (data["image_size"], data["crop_size"], data["batch_size"]) == (image_size, crop_size, batch_size)
    assert data["scales"] == [1.0, 1.0] and data["weather_share"] == 0
    assert (trainer["max_steps"], trainer["gradient_clip_val"]) == (max_steps, 0.01)
    assert model["optimizer"] == {
        "learning_rate": 1e-4, "betas": [0.9, 0.999], "encoder_rate_factor": 0.1, "layer_decay": 1.0, "weight_decay": 0.05,
        "decay_biases": True, "warm_up_steps": 500,
    }  # fmt: skip
    assert model["freeze_encoder"] == name.startswith("first_stage")
    assert model["ptm_weight"] == (0 if name == "deit3_gta5" else 1)
    assert model["validation_window"] == ([512, 426] if crop_size == 512 else [1024, 768])
    with torch.device("meta"):
        groups = OptimizerSettings(**model["optimizer"]).groups(Vltseg(preset(network)))
    rates = {(group["lr"], group["weight_decay"]) for group in groups}
    assert {round(rate, 12) for rate, _ in rates} == {1e-4, 1e-5} and {decay for _, decay in rates} == {0.0, 0.05}


@pytest.mark.parametrize(("name", "rate", "num_steps"), [("tiny", 1e-3, 2600), ("tiny_second_stage", 8e-4, 2200)])
def test_the_tiny_recipes_train_as_the_card_says(
    name: str, rate: float, num_steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_by_the_command(name, capsys)
    model, data, trainer = settings["model"], settings["data"], settings["trainer"]
    assert (model["preset"], model["network"], settings["seed_everything"]) == ("tiny", None, 0)
    assert model["pretrained"] == ("imagenet" if name == "tiny" else None)
    assert model["frozen_stages"] == 1 and model["optimizer"]["learning_rate"] == rate
    assert model["optimizer"]["encoder_rate_factor"] == 0.3 and not model["optimizer"]["decay_biases"]
    assert data["weights"] == {"camvid": 0.35, "kitti": 0.2, "demo": 0.45} and data["rare_class_temperature"] == 0.3
    assert (data["weather_share"], data["camera_share"]) == (0.3, 0.25)
    assert data["image_size"] is None and data["scales"] == [0.5, 1.75] and data["crop_size"] == 320
    assert (data["batch_size"], trainer["max_steps"], trainer["gradient_clip_val"]) == (8, num_steps, 5.0)
    assert settings["run"]["ema_decay"] == 0.998


def test_what_decays_and_how_fast_it_learns() -> None:
    with torch.device("meta"):
        network = Vltseg(preset("eva02_clip_l"))
    settings = OptimizerSettings(layer_decay=0.9)
    found = {id(p): group for group in settings.groups(network) for p in group["params"]}
    named = {name: found[id(p)] for name, p in network.named_parameters()}
    blocks = "image_encoder.trunk.blocks"
    decaying = [
        f"{blocks}.0.attn.proj.bias", "image_encoder.trunk.patch_embed.proj.weight", "pixel_decoder.input_convs.0.0.bias",
        "mask_decoder.layers.0.self_attention.query_proj.weight", "mask_decoder.class_head.weight",
    ]  # fmt: skip
    still = [
        "image_encoder.trunk.pos_embed", f"{blocks}.3.norm1.weight", f"{blocks}.3.norm1.bias", "feature_pyramid.up4.1.weight",
        "pixel_decoder.level_embedding.weight", "pixel_decoder.input_convs.0.1.weight", "mask_decoder.query_features.weight",
        "mask_decoder.query_positions.weight", "mask_decoder.level_embedding.weight", "mask_decoder.output_norm.bias",
    ]  # fmt: skip
    assert all(named[name]["weight_decay"] == 0.05 for name in decaying)
    assert all(named[name]["weight_decay"] == 0.0 for name in still)
    assert not any(
        named[name]["weight_decay"] and name.endswith("bias")
        for name in named
        if "norm" in name.rpartition(".")[0].split(".")[-1]
    )
    rates = [named[f"{blocks}.{index}.attn.proj.weight"]["lr"] for index in (23, 22, 0)]
    assert rates == pytest.approx([1e-5 * 0.9, 1e-5 * 0.81, 1e-5 * 0.9**24])
    assert named["image_encoder.trunk.pos_embed"]["lr"] == pytest.approx(1e-5 * 0.9**25)
    assert named["image_encoder.trunk.head.weight"]["lr"] == pytest.approx(1e-5)
    assert named["mask_decoder.class_head.weight"]["lr"] == 1e-4


def test_the_rate_rises_to_step_500_and_falls_to_nothing() -> None:
    factor = OptimizerSettings().rate_factor(5000)
    assert factor(0) == 1 / 500 and factor(249) == 0.5 and factor(499) == factor(500) == 1.0
    assert factor(2750) == pytest.approx(0.5**0.9) and factor(5000) == 0.0


def test_mask_embeddings_of_classes_do_not_decay() -> None:
    with torch.device("meta"):
        network = Vltseg(preset("tiny"))
    (name,) = [name for name, _ in network.named_parameters() if "mask_embedding" in name]
    (group,) = [g for g in OptimizerSettings().groups(network) if any(p is network.get_parameter(name) for p in g["params"])]
    assert group["weight_decay"] == 0.0 and group["lr"] == OptimizerSettings().learning_rate
