# SPDX-License-Identifier: Apache-2.0
"""A bag through the real node over DDS, and what came of it: how good it was in each condition, and whether in time."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress

from vltseg_core.evaluation import bag_figures
from vltseg_core.evaluation.bag_markdown import render_markdown
from vltseg_core.evaluation.bag_page import render_bag_page
from vltseg_core.evaluation.bag_result import BagResult
from vltseg_core.evaluation.report import RunReport
from vltseg_ros.bag_judge import BagJudge
from vltseg_ros.dds_environment import isolated_dds
from vltseg_ros.ground_truth import LABEL_SPACES, LabelFolder
from vltseg_ros.image_sources import ImageFilesSource, open_source
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.replay_evaluation import ReplayEvaluation
from vltseg_ros.replay_run import ReplaySettings, play, run_report, stage, start_node


@dataclass(frozen=True)
class BagEvaluationSettings:
    """What to play, how, and where the results go."""

    bag: str
    """Path of a bag; also a video, an image folder or a glob pattern."""
    output: Path
    replay: ReplaySettings = field(default_factory=lambda: ReplaySettings(with_confidence=True))
    topic: str | None = None
    rate_hz: float | None = None
    """Frames a second, where the source has no times."""
    max_seconds: float | None = None
    labels: Path | None = None
    """Folder of ground truth PNGs, instead of the bag's own ground truth."""
    label_space: str = "cityscapes_train_ids"


@dataclass(frozen=True)
class BagOutcome:
    """Where the results lie, and what they say."""

    folder: OutputFolder
    result: BagResult
    report: RunReport


def evaluate_bag(settings: BagEvaluationSettings, progress: Progress) -> BagOutcome:
    """Play and judge; raises VltsegError with one sentence where something is missing or fails.

    On an exception, KeyboardInterrupt included, the node is ended and the masks so far stay in `recording`.
    """
    with ExitStack() as stack:
        truth = LabelFolder(settings.labels, LABEL_SPACES[settings.label_space]) if settings.labels is not None else None
        source = open_source(settings.bag, topic=settings.topic, rate_hz=settings.rate_hz, max_seconds=settings.max_seconds)
        if truth is not None and isinstance(source, ImageFilesSource):
            truth.require_any(path.stem for path in source.paths)
        folder = stack.enter_context(OutputFolder(settings.output))
        stack.enter_context(isolated_dds())
        with start_node(settings.replay, source.message_type, folder) as node:
            record = play(settings.replay, folder, node, source, progress)
        if truth is not None:
            truth.require_any(frame.name for frame in record.frames)
        evaluation = ReplayEvaluation(folder, source, record.frames, truth)
        judge = BagJudge(record, settings.replay.rate, evaluation.space)
        with stage(progress, "Judging and drawing overlays", len(record.frames)) as advance:
            evaluation.run(advance, judge.judge)
        along = [row._replace(kind="Along the way") for row in evaluation.pictures]
        evaluation.pictures = [*judge.extremes(folder), *along]
        report = run_report("Bag evaluation", settings.replay, folder, source, record, evaluation)
        result = BagResult(
            source=report.source,
            lossless=settings.replay.lossless,
            rate=settings.replay.rate,
            min_confidence=settings.replay.min_confidence,
            drawn=source.drawn,
            classes=evaluation.space.classes,
            sequences=judge.sequences,
            playing_s=record.playing_s,
            network=report.network,
            machine=report.machine,
            remarks=report.remarks,
        )
        folder.results.write_text(json.dumps(bag_figures.write(result), indent=1) + "\n", "utf-8")
        folder.tables.write_text(render_markdown(result), "utf-8")
        files = (*report.files, (folder.tables.name, "its tables as Markdown"))
        folder.report.write_text(render_bag_page(result, evaluation.pictures, files), "utf-8")
        folder.forget_recording()
        return BagOutcome(folder, result, report)
