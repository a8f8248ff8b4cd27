# SPDX-License-Identifier: Apache-2.0
"""One step trains what it should and nothing else, with every decoder and with learnable context."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from vltseg_core import config as network_config
from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.class_embeddings import save_class_embeddings
from vltseg_core.config import VltsegConfig
from vltseg_core.errors import ConfigurationError
from vltseg_core.training.segmentation_task import SegmentationTask, TrainingBatch

_PIXELS = {
    "kind": "deformable", "width": 32, "mask_width": 32, "num_layers": 1, "num_heads": 4, "ffn_width": 64, "num_groups": 8,
}  # fmt: skip
_MASKS = {"num_queries": 19, "num_layers": 3, "num_heads": 4, "ffn_width": 64}
SMALL_DECODERS = {
    "eva02_clip_l": {"pixel_decoder": _PIXELS, "mask_decoder": {"queries": "learned", **_MASKS}},
    "eva02_clip_l_text_queries": {"pixel_decoder": _PIXELS, "mask_decoder": {"queries": "text", **_MASKS}},
    "eva02_clip_l_fpn": {"fpn_decoder": {"width": 32}},
    "eva02_clip_l_encoder_only": {"encoder_only": {"num_queries": 12, "num_blocks": 2}},
}


def small(name: str) -> VltsegConfig:
    """A preset's network with four narrow blocks."""
    fields = network_config.PRESETS[name].to_dict()
    fields["image_encoder"] |= {
        "model": "EVA02-B-16", "tapped_blocks": [0, 1, 2, 3], "overrides": {"embed_dim": 48, "depth": 4, "num_heads": 2},
    }  # fmt: skip
    return VltsegConfig.from_dict(fields | SMALL_DECODERS[name] | {"pixel_text": {"embedding_width": 512}})


@pytest.fixture
def task_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Builds a task on a preset cut down, with class embeddings of its width."""

    def build(name: str, **settings: Any) -> SegmentationTask:
        torch.manual_seed(0)
        monkeypatch.setitem(network_config.PRESETS, name, small(name))
        save_class_embeddings(torch.nn.functional.normalize(torch.randn(19, 512), dim=1), tmp_path / "e.safetensors", "random")
        task = SegmentationTask(name, str(tmp_path / "e.safetensors"), **settings)
        task.trainer = SimpleNamespace(estimated_stepping_batches=10, global_step=0)  # type: ignore[assignment]  # stands in
        monkeypatch.setattr(task, "log", lambda *a, **k: None)
        monkeypatch.setattr(task, "log_dict", lambda *a, **k: None)
        return task

    return build


def batch() -> TrainingBatch:
    torch.manual_seed(1)
    codes = torch.randint(0, 19, (2, 1, 4, 4)).float()
    codes = torch.nn.functional.interpolate(codes, scale_factor=16)[:, 0].to(torch.uint8)
    codes[:, :8] = 255
    return TrainingBatch(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), codes)


@pytest.mark.parametrize("name", list(SMALL_DECODERS))
def test_the_loss_falls_and_every_part_is_trained(name: str, task_of: Any) -> None:
    task = task_of(name, ptm_weight=1.0).train()
    optimizer = torch.optim.AdamW(task.network.parameters(), lr=1e-3)
    first = None
    for _ in range(12):
        loss = task.training_step(batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or float(loss)
    assert float(loss) < 0.9 * first
    untouched = [n for n, p in task.network.named_parameters() if p.requires_grad and p.grad is None]
    assert not untouched


def test_without_matching_the_text_projection_is_not_trained(task_of: Any) -> None:
    task = task_of("eva02_clip_l", ptm_weight=0.0).train()
    task.training_step(batch(), 0).backward()
    untouched = {n for n, p in task.network.named_parameters() if p.grad is None}
    assert untouched == {f"image_encoder.trunk.{n}" for n in ("norm.weight", "norm.bias", "head.weight", "head.bias")}


def test_learnable_context_is_trained_and_leaves_its_embeddings_in_the_network(task_of: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    clip = open_clip.create_model("EVA02-B-16").state_dict()
    small_tower = task_of("eva02_clip_l_text_queries").network.image_encoder.trunk.state_dict()
    state = {k: v for k, v in clip.items() if not k.startswith("visual.")}
    state |= {f"visual.trunk.{k}": v for k, v in small_tower.items()}
    weights = tmp_path / "clip.safetensors"
    save_file({k: v.contiguous() for k, v in state.items()}, weights)
    # The text tower is read from a whole CLIP file, the image tower from one that is cut down.
    whole = tmp_path / "whole.safetensors"
    save_file({k: v.contiguous() for k, v in clip.items()}, whole)
    task = task_of("eva02_clip_l_text_queries")
    task.learned_context = task._build_context(4, str(whole))
    task.train()
    before = task.network.class_embeddings.clone()
    task.training_step(batch(), 0).backward()
    assert float(task.learned_context.context.grad.abs().max()) > 0
    task.embed_classes_by_context()
    assert torch.allclose(task.network.class_embeddings, task.learned_context().detach(), atol=1e-6)
    assert copy.deepcopy(task).learned_context().shape == (19, 512)  # as the running average of the weights does
    assert not torch.allclose(task.network.class_embeddings, before)
    groups = task.configure_optimizers()["optimizer"].param_groups
    assert sum(p is task.learned_context.context for g in groups for p in g["params"]) == 1


def test_context_without_a_clip_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="context_tokens need a CLIP network"):
        SegmentationTask("tiny", context_tokens=4)


def test_frozen_stages_of_a_transformer_are_refused(task_of: Any) -> None:
    with pytest.raises(ConfigurationError, match="frozen_stages 2: only a convolutional encoder"):
        task_of("eva02_clip_l", frozen_stages=2)


@torch.no_grad()
@pytest.mark.parametrize("name", list(SMALL_DECODERS))
def test_what_was_trained_is_saved_and_loaded_to_the_last_bit(name: str, task_of: Any, tmp_path: Path) -> None:
    network = task_of(name).network.eval()
    native.save(network, tmp_path / "n.safetensors", trained_on="random weights")
    restored = native.load(tmp_path / "n.safetensors").network
    images = torch.randn(1, 3, 64, 80)
    expected, found = (n(images, with_score_map=True) for n in (network, restored.to(memory_format=torch.channels_last)))
    assert torch.equal(found.predictions[-1].mask_logits, expected.predictions[-1].mask_logits)
    assert torch.equal(found.score_map, expected.score_map)
