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
from small_networks import SMALL_DECODERS, small, small_batch

from vltseg_core import config as network_config
from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.class_embeddings import save_class_embeddings
from vltseg_core.errors import ConfigurationError
from vltseg_core.training.segmentation_task import SegmentationTask
from vltseg_core.training.starting_weights import learned_context_of


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


@pytest.mark.parametrize("name", list(SMALL_DECODERS))
def test_the_loss_falls_and_every_part_is_trained(name: str, task_of: Any) -> None:
    task = task_of(name, ptm_weight=1.0).train()
    optimizer = torch.optim.AdamW(task.network.parameters(), lr=1e-3)
    first = None
    for _ in range(12):
        loss = task.training_step(small_batch(), 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        first = first or float(loss)
    assert float(loss) < 0.9 * first
    untouched = [n for n, p in task.network.named_parameters() if p.requires_grad and p.grad is None]
    assert not untouched


def test_without_matching_the_text_projection_is_not_trained(task_of: Any) -> None:
    task = task_of("eva02_clip_l", ptm_weight=0.0).train()
    task.training_step(small_batch(), 0).backward()
    untouched = {n for n, p in task.network.named_parameters() if p.grad is None}
    assert untouched == {n for n, p in task.network.named_parameters() if not p.requires_grad}  # nothing to wait for
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
    task.learned_context = learned_context_of(task.network, 4, str(whole))
    task.train()
    before = task.network.class_embeddings.clone()
    task.training_step(small_batch(), 0).backward()
    assert float(task.learned_context.context.grad.abs().max()) > 0
    task.embed_classes_by_context()
    assert torch.allclose(task.network.class_embeddings, task.learned_context().detach(), atol=1e-6)
    assert copy.deepcopy(task).learned_context().shape == (19, 512)  # as the running average of the weights does
    assert not torch.allclose(task.network.class_embeddings, before)
    groups = task.configure_optimizers()["optimizer"].param_groups
    assert sum(p is task.learned_context.context for g in groups for p in g["params"]) == 1


def test_context_without_a_clip_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="context_tokens need a CLIP network"):
        SegmentationTask("tiny", "minilm", context_tokens=4)


def test_a_frozen_encoder_stays_as_it_is_without_stochastic_depth(task_of: Any) -> None:
    task = task_of("eva02_clip_l", freeze_encoder=True).train()
    assert not task.network.image_encoder.training and task.network.mask_decoder.training
    task.training_step(small_batch(), 0).backward()
    trained = {name.partition(".")[0] for name, p in task.network.named_parameters() if p.grad is not None}
    assert trained == {"feature_pyramid", "pixel_decoder", "mask_decoder"}
    groups = task.configure_optimizers()["optimizer"].param_groups
    encoder = {id(p) for p in task.network.image_encoder.parameters()}
    assert not any(id(p) in encoder for group in groups for p in group["params"])


def test_matching_without_text_is_refused(task_of: Any) -> None:
    with pytest.raises(ConfigurationError, match="no CLIP with 'pretrained' weights makes it: give class_embeddings"):
        SegmentationTask("tiny")


def test_other_classes_than_cityscapes_are_not_trained() -> None:
    with pytest.raises(ConfigurationError, match="a network of camvid's classes cannot be trained"):
        SegmentationTask("tiny", "minilm", network={"class_table": "camvid"})


def test_texts_that_are_asked_for_go_over_those_of_the_weights_and_only_those(task_of: Any, tmp_path: Path) -> None:
    name = "eva02_clip_l_text_queries"
    before = task_of(name)
    native.save(before.network, tmp_path / "start.safetensors", trained_on="nothing")
    texts = torch.nn.functional.normalize(torch.randn(19, 512), dim=1)
    save_class_embeddings(texts, tmp_path / "other.safetensors", "random")
    start = str(tmp_path / "start.safetensors")
    asked_for = SegmentationTask(name, str(tmp_path / "other.safetensors"), initial_weights=start)
    assert torch.allclose(asked_for.network.class_embeddings, texts)
    kept = SegmentationTask(name, initial_weights=start)
    for key, tensor in kept.network.state_dict().items():
        assert torch.equal(tensor, before.network.state_dict()[key]), key
        assert key == "class_embeddings" or torch.equal(tensor, asked_for.network.state_dict()[key]), key


def test_shared_batch_norms_keep_activations_names_and_what_is_frozen() -> None:
    task = SegmentationTask("tiny", "minilm", frozen_stages=2).eval()
    names, images = list(task.state_dict()), torch.randn(1, 3, 64, 64)
    expected = task.network(images).predictions[-1].mask_logits
    task.synchronise_batch_norms()
    norms = {n: m for n, m in task.network.train().named_modules() if isinstance(m, torch.nn.SyncBatchNorm)}
    assert norms and not any(type(m) is torch.nn.BatchNorm2d for m in task.network.modules())
    frozen = [n for n in norms if n.startswith(("image_encoder.trunk.bn1", "image_encoder.trunk.blocks.1."))]
    assert frozen and not any(norms[name].training for name in frozen)
    assert norms["image_encoder.trunk.blocks.4.0.bn1"].training
    assert list(task.state_dict()) == names
    assert torch.equal(task.network.eval()(images).predictions[-1].mask_logits, expected)


@pytest.mark.parametrize("name", list(SMALL_DECODERS))
def test_checkpointed_activations_give_the_same_gradients(name: str, task_of: Any) -> None:
    gradients = []
    for checkpointed in (False, True):
        task = task_of(name, activation_checkpointing=checkpointed).train()
        torch.manual_seed(2)  # of the stochastic depth
        task.training_step(small_batch(), 0).backward()
        gradients.append({n: p.grad for n, p in task.network.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert all(torch.equal(gradients[0][n], gradients[1][n]) for n in gradients[0])


def test_checkpointed_activations_are_not_kept(task_of: Any) -> None:
    kept = []
    for checkpointed in (False, True):
        task = task_of("eva02_clip_l", activation_checkpointing=checkpointed).train()
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            task.network.image_encoder(torch.randn(1, 3, 64, 64))
        kept.append(sum(sizes))
    assert kept[1] < 0.5 * kept[0]


def test_a_compiled_network_has_the_same_names_and_gradients(task_of: Any) -> None:
    gradients = []
    for backend in (None, "eager"):
        task = task_of("eva02_clip_l_text_queries", compile_backend=backend).train()
        task.on_fit_start()
        torch.manual_seed(2)
        task.training_step(small_batch(), 0).backward()
        gradients.append({n: p.grad for n, p in task.network.named_parameters() if p.grad is not None})
        assert copy.deepcopy(task).state_dict().keys() == task.state_dict().keys()
    assert gradients[0].keys() == gradients[1].keys()
    largest = max(float(gradient.abs().max()) for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():  # some are 0 but for rounding: text queries compete in a softmax
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-6 * largest), name


def test_bfloat16_trains(task_of: Any) -> None:
    for name in ("eva02_clip_l", "eva02_clip_l_text_queries"):
        task = task_of(name).train()
        with torch.autocast("cpu", torch.bfloat16):
            loss = task.training_step(small_batch(), 0)
        loss.backward()
        assert torch.isfinite(loss)


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
