# SPDX-License-Identifier: Apache-2.0
"""Counts over the processes of a distributed run; in a single process they are what they were.

The processes' gradients are averaged, so a loss that is divided by the mean count over the processes has the gradient
that one process would have on the whole batch.
"""

from __future__ import annotations

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
