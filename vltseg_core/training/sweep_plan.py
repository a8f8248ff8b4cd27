# SPDX-License-Identifier: Apache-2.0
"""What a sweep tries: axes of settings, and every combination of them as one training run."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vltseg_core.config import DEFAULT_PRESET
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.foreign_yaml import read_yaml, yaml_of

SEED_AXES = ("seed_everything", "data.seed", "seed")
"""Axes that repeat a run rather than change it: their values are the spread, never a row of their own."""


@dataclass(frozen=True)
class Axis:
    """One thing that is varied. options: what each of its values, by label, sets for train.py."""

    name: str
    options: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class SweepRun:
    """One combination. settings: label by axis. options: for train.py."""

    settings: Mapping[str, str]
    options: tuple[str, ...]

    @property
    def name(self) -> str:
        """The settings in a row, for people and as a folder's name."""
        return _file_name(",".join(f"{axis}={label}" for axis, label in self.settings.items()))


@dataclass(frozen=True)
class SweepPlan:
    """recipe: what every run starts from. axes: in the order in which they are nested, the last running fastest."""

    recipe: Path
    axes: tuple[Axis, ...]

    def runs(self) -> list[SweepRun]:
        """Every combination; ConfigurationError where two could not be told apart by name."""
        runs = []
        for labels in itertools.product(*(axis.options for axis in self.axes)):
            options = [option for axis, label in zip(self.axes, labels, strict=True) for option in axis.options[label]]
            runs.append(SweepRun({axis.name: label for axis, label in zip(self.axes, labels, strict=True)}, tuple(options)))
        if len({run.name for run in runs}) < len(runs):
            raise ConfigurationError(
                "two runs of the sweep would have one name: give their values labels that differ, in a sweep file"
            )
        return runs

    def presets(self, options: Sequence[str] = ()) -> list[str]:
        """The presets of all runs. options: what is given to train.py besides, for every run; an axis goes over it."""
        of_recipe = _preset_in(_section(read_yaml(self.recipe), "model")) or DEFAULT_PRESET
        return sorted({_last_preset([*options, *run.options]) or of_recipe for run in self.runs()})


def read_plan(sweep_file: Path | None, recipe: Path | None, axes: Sequence[str]) -> SweepPlan:
    """A plan from a sweep file and from options; an option replaces the file's axis of the same name, a seed's any seed's.

    sweep_file: YAML with `recipe`, relative to the file, and `axes`: a list of values by setting, or for a group of
    settings their values by label ({base: {model.preset: clip_b, model.pretrained: openai}}).
    axes: "SETTING=VALUE,VALUE". ConfigurationError says what is missing or wrong.
    """
    fields = _read(sweep_file) if sweep_file else {}
    found = {name: _axis(name, values) for name, values in (fields.get("axes") or {}).items()}
    if any(text.partition("=")[0] in SEED_AXES for text in axes):
        found = {name: axis for name, axis in found.items() if name not in SEED_AXES}
    for text in axes:
        name, separator, values = text.partition("=")
        if not (separator and name and values):
            raise ConfigurationError(f"--axis takes SETTING=VALUE,VALUE, not '{text}': such as model.ptm_weight=0.1,1.0")
        found[name] = _axis(name, values.split(","))
    if recipe is None and fields.get("recipe") and sweep_file:
        recipe = sweep_file.parent / str(fields["recipe"])
    if recipe is None or not recipe.is_file():
        raise ConfigurationError(f"recipe '{recipe or ''}' not found: give --recipe, one of training/recipes/*.yaml")
    if not found:
        raise ConfigurationError("a sweep needs an axis: give a sweep file of training/sweeps, or --axis SETTING=VALUE,VALUE")
    return SweepPlan(recipe, tuple(found.values()))


def _last_preset(options: Sequence[str]) -> str:
    """The preset that train.py is told to take; empty where it is told none."""
    named = ""
    for option, following in itertools.zip_longest(options, options[1:], fillvalue=""):
        key, is_whole, value = option.partition("=")
        value = value if is_whole else following
        if key == "--model.preset":
            named = value
        elif key == "--model":
            named = _preset_in(_parsed(value)) or named
        elif key == "--config":
            named = _preset_in(_section(_parsed(value), "model")) or named
    return named


def _parsed(text: str) -> Any:
    """What an option says: YAML, or a file of it; None where it is neither, which train.py says."""
    try:
        return read_yaml(Path(text)) if Path(text).suffix in (".yaml", ".yml") else yaml_of(text)
    except (OSError, InputError):
        return None


def _section(fields: Any, name: str) -> Any:
    return fields.get(name) if isinstance(fields, Mapping) else None


def _preset_in(model: Any) -> str:
    return str(_section(model, "preset") or "")


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = read_yaml(path)
    except (OSError, InputError) as error:
        raise ConfigurationError(f"sweep file '{path}' cannot be read: {error}") from error
    if not isinstance(fields, dict) or set(fields) - {"recipe", "axes"} or not isinstance(fields.get("axes"), dict):
        raise ConfigurationError(f"sweep file '{path}' must hold 'axes', and 'recipe' if any, and nothing else")
    return fields


def _axis(name: str, values: Any) -> Axis:
    if isinstance(values, Mapping) and values and all(isinstance(group, Mapping) for group in values.values()):
        labelled = [(str(label), tuple(_option(k, v) for k, v in group.items())) for label, group in values.items()]
    elif isinstance(values, Sequence) and not isinstance(values, str) and values:
        labelled = [(_label(value), (_option(name, value),)) for value in values]
    else:
        raise ConfigurationError(f"axis '{name}' is neither a list of values nor settings by label: {values!r}")
    options = dict(labelled)
    if len(options) < len(labelled):
        raise ConfigurationError(
            f"two values of axis '{name}' would have one label: give their settings labels that differ, in a sweep file"
        )
    return Axis(name, options)


def _option(key: str, value: Any) -> str:
    return f"--{key}={value if isinstance(value, str) else json.dumps(value)}"


def _label(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return Path(text).stem if text.endswith(".safetensors") else text


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.,=+-]+", "_", text)
