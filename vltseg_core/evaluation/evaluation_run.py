# SPDX-License-Identifier: Apache-2.0
"""A whole evaluation: checkpoints on targets, in a folder that an interrupted run goes on with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vltseg_core.checkpoints import native
from vltseg_core.data.data_set import FilesOnDisk
from vltseg_core.data.labelled_images import EvaluationSet
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.evaluation.comparison import CheckpointResults, Comparison, FramePicture, Measurement, unique_name
from vltseg_core.evaluation.evaluator import evaluate
from vltseg_core.evaluation.frame_pictures import draw_frames
from vltseg_core.evaluation.machine import describe_machine
from vltseg_core.evaluation.processes import ALONE, Processes, own_device
from vltseg_core.evaluation.protocol import Protocol, protocol_in_words
from vltseg_core.evaluation.targets import Target, Weather, in_weather
from vltseg_core.labels import CITYSCAPES, ClassTable
from vltseg_core.runtime import Segmenter, SegmenterDescription
from vltseg_core.runtime.weights_path import weights_path

MARKER = "evaluation.json"
_FORMAT = 2
ProgressOf = Callable[[str], Callable[[int, int], None]]
"""From what is being evaluated, in words, to what is called with frames done and frames in all."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What to evaluate. source_domains: data sets left out of the mean over targets. limit: frames a target, 0 for all."""

    checkpoints: tuple[str, ...]
    targets: tuple[Target, ...]
    output: Path
    weathers: tuple[Weather, ...] = ()
    protocol: Protocol = Protocol()
    source_domains: tuple[str, ...] = ()
    limit: int = 0
    device: str = "auto"
    precision: str = "auto"

    def described(self) -> dict[str, Any]:
        """All that the figures depend on, weights files by size and time of their last change."""
        weights = [weights_path(checkpoint) for checkpoint in self.checkpoints]
        return {
            "format": _FORMAT,
            "checkpoints": [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in weights],
            "targets": [
                [t.text, t.split, len(s.images), list(s.mean_classes), _label_map(s)]
                for t, s in ((target, target.evaluation_set) for target in self.targets)
            ],
            "weathers": [list(weather) for weather in self.weathers],
            "protocol": [self.protocol.window, self.protocol.size, self.protocol.with_tta],
            "limit": self.limit,
            "precision": self.precision,
        }


def run_evaluation(settings: EvaluationSettings, progress_of: ProgressOf, processes: Processes = ALONE) -> Comparison:
    """Evaluate every checkpoint on every target, plain and in each weather, in the folder that `claim` made ours.

    What the folder holds already is not redone. Raises VltsegError with one sentence for input that cannot be used.
    """
    taken: set[str] = set()
    checkpoints = []
    for checkpoint in settings.checkpoints:
        name = unique_name(_short_name(checkpoint), taken)
        segmenter = Segmenter.load(
            checkpoint,
            device=own_device(settings.device),
            precision=settings.precision,
            max_input_pixels=settings.protocol.max_input_pixels,
            window_px=settings.protocol.window_px(checkpoint),
            augmentation=settings.protocol.augmentation,
        )
        description = segmenter.describe()
        measurements = [
            _measurement(settings, segmenter, name, target, weather, progress_of, processes)
            for target in settings.targets
            for weather in (None, *settings.weathers)
        ]
        segmenter.close()
        checkpoints.append(CheckpointResults(name, description.trained_on, _network(description), tuple(measurements)))
    created = time.strftime("%Y-%m-%d %H:%M")
    return Comparison(tuple(checkpoints), describe_machine(), created, settings.source_domains, settings.limit)


