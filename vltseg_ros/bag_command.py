# SPDX-License-Identifier: Apache-2.0
"""`vltseg bag make`: data sets, drawn scenes, pictures or a video to a rosbag2."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

bag = typer.Typer(help="Make bags (rosbag2) to replay.", no_args_is_help=True)
_NUM_NAMED = 5


class StorageName(str, Enum):
    """Storage formats of rosbag2."""

    MCAP = "mcap"
    SQLITE3 = "sqlite3"


class CompressedName(str, Enum):
    """Encodings of CompressedImage."""

    JPEG = "jpeg"
    PNG = "png"


@bag.callback()
def _bag() -> None:
    """Make bags (rosbag2) to replay."""


@bag.command()
def make(
    source: Annotated[
        str, typer.Argument(help="NAME=PATH of a data set, demo, an image folder, a quoted glob pattern or a video.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="FILE.mcap or FILE.db3, else a folder with metadata.yaml; must not exist.")
    ],
    split: Annotated[str, typer.Option(help="Part of a data set.")] = "val",
    storage: Annotated[StorageName | None, typer.Option(help="Where -o does not say it; mcap unless given.")] = None,
    compressed: Annotated[
        CompressedName | None,
        typer.Option(help="Store CompressedImage; files of that encoding are taken as they are. Left out: raw rgb8."),
    ] = None,
    rate_hz: Annotated[
        float | None, typer.Option(min=0.001, max=1000, help="Frames a second, also where file names have frame numbers.")
    ] = None,
    max_gap_s: Annotated[float, typer.Option(min=0.001, max=3600, help="Longer pauses between frames become this long.")] = 1.0,
) -> None:
    """Make a bag: images, camera info, and ground truth with the same stamps where there is some.

    Times come from the frame numbers of the data set's file names where they have any; sequences follow each other.
    Ctrl-C and SIGTERM leave a whole bag of what was written so far.
    """
    from vltseg_ros.bag_contents import ContentSettings, open_contents
    from vltseg_ros.bag_making import make_bag, storage_for
    from vltseg_ros.progress_bar import progress_bar

    chosen = storage_for(output, storage.value if storage else None)
    contents = open_contents(source, ContentSettings(split, rate_hz, max_gap_s))
    with progress_bar() as progress:
        task = progress.add_task(f"Writing {output.name}", total=contents.num_frames)
        made = make_bag(
            contents,
            output,
            storage=chosen,
            encoding=compressed.value if compressed else "raw",
            on_frame=lambda: progress.advance(task),
        )
    if contents.skipped:
        print(f"{len(contents.skipped)} frames cannot be read and were left out:", file=sys.stderr)
        for reason in contents.skipped[:_NUM_NAMED]:
            print(f"  {reason}", file=sys.stderr)
        if len(contents.skipped) > _NUM_NAMED:
            print(f"  and {len(contents.skipped) - _NUM_NAMED} more", file=sys.stderr)
    print(f"{made.path}: {made.num_frames} frames, {made.duration_s:.1f} s, {made.num_bytes / 1e6:.1f} MB")
    if made.stopped_by:
        print("vltseg: stopped; the bag is whole and holds what was written so far", file=sys.stderr)
        raise typer.Exit(128 + made.stopped_by)
