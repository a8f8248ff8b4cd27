# SPDX-License-Identifier: Apache-2.0
"""`vltseg convert`, `vltseg fetch`, `vltseg describe`: weights files."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vltseg_ros.image_size_option import parsed_image_size
from vltseg_ros.progress_bar import progress_bar
from vltseg_ros.said_text import printable

if TYPE_CHECKING:
    from vltseg_core.checkpoints.pretrained_files import PretrainedWeights


def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Published VLTSeg checkpoint (.pth).")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Weights file to write (.safetensors).")],
) -> None:
    """Turn a published checkpoint into a weights file that the node loads."""
    if output.suffix != ".safetensors" or output.resolve() == checkpoint.resolve():
        raise typer.BadParameter(f"'{output}' cannot be written to: give -o another file, one that ends in .safetensors")
    from vltseg_core.checkpoints import native, published
    from vltseg_core.checkpoints.published_models import trained_on

    network = published.convert(checkpoint)
    native.save(network, output, trained_on=trained_on(checkpoint.name))
    config = network.config
    print(f"{output}: {len(config.classes)} classes, trained at {config.crop_size} pixels")


def fetch(
    name: Annotated[
        str,
        typer.Argument(help="Published checkpoint (cityscapes_1, acdc_1), or CLIP weights: a preset, or MODEL/TAG of open_clip."),
    ],
    accept_license: Annotated[bool, typer.Option("--accept-license", help="Accept the weights' licence, once for all.")] = False,
    cache: Annotated[Path | None, typer.Option(help="Folder for the weights; else VLTSEG_CACHE or ~/.cache/vltseg.")] = None,
) -> None:
    """Download a published checkpoint and convert it, or pre-trained weights that a recipe starts from.

    VLTSEG_RECORD_URL and VLTSEG_HUB_URL in the environment name another Zenodo record and another Hugging Face hub.
    """
    from vltseg_core.checkpoints.cache import cache_folder
    from vltseg_core.checkpoints.pretrained_files import pretrained_weights

    folder = cache or cache_folder()
    try:
        if weights := pretrained_weights(name):
            _fetch_pretrained(weights, folder, accept_license=accept_license)
        else:
            _fetch_published(name, folder, accept_license=accept_license)
    except KeyboardInterrupt:
        print("\nvltseg: stopped; what has arrived is kept, run the command again to go on", file=sys.stderr)
        raise typer.Exit(130) from None


@contextmanager
def _transfer(title: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[float], None]]]:
    """A bar: what shows the bytes there are and all, and what waits and says so."""
    with progress_bar(transfers=True) as progress:
        task = progress.add_task(title, total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, description=title, completed=done, total=total)

        def pause(seconds: float) -> None:
            progress.update(task, description=f"Trying again in {seconds:.0f} s")
            time.sleep(seconds)

        yield show, pause


def _fetch_published(name: str, folder: Path, *, accept_license: bool) -> None:
    from vltseg_core.checkpoints.cache import accept_licence
    from vltseg_core.checkpoints.fetch import fetch as fetch_weights
    from vltseg_core.checkpoints.fetch import record_url
    from vltseg_core.checkpoints.published_models import LICENCE, published_model

    published_model(name)
    if accept_license:
        print(f"Licence of the published checkpoints: {LICENCE}")
        accept_licence(folder, LICENCE)
    with _transfer(f"Fetching {name}") as (show, pause):
        path = fetch_weights(name, folder, show, record_url=record_url(), pause=pause)
    print(path)


def _fetch_pretrained(weights: PretrainedWeights, folder: Path, *, accept_license: bool) -> None:
    from vltseg_core.checkpoints.pretrained_files import fetch_pretrained, hub_url

    with _transfer(f"Fetching {weights.model}/{weights.tag}") as (show, pause):
        path, licence = fetch_pretrained(weights, folder, show, accept_license=accept_license, hub_url=hub_url(), pause=pause)
    print(f"Licence: {licence}")
    print(path)


def describe(
    network: Annotated[str, typer.Argument(help="Preset name, or a weights file.")] = "tiny",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT with which an image enters the network.")] = "1024x1024",
) -> None:
    """Say what a network is made of and what it costs."""
    image_size = parsed_image_size(size)
    from rich.console import Console
    from rich.table import Table

    from vltseg_core.runtime.describe import describe_network

    described = describe_network(network, image_size)
    table = Table("part", "parameters (million)", f"GFLOP at {size}")
    for part, num_parameters in described.cost.num_parameters.items():
        table.add_row(part, f"{num_parameters / 1e6:.2f}", f"{described.cost.flops[part] / 1e9:.1f}")
    total = sum(described.cost.num_parameters.values()), sum(described.cost.flops.values())
    table.add_row("all", f"{total[0] / 1e6:.2f}", f"{total[1] / 1e9:.1f}", style="bold")
    console = Console()
    console.print(table)
    for what, size_bytes in (("weights", described.cost.weight_bytes), (f"peak at {size}", described.cost.peak_bytes)):
        console.print(f"{what}: {size_bytes(4) / 1e6:.0f} MB in 32 bits, {size_bytes(2) / 1e6:.0f} MB in 16", highlight=False)
    console.print(f"classes: {len(described.config.classes)} ({described.config.class_table})", highlight=False)
    if most := described.config.inference.max_input_pixels:
        console.print(f"images of more than {most} pixels enter smaller, unless max_input_pixels says otherwise", highlight=False)
    trained = printable(f"trained at {described.config.crop_size} pixels on: {described.trained_on}")
    console.print(trained, highlight=False, soft_wrap=True, markup=False)
