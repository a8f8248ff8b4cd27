# SPDX-License-Identifier: Apache-2.0
"""What the tests run in processes of their own, alone or several together over gloo."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from datetime import timedelta
from multiprocessing.queues import Queue
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from small_networks import small, small_batch
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.nn.parallel import DistributedDataParallel

from vltseg_core import config as network_config
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.labels import IGNORE
from vltseg_core.training.activation_checkpointing import blocks_of
from vltseg_core.training.command_line import run
from vltseg_core.training.datamodule import _begin_worker
from vltseg_core.training.segmentation_task import SegmentationTask
from vltseg_core.training.training_samples import TrainingBatch

NUM_IMAGES = 4


def train_with_one_thread(arguments: list[str], environment: dict[str, str] | None = None) -> None:
    """The training command, as deterministic as the tests' own process."""
    os.environ.update(environment or {})
    torch.set_num_threads(1)
    sys.exit(run(arguments))


def train_with_a_worker(worker_ids: Queue[int]) -> None:
    """Begins a data worker, tells its process id, and waits."""
    worker = multiprocessing.get_context("forkserver").Process(target=_work, args=(worker_ids,))
    worker.start()
    worker.join()


def _work(worker_ids: Queue[int]) -> None:
    _begin_worker(0)
    worker_ids.put(os.getpid())
    time.sleep(120)


