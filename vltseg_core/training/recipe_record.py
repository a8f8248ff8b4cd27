# SPDX-License-Identifier: Apache-2.0
"""The whole recipe of a run, kept in OUTPUT/recipe.yaml: what a resumed run is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.foreign_yaml import read_yaml
from vltseg_core.whole_file import write_whole

_FREE = (
    "data.targets", "data.num_workers", "run.save_every", "run.num_predictions", "model.compile_backend",
    "model.activation_checkpointing",
)  # fmt: skip
"""How things are computed and kept, not what is trained."""
_TOLD = ("trainer",)
"""Changes that are said and made: some of them, such as another max_steps, give other weights."""


def check_against(record: Path, recipe: Mapping[str, Any]) -> None:
    """Compare a recipe with the one that a run began with.

    Raises ConfigurationError where a model or data setting differs, since the weights would be neither's; says what else does.
    """
    if not record.is_file():
        return
    before = dict(_leaves(_without_folders(_read(record))))
    now = dict(_leaves(_without_folders(recipe)))
    changed = {
        key: f"{key} was {before.get(key)}, is {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key) and not _is_under(key, _FREE)
    }
    refused = [sentence for key, sentence in changed.items() if not _is_under(key, _TOLD)]
    if refused:
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        raise ConfigurationError(
            f"the run in '{record.parent}' began with another recipe ({'; '.join(refused[:3])}{more}): "
            "resume it with its own, or give another --output"
        )
    for sentence in changed.values():
        print(f"note: {sentence}")


def write_record(record: Path, recipe: Mapping[str, Any]) -> None:
    """Keep a recipe, for `check_against`."""
    record.parent.mkdir(parents=True, exist_ok=True)
    write_whole(record, yaml.safe_dump(dict(recipe), sort_keys=False))


def _read(record: Path) -> Mapping[str, Any]:
    try:
        recipe = read_yaml(record)
    except InputError:
        recipe = None
    if not isinstance(recipe, Mapping):
        raise ConfigurationError(f"'{record}' is no recipe any more, so that no run can go on from it: give another --output")
    return recipe


def _without_folders(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Which sets are drawn from is what is trained; where they lie is not."""
    data = recipe.get("data")
    if not isinstance(data, Mapping) or not isinstance(data.get("roots"), Mapping):
        return recipe
    return {**recipe, "data": {**data, "roots": dict.fromkeys(data["roots"], True)}}


def _is_under(key: str, sections: tuple[str, ...]) -> bool:
    return any(f"{key}.".startswith(f"{section}.") for section in sections)


def _leaves(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its dotted name; what a table does not mention and what is empty are alike."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif value not in (None, {}, []):
            yield f"{prefix}{key}", value