def _measurement(
    settings: EvaluationSettings,
    segmenter: Segmenter,
    name: str,
    target: Target,
    weather: Weather | None,
    progress_of: ProgressOf,
    processes: Processes,
) -> Measurement:
    description = segmenter.describe()
    box = settings.protocol.box(target.name, description.trained_on)
    evaluation_set = in_weather(_in_classes_of(segmenter.classes, target, name), weather)
    words = f"{name}, {target.title}" + (f", {weather.condition} {weather.severity}" if weather else "")
    stem = _file_stem(words)
    result = evaluate(
        segmenter,
        evaluation_set,
        box=box,
        limit=settings.limit,
        scores_file=settings.output / "frames" / f"{stem}.npz",
        progress=progress_of(words),
        processes=processes,
    )
    pictures: tuple[FramePicture, ...] = ()
    if weather is None and processes.is_first:
        pictures = draw_frames(segmenter, evaluation_set, result, box, settings.output / "pictures" / stem)
    return Measurement(target.name, target.title, weather, protocol_in_words(description, box), result, pictures)


def claim(settings: EvaluationSettings) -> None:
    """Make the folder ours, or make sure that what is in it came from the same settings.

    Raises InputError where it did not, and, before anything is made, CheckpointError for weights that cannot be used.
    """
    for checkpoint in settings.checkpoints:
        native.read_header(weights_path(checkpoint))
    output, marker = settings.output, settings.output / MARKER
    described = json.dumps(settings.described(), indent=1)
    if output.exists() and not output.is_dir():
        raise InputError(f"'{output}' is a file: give another folder with -o")
    kept = marker.read_text(encoding="utf-8") if marker.is_file() else ""
    if output.is_dir() and any(output.iterdir()) and kept != described:
        whose = (
            "results of an earlier version" if kept and '"format"' not in kept else "other files, or results of other settings"
        )
        raise InputError(f"'{output}' holds {whose}: give a new folder with -o")
    for folder in ("frames", "pictures"):
        (output / folder).mkdir(parents=True, exist_ok=True)
    partial = output / f".{MARKER}.partial"
    partial.write_text(described, encoding="utf-8")
    os.replace(partial, marker)


def _in_classes_of(classes: ClassTable, target: Target, checkpoint: str) -> EvaluationSet:
    """The target with its predictions' lookup for a network of these classes; ConfigurationError where there is none."""
    if classes == CITYSCAPES:
        return target.evaluation_set
    if classes.names != target.evaluation_set.class_names:
        raise ConfigurationError(
            f"checkpoint '{checkpoint}' tells the {len(classes)} classes of {classes.name} apart, target '{target.name}' other "
            f"{len(target.evaluation_set.class_names)}: give a target of the checkpoint's classes"
        )
    return target.evaluation_set._replace(to_truth_classes=np.arange(256, dtype=np.uint8))


def _short_name(checkpoint: str) -> str:
    """A preset's or file's name; of a training run's model.safetensors the run's."""
    path = Path(checkpoint)
    return path.resolve().parent.name if path.name == "model.safetensors" else path.name.removesuffix(".safetensors")


def _file_stem(words: str) -> str:
    """A file's name of the words, and no other words'."""
    return re.sub(r"[^\w.+-]+", "_", words) + "-" + hashlib.sha256(words.encode()).hexdigest()[:8]


def _label_map(evaluation_set: EvaluationSet) -> str:
    """Digest of how the labels on disk become classes, and predictions with them: an own folder's file can change it."""
    images = evaluation_set.images
    lookup = images.lookup.tobytes() if isinstance(images, FilesOnDisk) else b""
    names = json.dumps(evaluation_set.class_names).encode()
    return hashlib.sha256(names + evaluation_set.to_truth_classes.tobytes() + lookup).hexdigest()[:16]


def _network(description: SegmenterDescription) -> tuple[tuple[str, str], ...]:
    return (
        ("weights", description.checkpoint),
        ("preset", description.preset),
        ("parameters", f"{description.num_parameters / 1e6:.1f} million"),
        ("trained on", description.trained_on),
        ("device", f"{description.device}, {description.precision}"),
        ("backend", description.backend),
    )
