# SPDX-License-Identifier: Apache-2.0
"""One bag of a fleet, on whatever machine: its figures, or in a sentence why there are none."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.progress import Progress, TaskID

from vltseg_core.errors import VltsegError
from vltseg_ros.bag_evaluation import BagEvaluationSettings, evaluate_bag
from vltseg_ros.finished_bags import Fingerprint, mark_finished

_LOG = logging.getLogger(__name__)
_STAGE_SHARES = (0.0, 0.7, 0.3)  # of the time: waiting for the node, playing, judging


@dataclass(frozen=True)
class FleetTask:
    """What to evaluate. Paths are absolute, so that they mean the same in another process or on another machine."""

    name: str
    settings: BagEvaluationSettings
    made_of: Fingerprint
    shared_marker: Path
    """A file of the fleet's own in its folder: who sees it shares the folder."""


class FleetAnswer(NamedTuple):
    """figures: results.json as plain JSON values; None where the bag failed, and `failure` says why."""

    name: str
    figures: dict[str, Any] | None
    failure: str = ""
    elsewhere: str = ""
    """The machine whose disk is not shared, where one is; its pictures, masks and video are not kept."""


class BagProgress(Progress):
    """A bag's stages, not shown but made into one share from 0 to 1."""

    def __init__(self, on_share: Callable[[float], object]) -> None:
        super().__init__(disable=True)
        self._on_share = on_share

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """One thing more is done."""
        super().advance(task_id, advance)
        stages = zip(_STAGE_SHARES, self.tasks, strict=False)
        self._on_share(sum(share * min(stage.completed / stage.total, 1) for share, stage in stages if stage.total))


def evaluate_task(task: FleetTask, on_share: Callable[[float], object]) -> FleetAnswer:
    """Evaluate the bag; whatever fails becomes a sentence, because the fleet's other bags go on."""
    try:
        if task.shared_marker.exists():
            return FleetAnswer(task.name, _evaluate(task, task.settings, on_share))
        with TemporaryDirectory(prefix="vltseg_fleet_") as folder:
            own = replace(task.settings, output=Path(folder) / task.name)
            return FleetAnswer(task.name, _evaluate(task, own, on_share), elsewhere=socket.gethostname())
    except VltsegError as error:
        return FleetAnswer(task.name, None, _one_line(str(error)))
    except Exception as error:
        _LOG.debug("bag %s failed", task.name, exc_info=True)
        return FleetAnswer(task.name, None, _one_line(f"{type(error).__name__}: {error}"))


def _evaluate(task: FleetTask, settings: BagEvaluationSettings, on_share: Callable[[float], object]) -> dict[str, Any]:
    folder = evaluate_bag(settings, BagProgress(on_share)).folder
    mark_finished(folder, task.made_of)
    return json.loads(folder.results.read_text("utf-8"))


def _one_line(text: str) -> str:
    return " ".join(text.split())
