# SPDX-License-Identifier: Apache-2.0
"""The training command's own arguments, taken off before LightningCLI reads the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vltseg_core.errors import ConfigurationError

USAGE = (
    "usage: train.py RECIPE.yaml [--data NAME[:SPLIT]=FOLDER ...] [--validate NAME[:SPLIT]=FOLDER ...] [--output FOLDER] "
    "[--resume] [--wandb PROJECT] [--SECTION.KEY VALUE ...]"
)


class Arguments(NamedTuple):
    """recipe: its file. output: the run's folder. wandb: project, empty for none. options: what is left for LightningCLI."""

    recipe: str
    output: Path
    resume: bool
    wandb: str
    options: list[str]


def parse(arguments: Sequence[str]) -> Arguments:
    """A command line; ConfigurationError says what is wrong with it."""
    rest = list(arguments)
    if not rest or rest[0].startswith("-"):
        raise ConfigurationError(USAGE)
    recipe = rest.pop(0)
    if not Path(recipe).is_file():
        raise ConfigurationError(f"recipe '{recipe}' not found: give one of training/recipes/*.yaml")
    values: dict[str, str] = {"--output": str(Path("runs") / Path(recipe).stem), "--wandb": ""}
    folders: dict[str, dict[str, str]] = {"--data": {}, "--validate": {}}
    resume, options = False, []
    while rest:
        option = rest.pop(0)
        name, has_value, value = option.partition("=")
        if name in folders:
            given = [value] if has_value else []
            while rest and not rest[0].startswith("--"):
                given.append(rest.pop(0))
            for text in given:
                _add(folders[name], name, text)
        elif name in values:
            if not has_value and not rest:
                raise ConfigurationError(f"{name} needs a value. {USAGE}")
            values[name] = value if has_value else rest.pop(0)
        elif option == "--resume":
            resume = True
        else:
            options.append(option)
    for option, key in (("--data", "roots"), ("--validate", "targets")):
        if folders[option]:
            options.append(f"--data.{key}={json.dumps(folders[option])}")
    return Arguments(recipe, Path(values["--output"]), resume, values["--wandb"], options)


def _add(folders: dict[str, str], option: str, text: str) -> None:
    key, separator, folder = text.partition("=")
    if not separator:
        raise ConfigurationError(f"{option} takes NAME[:SPLIT]=FOLDER, not '{text}'. {USAGE}")
    if folders.setdefault(key, folder) != folder:
        raise ConfigurationError(f"{option} {key} is given twice, as '{folders[key]}' and as '{folder}': put them in one folder")
