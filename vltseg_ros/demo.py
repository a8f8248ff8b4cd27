# SPDX-License-Identifier: Apache-2.0
"""The demo: frames into a bag, the bag through the node over DDS, the masks into a report.

Drawn driving scenes by default, a user's own video, images or bag otherwise. Everything that it starts it ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import rclpy
from rich.progress import Progress

from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.evaluation.report import RunReport, render_html, results
from vltseg_core.labels import CITYSCAPES
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_source import BagSource
from vltseg_ros.dds_environment import isolated_dds
from vltseg_ros.demo_bag import DemoBagSettings, write_demo_bag
from vltseg_ros.frame_source import FrameSource
from vltseg_ros.ground_truth import LABEL_SPACES, LabelFolder
from vltseg_ros.image_sources import ImageFilesSource, open_source
from vltseg_ros.node_process import SEGMENTATION_NODE, NodeError, NodeProcess
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.replay import Replay, ReplayRecord
from vltseg_ros.replay_evaluation import ReplayEvaluation

NODE_NAME = "segmentation_node"
_READY_TIMEOUT_S = 900.0
_TRANSPORTS = {bag_messages.IMAGE_TYPE: "raw", bag_messages.COMPRESSED_IMAGE_TYPE: "compressed"}
_REJECTED = "rejected: "
_NETWORK_KEYS = (
    "checkpoint",
    "preset",
    "trained on",
    "parameters (million)",
    "device",
    "precision",
    "backend",
    "input size",
)


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
        with _start_node(settings, folder, source) as node:
            source = source or _draw(settings, folder, node, progress)
            record = _play(settings, folder, node, source, progress)
        if truth is not None:
            truth.require_any(frame.name for frame in record.frames)
        evaluation = ReplayEvaluation(folder, source, record.frames, truth)
        with _stage(progress, "Comparing and drawing overlays", len(record.frames)) as advance:
            evaluation.run(advance)
        report = _report(settings, folder, source, record, evaluation)
        folder.results.write_text(json.dumps(results(report), indent=2) + "\n", "utf-8")
        folder.report.write_text(render_html(report), "utf-8")
        folder.forget_recording()
        return DemoOutcome(folder, report)


def _open_own_input(settings: DemoSettings) -> FrameSource | None:
    if settings.own_input is None:
        return None
    return open_source(settings.own_input, topic=settings.topic, rate_hz=settings.rate_hz, max_seconds=settings.max_seconds)


def _start_node(settings: DemoSettings, folder: OutputFolder, source: FrameSource | None) -> NodeProcess:
    transport = _TRANSPORTS[source.message_type] if source is not None else "raw"
    parameters = {"checkpoint": settings.checkpoint, "device": settings.device, "image_transport": transport}
    return NodeProcess(
        settings.node_command,
        name=NODE_NAME,
        namespace=f"/vltseg_demo_{os.getpid()}",
        parameters=parameters,
        log_path=folder.node_log,
    )


def _draw(settings: DemoSettings, folder: OutputFolder, node: NodeProcess, progress: Progress) -> FrameSource:
    """Draw the scenes while the node loads its network, and notice at once if it cannot."""
    with _stage(progress, "Drawing driving scenes", settings.drawing.num_frames) as advance:

        def on_frame() -> None:
            node.require_running()
            advance()

        write_demo_bag(folder.input_bag, settings.drawing, on_frame)
    return BagSource(folder.input_bag)


def _play(
    settings: DemoSettings, folder: OutputFolder, node: NodeProcess, source: FrameSource, progress: Progress
) -> ReplayRecord:
    with bags.BagWriter(folder.recording) as recording, Replay(node, source.message_type, recording) as replay:
        with _stage(progress, "Waiting for the node", None):
            replay.wait_until_ready(_READY_TIMEOUT_S)
        with _stage(progress, "Playing over DDS", source.num_frames) as advance:
            record = replay.play(source.frames(), rate=settings.rate, on_frame=advance)
        if record.num_answered == 0:
            raise NodeError(f"no mask came back for {len(record.frames)} frames: {node.last_words()}")
        return record


@contextmanager
def _stage(progress: Progress, name: str, total: int | None) -> Iterator[Callable[[], None]]:
    task = progress.add_task(name, total=total)
    yield lambda: progress.advance(task)
    done = max(progress.tasks[task].completed, 1)
    progress.update(task, total=done, completed=done)


def _report(
    settings: DemoSettings,
    folder: OutputFolder,
    source: FrameSource,
    record: ReplayRecord,
    evaluation: ReplayEvaluation,
) -> RunReport:
    ros = f"{os.environ.get('ROS_DISTRO', 'wheels from PyPI')}, {rclpy.get_rmw_implementation_identifier()}"
    network = tuple((key, record.diagnostics[key]) for key in _NETWORK_KEYS if record.diagnostics.get(key))
    files = [
        (folder.video.name, "every frame beside its overlay"),
        (folder.overlays.name + "/", "some of them as PNG"),
        (folder.result_bag.name + "/", "images and masks as a bag (mcap) for Foxglove and RViz"),
        (folder.results.name, "the figures of this page"),
        (folder.node_log.name, "what the node printed"),
    ]
    if folder.input_bag.exists():
        files.insert(3, (folder.input_bag.name + "/", "the drawn scenes as a bag: images, camera info, ground truth"))
    speed = "in real time" if settings.rate == 1 else f"at {settings.rate:g} times real time"
    return RunReport(
        title="From camera topic to semantic masks",
        source=f"{source.description[0].upper()}{source.description[1:]}, played {speed} into the node over DDS",
        drawn=source.drawn,
        classes=evaluation.space.classes,
        overlay_classes=CITYSCAPES,
        sections=tuple(evaluation.sections.values()),
        playing_s=record.playing_s,
        network=network or (("checkpoint", settings.checkpoint),),
        machine=(*describe_machine(), ("ROS 2", ros)),
        pictures=tuple(evaluation.pictures),
        files=tuple(files),
        remarks=(*_remarks(record, evaluation), *(f"Lost from the input: {loss}." for loss in source.losses)),
    )


def _remarks(record: ReplayRecord, evaluation: ReplayEvaluation) -> tuple[str, ...]:
    remarks = []
    if record.num_late_frames:
        remarks.append(
            f"{record.num_late_frames} frames were published more than 50 ms late: this machine did not keep up with "
            "playing them, so latencies include its own delay."
        )
    if record.num_unknown_masks:
        remarks.append(f"{record.num_unknown_masks} masks came back whose stamp is no published frame's.")
    rejected = [f"{key[len(_REJECTED) :]} ({n})" for key, n in record.diagnostics.items() if key.startswith(_REJECTED)]
    if rejected:
        remarks.append(f"The node rejected frames: {', '.join(rejected)}.")
    if evaluation.unreadable:
        count = len(evaluation.unreadable)
        remarks.append(f"{count} frames cannot be read and got no mask, the first is {evaluation.unreadable[0]}")
    return tuple(remarks)
