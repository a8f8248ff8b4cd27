# SPDX-License-Identifier: Apache-2.0
"""The real node with a network that fails on command; as a program, `python -m tests.vltseg_ros.faulty_node --ros-args ...`.

Only the segmenter's factory is not the node's own. A pixel's label is its red value where that is under 19; images whose
first pixel is redder command a fault: see `Command`. The checkpoint `slow:S` takes S seconds to load, `delay:S` as long for
every batch, and `hang` never loads, whatever signal comes. Hanging ends after `HANG_S`, with an answer that is too late.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vltseg_core.errors import CheckpointError
from vltseg_core.labels import CITYSCAPES
from vltseg_core.runtime import Segmentation, SegmenterDescription
from vltseg_core.runtime.device_faults import device_fault
from vltseg_core.runtime.labelling import labelled

HANG_S = 2.0


class Command(IntEnum):
    """Red values that command a fault. Those without "for good" pass with the frame, or with the network that is broken."""

    OUT_OF_MEMORY = 200
    DEVICE_LOST = 201  # this network fails until another is loaded
    NOT_FINITE = 202  # as above
    HANG = 203
    WORKER_DIES = 204
    ERROR = 205
    WRONG_SIZE = 206
    DEVICE_LOST_FOR_GOOD = 210  # nothing can be loaded any more
    HANG_FOR_GOOD = 211  # every network hangs
    NOT_FINITE_FOR_GOOD = 212  # unless in fp32
    OUT_OF_MEMORY_IN_BATCHES = 213  # wherever more than one image enters at once


class FaultyNetworks:
    """The factory, `load` as `Segmenter.load`, and what holds for all networks that it made."""

    def __init__(self) -> None:
        self.broken_for_good: Command | None = None
        self.num_loads = 0
        self.batch_sizes: list[int] = []
        self.delay_s = 0.0
        self.open: set[FaultySegmenter] = set()
        self.is_released = threading.Event()

    def load(self, checkpoint: str, **options: Any) -> FaultySegmenter:
        self.num_loads += 1
        if checkpoint == "missing":
            raise CheckpointError("checkpoint 'missing' not found: give another")
        if checkpoint.startswith("slow:"):
            time.sleep(float(checkpoint.removeprefix("slow:")))
        while checkpoint == "hang":
            with contextlib.suppress(KeyboardInterrupt):  # as a library that hangs in C
                time.sleep(60)
        if checkpoint.startswith("delay:"):
            self.delay_s = float(checkpoint.removeprefix("delay:"))
        if self.broken_for_good is Command.DEVICE_LOST_FOR_GOOD:
            raise torch.AcceleratorError("CUDA error: no CUDA-capable device is detected")
        return FaultySegmenter(self, options.get("precision", "fp16"))


class FaultySegmenter:
    """Answers by brightness until it is told to fail."""

    classes = CITYSCAPES
    has_backend_to_build = False
    uploads_beside_the_network = False

    def __init__(self, networks: FaultyNetworks, precision: str) -> None:
        self._networks, self._precision = networks, "fp16" if precision == "auto" else precision
        self._broken: Command | None = None
        networks.open.add(self)

    def segment(self, images: Sequence[NDArray[np.uint8]]) -> list[Segmentation]:
        self._networks.batch_sizes.append(len(images))
        time.sleep(self._networks.delay_s)
        values = [int(image[0, 0, 0]) for image in images]
        commands = [Command(value) for value in values if value >= Command.OUT_OF_MEMORY]
        for command in [*filter(None, (self._networks.broken_for_good, self._broken)), *commands]:
            self._fail(command, len(images))
        if Command.WRONG_SIZE in commands:
            return [Segmentation(image[1:, :, 0], image[1:, :, 1]) for image in images]
        return [Segmentation(image[..., 0] % 19, image[..., 1].copy()) for image in images]

    def _fail(self, command: Command, num_images: int) -> None:
        if command in (Command.DEVICE_LOST, Command.NOT_FINITE):
            self._broken = command
        if command >= Command.DEVICE_LOST_FOR_GOOD:
            self._networks.broken_for_good = command
        if command in (Command.DEVICE_LOST, Command.DEVICE_LOST_FOR_GOOD):
            self._raise(torch.AcceleratorError("CUDA error: unspecified launch failure"))
        if command is Command.OUT_OF_MEMORY or (command is Command.OUT_OF_MEMORY_IN_BATCHES and num_images > 1):
            self._raise(torch.OutOfMemoryError("CUDA out of memory"))
        if command is Command.NOT_FINITE or (command is Command.NOT_FINITE_FOR_GOOD and self._precision != "fp32"):
            labelled(torch.full((1, 19, 2, 2), float("nan")), self._precision)
        if command in (Command.HANG, Command.HANG_FOR_GOOD):
            self._networks.is_released.wait(HANG_S)
        if command is Command.WORKER_DIES:
            raise SystemExit
        if command is Command.ERROR:
            raise ValueError("injected")

    def _raise(self, error: RuntimeError) -> None:
        fault = device_fault(error, torch.device("cuda"), "1 images of 8x6")
        assert fault is not None
        raise fault from error

    def warm_up(self, image_size: tuple[int, int] = (360, 640), batch_size: int = 1) -> float:
        self.segment([np.zeros((6, 8, 3), np.uint8)] * batch_size)
        return 0.001

    def describe(self) -> SegmenterDescription:
        return SegmenterDescription(
            "faulty", "custom", CITYSCAPES, 1, "cpu", self._precision, "eager", "no other", None, "nothing"
        )

    def memory_bytes(self) -> int:
        return 1_000_000

    def close(self) -> None:
        self._networks.open.discard(self)


def main() -> int:
    from vltseg_ros.node_main import run_node
    from vltseg_ros.segmentation_node import SegmentationNode

    return run_node(functools.partial(SegmentationNode, segmenter_factory=FaultyNetworks().load))


if __name__ == "__main__":
    sys.exit(main())
