# SPDX-License-Identifier: Apache-2.0
"""Learnable context starts as words and then computes what CLIP's text tower computes; only the context is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from vltseg_core.model.text_encoder import LearnedContext, Prompts, clip_text_encoder, embed_classes

NAMES = ("road", "traffic light", "rider")


@pytest.fixture(scope="module", params=["ViT-B-16", "EVA02-B-16"])
def clip_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """An architecture and a file of random weights for it: one CLIP whose text tower is a part, one where it is spread out."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "open_clip_model.safetensors"
    state = open_clip.create_model(request.param).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return request.param, str(path)


def test_context_of_words_is_the_prompt_with_these_words(
    clip_file: tuple[str, str], fidelity: Callable[[str, str, float], None]
) -> None:
    architecture, weights = clip_file
    context = LearnedContext(architecture, weights, NAMES, 4, words="a photo of a")
    expected = F.normalize(clip_text_encoder(architecture, weights)([f"a photo of a {name}" for name in NAMES]), dim=1)
    found = context()
    assert found.shape == expected.shape == (3, 512)
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    fidelity(f"text tower with context tokens, {architecture}", "open_clip encode_text", difference)
    assert difference < 1e-4
    found[:, 0].sum().backward()
    assert context.context.grad is not None and float(context.context.grad.abs().min(dim=1).values.max()) > 0
    assert [name for name, p in context.named_parameters() if p.requires_grad] == ["context"]
    assert context.train().training and not any(m.training for m in context.transformer.modules())


def test_an_ensemble_is_the_mean_over_names_and_templates(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("templates: ['a {}', 'the {}']\nnames: {road: [road, street], car: [car]}\n")
    prompts = Prompts.read(tmp_path / "p.yaml", ("road", "car"))
    embedded = {
        "a road": [1.0, 0.0], "the road": [0.0, 2.0], "a street": [3.0, 0.0], "the street": [4.0, 0.0],
        "a car": [0.0, 1.0], "the car": [0.0, 1.0],
    }  # fmt: skip
    embeddings = embed_classes(lambda sentences: torch.tensor([embedded[s] for s in sentences]), prompts, ("road", "car"))
    assert torch.allclose(embeddings, F.normalize(torch.tensor([[0.75, 0.25], [0.0, 1.0]]), dim=1))
