# SPDX-License-Identifier: Apache-2.0
"""The demo: frames into a bag, the bag through the node over DDS, the masks into a report.

Drawn driving scenes by default, a user's own video, images or bag otherwise. Everything that it starts it ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import Progress

from vltseg_core.evaluation.report import RunReport, render_html, results
from vltseg_ros import bag_messages
from vltseg_ros.bag_source import BagSource
from vltseg_ros.dds_environment import isolated_dds
from vltseg_ros.demo_bag import DemoBagSettings, write_demo_bag
from vltseg_ros.frame_source import FrameSource
from vltseg_ros.ground_truth import LABEL_SPACES, LabelFolder
from vltseg_ros.image_sources import ImageFilesSource, open_source
from vltseg_ros.node_process import SEGMENTATION_NODE, NodeProcess
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.replay_evaluation import ReplayEvaluation
from vltseg_ros.replay_run import ReplaySettings, play, run_report, stage, start_node


@dataclass(frozen=True)
class DemoSettings:
    """What to play, through which network, and where the results go."""

    output: Path
    drawing: DemoBagSettings = field(default_factory=DemoBagSettings)
    """What to draw where no input is given."""
    own_input: str | None = None
    """Path or glob pattern of a user's video, images or bag."""
    topic: str | None = None
    rate_hz: float | None = None
    max_seconds: float | None = None
    labels: Path | None = None
    label_space: str = "cityscapes_train_ids"
    rate: float = 1.0
    """Speed of playing: 1 is real time."""
    checkpoint: str = "tiny"
    device: str = "auto"
    node_command: Sequence[str] = SEGMENTATION_NODE

    @property
    def replay(self) -> ReplaySettings:
        """How the frames are played, and into which node."""
        return ReplaySettings(rate=self.rate, checkpoint=self.checkpoint, device=self.device, node_command=self.node_command)


@dataclass(frozen=True)
class DemoOutcome:
    """Where the results lie, and what they say."""

    folder: OutputFolder
    report: RunReport


def run_demo(settings: DemoSettings, progress: Progress) -> DemoOutcome:
    """Do all of it; raises VltsegError with one sentence where something is missing or fails.

    On an exception, KeyboardInterrupt included, the node is ended and the masks so far stay in `recording`.
    """
    with ExitStack() as stack:
        truth = None
        if settings.labels is not None:
            truth = LabelFolder(settings.labels, LABEL_SPACES[settings.label_space])
        source = _open_own_input(settings)
        if truth is not None and isinstance(source, ImageFilesSource):
            truth.require_any(path.stem for path in source.paths)
        folder = stack.enter_context(OutputFolder(settings.output))
        stack.enter_context(isolated_dds())
        message_type = source.message_type if source is not None else bag_messages.IMAGE_TYPE
        with start_node(settings.replay, message_type, folder) as node:
            source = source or _draw(settings, folder, node, progress)
            record = play(settings.replay, folder, node, source, progress)
        if truth is not None:
            truth.require_any(frame.name for frame in record.frames)
        evaluation = ReplayEvaluation(folder, source, record.frames, truth)
        with stage(progress, "Comparing and drawing overlays", len(record.frames)) as advance:
            evaluation.run(advance)
        title = "From camera topic to semantic masks"
        report = run_report(title, settings.replay, folder, source, record, evaluation)
        folder.results.write_text(json.dumps(results(report), indent=2) + "\n", "utf-8")
        folder.report.write_text(render_html(report), "utf-8")
        folder.forget_recording()
        return DemoOutcome(folder, report)


def _open_own_input(settings: DemoSettings) -> FrameSource | None:
    if settings.own_input is None:
        return None
    return open_source(settings.own_input, topic=settings.topic, rate_hz=settings.rate_hz, max_seconds=settings.max_seconds)


def _draw(settings: DemoSettings, folder: OutputFolder, node: NodeProcess, progress: Progress) -> FrameSource:
    """Draw the scenes while the node loads its network, and notice at once if it cannot."""
    with stage(progress, "Drawing driving scenes", settings.drawing.num_frames) as advance:

        def on_frame() -> None:
            node.require_running()
            advance()

        write_demo_bag(folder.input_bag, settings.drawing, on_frame)
    return BagSource(folder.input_bag)
