# SPDX-License-Identifier: Apache-2.0
"""A source of frames through a node of its own over DDS: what the demo and the evaluation of bags share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rich.progress import Progress

from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.evaluation.report import RunReport
from vltseg_core.labels import CITYSCAPES
from vltseg_ros import bag_messages, bags
from vltseg_ros.frame_source import FrameSource
from vltseg_ros.node_process import SEGMENTATION_NODE, NodeError, NodeProcess
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.replay import Replay
from vltseg_ros.replay_evaluation import ReplayEvaluation
from vltseg_ros.replay_record import ReplayRecord

NODE_NAME = "segmentation_node"
_READY_TIMEOUT_S = 900.0
_LOSSLESS_DIAGNOSTICS_S = 0.1  # a frame that the node rejects is known by its next report
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
class ReplaySettings:
    """How to play, and into which node. None leaves a parameter as the node or `params_file` has it.

    One camera, a node that starts by itself, images of up to 68 megapixels, no `input_health` and `min_confidence` go over
    `params_file`, since a replay plays and judges every frame.
    """

    rate: float = 1.0
    """Speed of playing; 1 is real time."""
    lossless: bool = False
    """Play each frame when the one before was answered, whatever its time."""
    with_confidence: bool = False
    """Ask for the confidence too."""
    min_confidence: float = 0.0
    """Pixels less certain get label 255."""
    checkpoint: str | None = None
    device: str | None = None
    params_file: Path | None = None
    """YAML file with the node's parameters."""
    node_command: Sequence[str] = SEGMENTATION_NODE

    @property
    def pace(self) -> str:
        """How it is played, in words."""
        if self.lossless:
            return "frame by frame"
        return "in real time" if self.rate == 1 else f"at {self.rate:g} times real time"


def start_node(settings: ReplaySettings, message_type: str, folder: OutputFolder) -> NodeProcess:
    """The node, listening to this type of images by the clock of what is played."""
    parameters: dict[str, object] = {
        "image_transport": _TRANSPORTS[message_type],
        "min_confidence": settings.min_confidence,
        "use_sim_time": True,
        "cameras": [""],
        "autostart": True,
        "max_image_megapixels": 68.0,
        "input_health": False,  # a replay measures the network, and its bag may hold unrelated pictures
    }
    given = {"checkpoint": settings.checkpoint, "device": settings.device}
    parameters |= {name: value for name, value in given.items() if value is not None}
    if settings.lossless:
        parameters["diagnostics_period_s"] = _LOSSLESS_DIAGNOSTICS_S
        parameters["inference_timeout_s"] = 0.0  # a frame may take as long as we wait for it
    return NodeProcess(
        settings.node_command,
        name=NODE_NAME,
        namespace=f"/vltseg_replay_{os.getpid()}",
        parameters=parameters,
        params_file=settings.params_file,
        log_path=folder.node_log,
    )


def play(
    settings: ReplaySettings, folder: OutputFolder, node: NodeProcess, source: FrameSource, progress: Progress
) -> ReplayRecord:
    """Play the source into the node and record what comes back; raises NodeError where nothing does."""
    with (
        bags.BagWriter(folder.recording) as recording,
        Replay(node, source.message_type, recording, with_confidence=settings.with_confidence) as replay,
    ):
        with stage(progress, "Waiting for the node", None):
            replay.wait_until_ready(_READY_TIMEOUT_S)
        with stage(progress, "Playing over DDS", source.num_frames) as advance:
            if settings.lossless:
                record = replay.play_lossless(source.frames(), on_frame=advance)
            else:
                record = replay.play(source.frames(), rate=settings.rate, on_frame=advance)
        if record.num_answered == 0:
            raise NodeError(f"no mask came back for {len(record.frames)} frames: {node.last_words()}")
        return record


@contextmanager
def stage(progress: Progress, name: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A line of the progress bar; gives what to call after each thing done."""
    task = progress.add_task(name, total=total)
    yield lambda: progress.advance(task)
    done = max(progress.tasks[task].completed, 1)
    progress.update(task, total=done, completed=done)


def run_report(
    title: str,
    settings: ReplaySettings,
    folder: OutputFolder,
    source: FrameSource,
    record: ReplayRecord,
    evaluation: ReplayEvaluation,
) -> RunReport:
    """What the page says of the run."""
    files = [
        (folder.video, "every frame beside its overlay"),
        (folder.overlays, "some of them as PNG"),
        (folder.result_bag, "images and masks as a bag (mcap) for Foxglove and RViz"),
        (folder.input_bag, "the drawn scenes as a bag: images, camera info, ground truth"),
        (folder.results, "the figures of this page"),
        (folder.node_log, "what the node printed"),
    ]
    ros = f"{os.environ.get('ROS_DISTRO', 'wheels from PyPI')}, {rclpy.get_rmw_implementation_identifier()}"
    network = tuple((key, record.diagnostics[key]) for key in _NETWORK_KEYS if record.diagnostics.get(key))
    return RunReport(
        title=title,
        source=f"{source.description[0].upper()}{source.description[1:]}, played {settings.pace} into the node over DDS",
        drawn=source.drawn,
        classes=evaluation.space.classes,
        overlay_classes=CITYSCAPES,
        sections=tuple(evaluation.sections.values()),
        playing_s=record.playing_s,
        network=network or (("checkpoint", settings.checkpoint or "the node's own"),),
        machine=(*describe_machine(), ("ROS 2", ros)),
        pictures=tuple(evaluation.pictures),
        files=tuple(_named(path, what) for path, what in files if path.exists() or path == folder.results),
        remarks=_remarks(source, record, evaluation),
    )


def _named(path: Path, what: str) -> tuple[str, str]:
    return path.name + "/" * path.is_dir(), what


def _remarks(source: FrameSource, record: ReplayRecord, evaluation: ReplayEvaluation) -> tuple[str, ...]:
    remarks = []
    if record.num_late_frames:
        remarks.append(
            f"{record.num_late_frames} frames were published more than 50 ms late: this machine did not keep up with "
            "playing them, so latencies include its own delay."
        )
    if record.num_unknown_masks:
        remarks.append(f"{record.num_unknown_masks} masks came back whose stamp is no published frame's.")
    if record.num_shared_stamps:
        remarks.append(
            f"{record.num_shared_stamps} frames have the stamp of one that still waited for its mask: which of them a mask "
            "answers is a guess; --lossless knows it."
        )
    if record.num_shortened_gaps:
        remarks.append(
            f"{record.num_shortened_gaps} pauses of more than 10 s between frames were played as 1 s: the bag stood still "
            "there, or its clock jumped."
        )
    if record.num_silent_frames:
        remarks.append(f"{record.num_silent_frames} frames were waited for in vain: no mask and no word from the node.")
    rejected = [f"{key[len(_REJECTED) :]} ({n})" for key, n in record.diagnostics.items() if key.startswith(_REJECTED)]
    if rejected:
        remarks.append(f"The node rejected frames: {', '.join(rejected)}.")
    if evaluation.unreadable:
        count = len(evaluation.unreadable)
        remarks.append(f"{count} frames cannot be read and got no mask, the first is {evaluation.unreadable[0]}")
    remarks += evaluation.truth_remarks
    remarks += [f"Lost from the input: {loss}." for loss in source.losses]
    return tuple(remarks)
