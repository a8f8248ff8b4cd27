# SPDX-License-Identifier: Apache-2.0
"""The processes that share an evaluation, as torchrun or Slurm starts them; one alone where nothing did."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
import torch.distributed as distributed

Item = TypeVar("Item")
_LONGEST_WAIT = datetime.timedelta(days=2)


@dataclass(frozen=True)
class Processes:
    """This process's number among `count`; number 0 writes the results."""

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.number == 0

    def gather(self, item: Item) -> list[Item]:
        """Every process's item, by number, in every process; each process must call it."""
        if self.count == 1:
            return [item]
        items: list[Item | None] = [None] * self.count
        distributed.all_gather_object(items, item)
        return cast(list[Item], items)


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the others of this launch, by gloo; alone where the environment names none (WORLD_SIZE)."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield ALONE
        return
    distributed.init_process_group("gloo", timeout=_LONGEST_WAIT)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def own_device(name: str) -> str:
    """The device of a name for this process: "auto" and "cuda" give each process of a machine a GPU of its own."""
    place = os.environ.get("LOCAL_RANK")
    if name in ("auto", "cuda") and place is not None and torch.cuda.is_available():
        return f"cuda:{int(place) % torch.cuda.device_count()}"
    return name
