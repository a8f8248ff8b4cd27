# SPDX-License-Identifier: Apache-2.0
"""Counts over the processes of a distributed run; in a single process they are what they were.

The processes' gradients are averaged, so a loss that is divided by the mean count over the processes has the gradient
that one process would have on the whole batch.
"""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from torch import Tensor


def num_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(count: Tensor) -> Tensor:
    """The sum of every process's tensor, without a gradient; all processes must call it."""
    if num_processes() == 1:
        return count
    total = count.detach().clone()
    dist.all_reduce(total)
    return total


def mean_over_processes(count: Tensor) -> Tensor:
    """The mean of every process's tensor, without a gradient; all processes must call it."""
    return sum_over_processes(count) / num_processes()


def any_process(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set in some process; all processes must call it."""
    return flag if num_processes() == 1 else bool(sum_over_processes(torch.tensor(float(flag), device=device)) > 0)


def launched_processes() -> dict[str, int]:
    """Lightning's `devices` and `num_nodes` where torchrun or srun started this process, nothing where neither did.

    Left to itself Lightning takes one device on a CPU, and all that it sees on a GPU, whatever was launched.
    """
    if "LOCAL_WORLD_SIZE" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return {"devices": local, "num_nodes": int(os.environ["WORLD_SIZE"]) // local}
    if "SLURM_PROCID" in os.environ and int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        num_nodes = int(os.environ["SLURM_NNODES"])
        return {"devices": int(os.environ["SLURM_NTASKS"]) // num_nodes, "num_nodes": num_nodes}
    return {}
