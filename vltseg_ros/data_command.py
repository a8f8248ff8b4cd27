# SPDX-License-Identifier: Apache-2.0
"""`vltseg data check`: what a data set's folder holds, and which of its files are broken."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vltseg_core.data.check import DataSetCheck

data = typer.Typer(name="data", help="Data sets on disk.", no_args_is_help=True)


@data.callback()
def _data() -> None:
    """Data sets on disk."""


@data.command()
def check(
    name: Annotated[str, typer.Argument(help="Data set: cityscapes, acdc, gta5, ...; `folder` for one of your own.")],
    path: Annotated[Path, typer.Argument(help="Folder that it was unpacked to.")],
    split: Annotated[str | None, typer.Option(help="Read the files of this split alone; left out: of all.")] = None,
    workers: Annotated[int, typer.Option(min=0, max=256, help="Frames read at once; 0: one a core.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to this file too.")] = None,
) -> None:
    """Say how many pairs, sizes and classes a data set has and read every file; exit code 1 if one is broken or unlabelled."""
    from vltseg_core.data.check import check_data_set
    from vltseg_core.data.data_sets import data_set
    from vltseg_ros.progress_bar import progress_bar

    wanted = data_set(name)
    try:
        with progress_bar() as progress:
            task = progress.add_task(f"Reading {name}", total=None)
            checked = check_data_set(
                wanted,
                path,
                split=split,
                num_workers=workers,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except KeyboardInterrupt:
        print("\nvltseg: stopped; nothing was changed", file=sys.stderr)
        raise typer.Exit(130) from None
    _print(checked)
    if json_file:
        json_file.write_text(json.dumps(checked.as_json(), indent=2) + "\n", encoding="utf-8")
    if checked.broken or any(split_on_disk.is_half for split_on_disk in checked.splits.values()):
        raise typer.Exit(1)


def _print(checked: DataSetCheck) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    for name, split in checked.splits.items():
        published = f" of {split.num_published} published" if split.num_published not in (None, split.num_pairs) else ""
        console.print(f"{name}: {split.problem or f'{split.num_pairs} pairs{published}'}", markup=False)
    table = Table("class", "% of pixels", "images")
    for share in checked.classes:
        table.add_row(share.name, f"{100 * share.pixel_share:.3f}", str(share.num_images))
    console.print(table)
    console.print(f"annotated: {100 * checked.annotated_share:.1f} % of the pixels")
    for title, counts in (("sizes", checked.sizes), ("conditions", checked.conditions)):
        if counts:
            shown = [f"{name} ({num_images})" for name, num_images in list(counts.items())[:12]]
            console.print(f"{title}: {', '.join(shown)}{' and others' if len(counts) > 12 else ''}", markup=False)
    if checked.num_with_depth:
        console.print(f"depth: {checked.num_with_depth} images")
    for problem in checked.broken.values():
        console.print(f"broken: {problem}", markup=False, style="red")
    console.print(f"{checked.num_read} pairs read, {len(checked.broken)} broken")
