# SPDX-License-Identifier: Apache-2.0
"""`vltseg convert`, `vltseg fetch`, `vltseg describe`: weights files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vltseg_ros.progress_bar import progress_bar


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Published VLTSeg checkpoint (.pth).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Weights file to write (.safetensors).")],
) -> None:
    """Turn a published checkpoint into a weights file that the node loads."""
    from vltseg_core.checkpoints import native, published
    from vltseg_core.checkpoints.published_models import trained_on

    network = published.convert(checkpoint)
    native.save(network, output, trained_on=trained_on(checkpoint.name))
    config = network.config
    print(f"{output}: {len(config.classes)} classes, trained at {config.crop_size} pixels")


def fetch(
    name: Annotated[str, typer.Argument(help="Published checkpoint, such as cityscapes_1 or acdc_1.")],
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the checkpoints' licence (CC BY-NC 4.0), once for all.")
    ] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder for the weights; else VLTSEG_CACHE or ~/.cache/vltseg.")] = None,
) -> None:
    """Download a published checkpoint and convert it."""
    from vltseg_core.checkpoints.fetch import accept_licence, cache_folder
    from vltseg_core.checkpoints.fetch import fetch as fetch_weights
    from vltseg_core.checkpoints.published_models import LICENCE, published_model

    published_model(name)
    folder = cache or cache_folder()
    if accept_license:
        print(f"Licence of the published checkpoints: {LICENCE}")
        accept_licence(folder)
    with progress_bar(transfers=True) as progress:
        task = progress.add_task(f"Fetching {name}", total=None)
        weights = fetch_weights(name, folder, lambda done, total: progress.update(task, completed=done, total=total))
    print(weights)
