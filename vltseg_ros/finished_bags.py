# SPDX-License-Identifier: Apache-2.0
"""Knows an evaluation that need not be run again: what its folder says that it was made of is what is asked for now."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import vltseg_core
from vltseg_core.errors import CheckpointError, InputError
from vltseg_core.evaluation import bag_figures
from vltseg_core.foreign_yaml import read_yaml
from vltseg_core.runtime.weights_path import weights_path
from vltseg_ros.bag_evaluation import BagEvaluationSettings
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.parameters import NodeParameters

Fingerprint = dict[str, Any]


def fingerprint(settings: BagEvaluationSettings) -> Fingerprint:
    """All that decides the results, as plain JSON: the settings, the release, and the state of every file they name.

    Files count by name, size and time of change; the number of threads counts because it changes last digits. Where the
    results go does not count.
    """
    values = asdict(settings)
    del values["output"]
    named = (settings.bag, settings.labels, settings.replay.params_file)
    states = {str(path): state for path in named if path is not None and (state := _state(Path(path)))}
    asked_for = settings.replay.checkpoint
    for checkpoint in [asked_for] if asked_for else [NodeParameters().checkpoint, *_checkpoints_in(settings.replay.params_file)]:
        with suppress(CheckpointError):  # what is not there fails where it is loaded
            states[str(checkpoint)] = _state(weights_path(checkpoint))
    surroundings = {"release": vltseg_core.__version__, "threads": os.environ.get("OMP_NUM_THREADS"), "files": states}
    return json.loads(json.dumps({**surroundings, **values}, default=str))


def finished_figures(folder: OutputFolder, wanted: Fingerprint) -> dict[str, Any] | None:
    """The folder's results.json if it is whole and was made of `wanted`, else None."""
    try:
        if json.loads(folder.finished.read_text("utf-8")) != wanted:
            return None
        figures = json.loads(folder.results.read_text("utf-8"))
        bag_figures.read(figures)
    except (OSError, ValueError, InputError):
        return None
    return figures


def mark_finished(folder: OutputFolder, made_of: Fingerprint) -> None:
    """Say of what the results in the folder were made; the last thing to be written."""
    partial = folder.finished.with_suffix(".partial")
    partial.write_text(json.dumps(made_of, indent=1) + "\n", "utf-8")
    partial.replace(folder.finished)


def _checkpoints_in(params_file: Path | None) -> set[str]:
    """All checkpoints that a file of ROS parameters names, whichever of its sections is the node's."""
    try:
        sections = [read_yaml(params_file)] if params_file else []
    except (OSError, InputError):  # said where the node is started with it
        return set()
    named: set[str] = set()
    seen: set[int] = set()  # a section may stand in several places, or in itself
    while sections:
        section = sections.pop()
        if isinstance(section, Mapping) and id(section) not in seen:
            seen.add(id(section))
            sections += section.values()
            if isinstance(section.get("checkpoint"), str):
                named.add(section["checkpoint"])
    return named


def _state(path: Path) -> str:
    """A digest that changes with a file, or with any file below a folder; empty where there is none."""
    if not path.exists():
        return ""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    listing = [(str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
