# SPDX-License-Identifier: Apache-2.0
"""`vltseg segment`: a user's own pictures to label, colour, overlay and confidence files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def segment(
    inputs: Annotated[list[str], typer.Argument(help="Images, folders, quoted glob patterns, videos or bags.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("segmented"),
    show: Annotated[str, typer.Option(help="What to write, separated by commas.")] = "labels,colour,overlay,confidence",
    checkpoint: Annotated[str, typer.Option(help="Preset with built-in weights, or a weights file.")] = "tiny",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, max=64, help="Pictures that enter the network together.")] = 1,
    max_input_pixels: Annotated[
        int | None,
        typer.Option(min=0, help="Most pixels with which a picture enters the network; 0: any; left out: the checkpoint's own."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=0, help="Side of a sliding window in pixels; 0: whole pictures; left out: as the checkpoint was tested."
        ),
    ] = None,
    whole_masks: Annotated[
        bool,
        typer.Option("--whole-masks", help="Resize all queries' masks at once, as the published code does; more memory."),
    ] = False,
) -> None:
    """Segment pictures to files; a run that was stopped goes on where it was.

    An image file that cannot be read is left out and named at the end, with exit code 1.
    --show score-map writes each place's nearest class text, the darker the less certain.
    """
    from vltseg_ros.progress_bar import progress_bar
    from vltseg_ros.segment import SegmentSettings, segment_files

    kinds = tuple(kind.strip() for kind in show.split(",") if kind.strip())
    settings = SegmentSettings(
        tuple(inputs), output, kinds, checkpoint, device, batch_size, max_input_pixels, window, whole_masks
    )
    try:
        with progress_bar() as progress:
            outcome = segment_files(settings, progress)
    except KeyboardInterrupt:
        print(f"\nvltseg: stopped; the same command goes on in '{output}'")
        raise typer.Exit(130) from None
    print(f"{outcome.num_pictures} pictures: {output}")
    if outcome.unreadable:
        sentences = "\n  ".join(outcome.unreadable)
        print(f"vltseg: {len(outcome.unreadable)} image files were left out:\n  {sentences}", file=sys.stderr)
        raise typer.Exit(1)
