# SPDX-License-Identifier: Apache-2.0
"""What `vltseg segment` reads, and the names of its results: worked out before anything is written, no two the same.

A name follows from the paths that are given and from nothing else, so that a run that goes on finds its own results.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Container, Sequence
from pathlib import Path
from typing import NamedTuple

from vltseg_ros.bag_source import BagSource
from vltseg_ros.frame_source import FrameSource
from vltseg_ros.image_sources import ImageFilesSource, open_source


class NamedInputs(NamedTuple):
    """Inputs by name; one that is given twice is there once."""

    images: dict[Path, str]
    """Image files, and the names of their results."""
    streams: dict[str, FrameSource]
    """Videos and bags, by what the names of their frames begin with: nothing for a bag alone."""


def named_inputs(given: Sequence[str], output: Path) -> NamedInputs:
    """The inputs that paths and patterns name, without what lies in the output folder: a pattern may reach into it.

    Raises InputError for a path where there is nothing to read.
    """
    sources = {Path(os.path.abspath(text)): open_source(text) for text in given}
    files = [Path(os.path.abspath(p)) for s in sources.values() if isinstance(s, ImageFilesSource) for p in s.paths]
    results = Path(os.path.abspath(output))
    images = unique_names([path for path in dict.fromkeys(files) if results not in path.parents])
    streams = {path: source for path, source in sources.items() if not isinstance(source, ImageFilesSource)}
    like_frames = {match[1] for name in images.values() if (match := re.fullmatch(r"(.+)_[0-9]{6,}", name))}
    names = unique_names(list(streams), taken=like_frames)
    only_a_bag = len(sources) == 1 and isinstance(next(iter(sources.values())), BagSource)
    return NamedInputs(images, {"" if only_a_bag else f"{names[path]}_": source for path, source in streams.items()})


def unique_names(paths: Sequence[Path], taken: Container[str] = ()) -> dict[Path, str]:
    """A name for each absolute path: its stem, where no two coincide.

    Else all are named by their path below the folder common to all; what still coincides gets its suffix as well
    (a_png, a_jpg), and last of all a number.
    """
    names = {path: path.stem for path in paths}
    if _coinciding(names, taken):
        root = os.path.commonpath([path.parent for path in paths])
        names = {path: "_".join(path.relative_to(root).with_suffix("").parts) for path in paths}
    for path in _coinciding(names, taken):
        names[path] += path.suffix.replace(".", "_")
    coinciding = sorted(_coinciding(names, taken))
    used = set(names.values()) - {names[path] for path in coinciding}
    for path in coinciding:
        name, number = names[path], 1
        while names[path] in used or names[path] in taken:
            number += 1
            names[path] = f"{name}_{number}"
        used.add(names[path])
    return names


def _coinciding(names: dict[Path, str], taken: Container[str]) -> list[Path]:
    counts = Counter(names.values())
    return [path for path, name in names.items() if counts[name] > 1 or name in taken]
