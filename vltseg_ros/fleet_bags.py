# SPDX-License-Identifier: Apache-2.0
"""Which inputs a fleet's evaluation has: paths and glob patterns taken apart, each input with a name of its own."""

from __future__ import annotations

import glob
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from vltseg_core.errors import InputError
from vltseg_ros import bags
from vltseg_ros.image_sources import IMAGE_SUFFIXES


class FleetBag(NamedTuple):
    """One input and what it is called: in the report, and as the folder of its results."""

    name: str
    source: str


def expand(given: Iterable[str]) -> list[str]:
    """Every input once, in the order given, those of a pattern by name; what does not exist stays as it is.

    A pattern of image files is one input, a sequence of images; any other gives an input for each bag or folder it
    matches (or each file, where no bag is among them).
    """
    found: dict[Path, str] = {}
    for one in given:
        for source in [one] if Path(one).exists() else _matches(one):
            found.setdefault(Path(source).resolve(), source)
    return list(found.values())


def conditions_of(sources: Iterable[str]) -> list[str]:
    """The conditions that the bags' metadata names; none where one of the inputs does not say."""
    conditions: list[str] = []
    for source in sources:
        try:
            with bags.BagReader(Path(source)) as reader:
                listed = json.loads(reader.entries.get("vltseg.conditions", "[]"))
        except (InputError, OSError, ValueError, RecursionError):  # said where it is played
            return []
        if not isinstance(listed, list) or not listed:
            return []
        conditions += [str(name) for name in listed if isinstance(name, str) and name not in conditions]
    return conditions


def named(sources: Sequence[str]) -> list[FleetBag]:
    """Each input called by its file name without the suffix, or as much more of its path as tells it apart."""
    names = [""] * len(sources)
    unnamed = list(range(len(sources)))
    for num_parts in range(1, max((len(Path(source).resolve().parts) for source in sources), default=0) + 1):
        for index in unnamed:
            names[index] = _name(sources[index], num_parts)
        counts = Counter(names)
        unnamed = [index for index in unnamed if counts[names[index]] > 1]
    for place, index in enumerate(unnamed, 1):  # drive.mcap and drive.db3 side by side
        names[index] = f"{names[index]}-{place}"
    return [FleetBag(name, source) for name, source in zip(names, sources, strict=True)]


def _matches(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return [pattern]
    matches = sorted(glob.glob(pattern, recursive=True))
    if any(Path(match).suffix.lower() in IMAGE_SUFFIXES for match in matches):
        return [pattern]
    inputs = [match for match in matches if Path(match).is_dir() or bags.is_bag(Path(match))]
    return inputs or matches or [pattern]


def _name(source: str, num_parts: int) -> str:
    path = Path(source).resolve()
    stem = path.stem if not path.is_dir() else path.name
    parts = [*path.parts[1:-1][-(num_parts - 1) :], stem] if num_parts > 1 else [stem]
    return re.sub(r"[^\w.+-]", "_", "-".join(parts)).strip(".") or "bag"