def torchrun_environment(rank: int, num_processes: int, port: int) -> dict[str, str]:
    """What torchrun tells a process."""
    values = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": num_processes, "LOCAL_WORLD_SIZE": num_processes}
    return {name: str(value) for name, value in values.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


class Step(nn.Module):
    """A training step as the forward pass that the wrappers want."""

    def __init__(self, task: SegmentationTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: TrainingBatch) -> torch.Tensor:
        return self.task.training_step(batch, 0)


def step_of(name: str, ptm_weight: float = 1.0) -> Step:
    """A task without dropped paths, its batch norms in evaluation."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"class_embeddings": "minilm", "class_balance": 0.5}
    if name != "tiny":
        network_config.PRESETS[name] = small(name, drop_path=0.0)
        settings = {"class_embeddings": None, "ptm_weight": ptm_weight}
    embeddings = settings.pop("class_embeddings")
    if embeddings is None and ptm_weight > 0:
        from safetensors.torch import save_file

        embeddings = f"{tempfile.gettempdir()}/vltseg_test_embeddings_{os.getpid()}.safetensors"
        save_file({"class_embeddings": torch.randn(19, 512)}, embeddings)
    task = SegmentationTask(name, embeddings, **settings).train()
    if embeddings and embeddings.startswith("/tmp"):
        os.unlink(embeddings)
    for module in task.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    task.trainer = SimpleNamespace(estimated_stepping_batches=10, global_step=0)  # type: ignore[assignment]  # stands in
    task.log = task.log_dict = lambda *arguments, **keywords: None  # type: ignore[method-assign, assignment]  # no trainer
    return Step(task)


def whole_batch() -> TrainingBatch:
    """Four images with unlike numbers of segments; the last two, which are the second process's, have no labels at all."""
    batch = small_batch(NUM_IMAGES, seeds=tuple(range(100, 100 + NUM_IMAGES)))
    batch.codes[1, :, 20:] = IGNORE
    batch.codes[2:] = IGNORE
    return batch


def part_of(batch: TrainingBatch, rank: int, num_processes: int) -> TrainingBatch:
    assert batch.seeds is not None
    share = slice(rank * NUM_IMAGES // num_processes, (rank + 1) * NUM_IMAGES // num_processes)
    return TrainingBatch(batch.images[share], batch.codes[share], batch.seeds[share])


def gradients(rank: int, num_processes: int, meeting: str, cases: list[tuple[str, float]], output: str) -> None:
    """Each case's gradients after one step on this process's part of the batch; rank 0 writes them down."""
    torch.set_num_threads(1)
    join(rank, num_processes, meeting)
    found = {}
    for name, ptm_weight in cases:
        step = step_of(name, ptm_weight)
        wrapped = DistributedDataParallel(step) if num_processes > 1 else step
        loss = wrapped(part_of(whole_batch(), rank, num_processes))
        loss.backward()
        parameters = step.task.network.named_parameters()
        found[name, ptm_weight] = {n: p.grad for n, p in parameters if p.grad is not None}
        found[name, ptm_weight]["shares"] = step.task.code_frequencies.shares
    if rank == 0:
        torch.save(found, output)


def sharded_step(rank: int, num_processes: int, meeting: str, output: str) -> None:
    """A step with sharded weights: groups, clipping and AdamW; rank 0 writes down the norm and the new weights."""
    torch.set_num_threads(1)
    join(rank, num_processes, meeting)
    step = step_of("eva02_clip_l")
    task = step.task
    root: nn.Module = step
    if num_processes > 1:
        root = FullyShardedDataParallel(
            step,
            auto_wrap_policy=ModuleWrapPolicy({type(block) for block in blocks_of(task.network)}),
            sharding_strategy=ShardingStrategy.FULL_SHARD,
            use_orig_params=True,
            device_id=torch.device("cpu"),
        )
    task.trainer.model = root
    optimizer = task.configure_optimizers()["optimizer"]  # type: ignore[index]  # our own form
    groups = [(g["lr"], g["weight_decay"], len(g["params"])) for g in optimizer.param_groups]
    root(part_of(whole_batch(), rank, num_processes)).backward()
    task.clip_gradients = lambda *arguments: nn.utils.clip_grad_norm_(task.parameters(), 0.01)  # type: ignore[assignment]  # no trainer
    task.configure_gradient_clipping(optimizer, 0.01, "norm")
    squares = torch.stack([p.grad.square().sum() for p in task.parameters() if p.grad is not None]).sum()
    if num_processes > 1:
        dist.all_reduce(squares)
        with FullyShardedDataParallel.summon_full_params(root, with_grads=True):
            clipped = whole_gradients(task)
    else:
        clipped = whole_gradients(task)
    optimizer.step()
    if rank == 0:
        torch.save({"groups": groups, "norm": squares.sqrt(), "gradients": clipped}, output)


def whole_gradients(task: SegmentationTask) -> dict[str, torch.Tensor]:
    names = ((n.replace("_fsdp_wrapped_module.", ""), p) for n, p in task.network.named_parameters())
    return {n: p.grad.clone() for n, p in names if p.grad is not None}


def shared_validation(rank: int, num_processes: int, meeting: str, camvid: str, output: str) -> None:
    """A network's mIoU on CamVid val, the images shared by the processes."""
    torch.set_num_threads(1)
    join(rank, num_processes, meeting)
    from vltseg_core.data.data_sets import data_set
    from vltseg_core.training.validation_images import ValidationImages

    step = step_of("tiny")
    task = step.task.eval()
    measured = data_set("camvid").evaluation_set(Path(camvid))
    task.trainer.datamodule = SimpleNamespace(evaluation_sets={"camvid": measured})
    logged: dict[str, float] = {}
    task.log_dict = lambda scores, **keywords: logged.update(scores)  # type: ignore[method-assign, assignment]  # no trainer
    task.on_validation_epoch_start()
    shares = ValidationImages(measured.images, rank, num_processes)
    with torch.no_grad():
        for image in (shares[place] for place in range(len(shares))):
            task.validation_step(image, 0)
    confusion: ConfusionMatrix = task._confusions[0]
    num_images = torch.tensor(confusion.num_images)
    task.on_validation_epoch_end()
    if num_processes > 1:
        dist.all_reduce(num_images)
    if rank == 0:
        torch.save({"counts": torch.from_numpy(confusion.counts), "num_images": num_images, **logged}, output)


def join(rank: int, num_processes: int, meeting: str) -> None:
    """Make the processes one group."""
    if num_processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=num_processes, timeout=timedelta(seconds=120)
        )
