# SPDX-License-Identifier: Apache-2.0
"""A fleet's bags, one after another or as Ray tasks: each in a folder of its own, and one report of all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from rich.progress import Progress

from vltseg_core.errors import InputError
from vltseg_core.evaluation import bag_figures
from vltseg_core.evaluation.bag_result import BagResult
from vltseg_ros.bag_evaluation import BagEvaluationSettings
from vltseg_ros.finished_bags import fingerprint, finished_figures, mark_finished
from vltseg_ros.fleet_bags import FleetBag, named
from vltseg_ros.fleet_report import BAGS_FOLDER, BagOfFleet, write_bag_report, write_fleet_report
from vltseg_ros.fleet_task import FleetAnswer, FleetTask, evaluate_task
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.said_text import printable

_LEAST_STEP_S = 0.5

OnShare = Callable[[str, float], object]
"""Called with a bag's name and how much of it is done, 0 to 1."""
Runner = Callable[[Sequence[FleetTask], OnShare], Iterator[FleetAnswer]]
"""Evaluates the tasks, in any order or at once, and gives each one's answer when it is there."""


@dataclass(frozen=True)
class FleetSettings:
    """Which bags, and how each is evaluated."""

    sources: Sequence[str]
    """Paths of bags, videos or image folders, or patterns of images; as `fleet_bags.expand` gives them."""
    output: Path
    evaluation: BagEvaluationSettings
    """For every bag; its own `bag` and `output` do not count."""


class FleetOutcome(NamedTuple):
    """Where the results lie, what they say together, and which bags failed with what sentence."""

    folder: OutputFolder
    result: BagResult
    failures: dict[str, str]


def one_after_another(tasks: Sequence[FleetTask], on_share: OnShare) -> Iterator[FleetAnswer]:
    """In this process, a `Runner`."""
    for task in tasks:
        yield evaluate_task(task, lambda share, name=task.name: on_share(name, share))


def evaluate_fleet(settings: FleetSettings, progress: Progress, run: Runner = one_after_another) -> FleetOutcome:
    """Evaluate every bag that no earlier run with the same settings has finished, then write what all say together.

    A bag that fails is a line of the report. Raises InputError where none can be evaluated. When it is interrupted, what
    is finished stays, and the next call goes on from there.
    """
    with OutputFolder(settings.output) as folder, _shared_marker(folder) as marker:
        bags = named(settings.sources)
        tasks = [_task(settings, bag, folder, marker) for bag in bags]
        answers = {task.name: answer for task in tasks if (answer := _finished(task)) is not None}
        missing = [task for task in tasks if task.name not in answers]
        if answers:
            progress.console.print(f"{len(answers)} of {len(tasks)} bags are finished already", highlight=False)
        for answer in _evaluated(missing, run, progress):
            answers[answer.name] = answer
            _say(answer, progress)
        if all(answer.figures is None for answer in answers.values()):
            raise InputError(f"none of the {len(bags)} bags could be evaluated: {answers[bags[0].name].failure}")
        entries = [_entry(bag, answers[bag.name]) for bag in bags]
        result = write_fleet_report(folder, entries)
        return FleetOutcome(folder, result, {bag.name: bag.failure for bag in entries if bag.failure})


@contextmanager
def _shared_marker(folder: OutputFolder) -> Iterator[Path]:
    """A file by whose sight a process knows that it shares this folder, and not only its path."""
    (folder.path / BAGS_FOLDER).mkdir(exist_ok=True)
    with NamedTemporaryFile(prefix=".shared_", dir=folder.path.resolve() / BAGS_FOLDER) as marker:
        yield Path(marker.name)


def _task(settings: FleetSettings, bag: FleetBag, folder: OutputFolder, marker: Path) -> FleetTask:
    """The bag's settings with absolute paths, and what its results will be known by."""
    replay = settings.evaluation.replay
    own = replace(
        settings.evaluation,
        bag=os.path.abspath(bag.source),
        output=folder.path.resolve() / BAGS_FOLDER / bag.name,
        labels=settings.evaluation.labels and settings.evaluation.labels.resolve(),
        replay=replace(
            replay,
            checkpoint=_absolute_file(replay.checkpoint),
            params_file=replay.params_file and replay.params_file.resolve(),
        ),
    )
    return FleetTask(bag.name, own, fingerprint(own), marker)


def _absolute_file(checkpoint: str | None) -> str | None:
    """A weights file by its whole path; a preset as it is."""
    return os.path.abspath(checkpoint) if checkpoint is not None and Path(checkpoint).is_file() else checkpoint


def _finished(task: FleetTask) -> FleetAnswer | None:
    figures = finished_figures(OutputFolder(task.settings.output), task.made_of)
    return FleetAnswer(task.name, figures) if figures is not None else None


def _evaluated(tasks: Sequence[FleetTask], run: Runner, progress: Progress) -> Iterator[FleetAnswer]:
    """The answers as they come, each with its folder written; meanwhile the bar shows bags and parts of them."""
    if not tasks:
        return
    by_name = {task.name: task for task in tasks}
    shares = dict.fromkeys(by_name, 0.0)
    bar = progress.add_task("Bags", total=len(tasks))
    shown_s = 0.0

    def show(name: str, share: float) -> None:
        nonlocal shown_s
        shares[name] = share
        if share == 1 or time.monotonic() > shown_s + _LEAST_STEP_S:
            progress.update(bar, completed=sum(shares.values()))
            shown_s = time.monotonic()

    with closing(run(tasks, show)) as answers:
        for answer in answers:
            if answer.elsewhere and answer.figures is not None:
                _keep_figures(by_name[answer.name], answer.figures)
            show(answer.name, 1.0)
            yield answer


def _keep_figures(task: FleetTask, figures: dict[str, Any]) -> None:
    with OutputFolder(task.settings.output) as folder:
        write_bag_report(folder, figures)
        mark_finished(folder, task.made_of)


def _say(answer: FleetAnswer, progress: Progress) -> None:
    said = f"failed: {answer.failure}" if answer.failure else "finished"
    progress.console.print(printable(f"{answer.name} {said}"), highlight=False, markup=False, soft_wrap=True)


def _entry(bag: FleetBag, answer: FleetAnswer) -> BagOfFleet:
    result = bag_figures.read(answer.figures) if answer.figures is not None else None
    return BagOfFleet(bag.name, bag.source, result, answer.failure, answer.elsewhere)
