# SPDX-License-Identifier: Apache-2.0
"""Class embeddings come from a language model, and say so when they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vltseg_core.checkpoints.class_embeddings import PROMPTS_FOLDER, load_class_embeddings, save_class_embeddings
from vltseg_core.config import preset
from vltseg_core.errors import CheckpointError, ConfigurationError
from vltseg_core.labels import CITYSCAPES
from vltseg_core.model.text_encoder import Prompts, embed_classes


def test_the_embeddings_that_come_with_the_package_know_what_is_alike() -> None:
    embeddings = load_class_embeddings("minilm", preset("tiny"))
    similarity = embeddings @ embeddings.T

    def between(first: str, second: str) -> float:
        return float(similarity[CITYSCAPES.names.index(first), CITYSCAPES.names.index(second)])

    assert torch.allclose(similarity.diagonal(), torch.ones(19), atol=1e-5)
    assert between("car", "truck") > between("car", "sky")
    assert between("bicycle", "motorcycle") > between("bicycle", "vegetation")
    assert between("traffic light", "traffic sign") > between("traffic light", "terrain")


def test_embeddings_of_another_width_are_refused(tmp_path: Path) -> None:
    save_class_embeddings(torch.zeros(19, 512), tmp_path / "wide.safetensors", "a test")
    with pytest.raises(CheckpointError, match=r"are \[19, 512\], network 'tiny' expects \[19, 384\]"):
        load_class_embeddings(str(tmp_path / "wide.safetensors"), preset("tiny"))
    with pytest.raises(CheckpointError, match="'maxilm' not found: give a .safetensors file, or one of minilm"):
        load_class_embeddings("maxilm", preset("tiny"))


def test_an_embedding_is_the_mean_over_names_and_templates() -> None:
    prompts = Prompts(("{}", "a {}"), {"car": ("car", "auto"), "sky": ("sky",)})
    asked: list[list[str]] = []

    def encode(sentences: list[str]) -> torch.Tensor:
        asked.append(sentences)
        return torch.tensor([[float(len(s)), 1.0] for s in sentences])

    embeddings = embed_classes(encode, prompts, ["car", "sky"])
    assert asked == [["car", "a car", "auto", "a auto"], ["sky", "a sky"]]
    vectors = torch.nn.functional.normalize(torch.tensor([[3.0, 1.0], [5.0, 1.0]]), dim=1)
    assert torch.allclose(embeddings[1], torch.nn.functional.normalize(vectors.mean(0), dim=0))


def test_prompts_must_name_the_network_s_classes(tmp_path: Path) -> None:
    assert Prompts.read(PROMPTS_FOLDER / "cityscapes.yaml", CITYSCAPES.names).templates
    (tmp_path / "p.yaml").write_text("templates: ['{}']\nnames: {road: [road]}\n")
    with pytest.raises(ConfigurationError, match="differ in: .*bicycle"):
        Prompts.read(tmp_path / "p.yaml", CITYSCAPES.names)
    (tmp_path / "p.yaml").write_text("- just a list\n")
    with pytest.raises(ConfigurationError, match="need the keys templates and names"):
        Prompts.read(tmp_path / "p.yaml", CITYSCAPES.names)
