# SPDX-License-Identifier: Apache-2.0
"""`vltseg build-engine` and `vltseg export`: the network compiled ahead of time, or for another run time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vltseg_ros.image_size_option import parsed_image_size

Size = Annotated[str, typer.Option(help="WIDTHxHEIGHT with which images enter the network (--size 1920x1080).")]
Batch = Annotated[int, typer.Option(min=1, max=64, help="Images at once: the number of cameras; an engine for a CPU takes one.")]
Sampling = Annotated[bool, typer.Option(help="Sample by index, not by GridSample, which some TensorRT versions compute wrong.")]


@contextmanager
def _steps(title: str) -> Iterator[Callable[[str], None]]:
    """A line that says what is being done, and for how long."""
    from rich import progress

    columns = (progress.SpinnerColumn(), progress.TextColumn("{task.description}"), progress.TimeElapsedColumn())
    with progress.Progress(*columns) as shown:
        task = shown.add_task(title, total=None)

        def step(text: str) -> None:
            shown.console.print(text, highlight=False, soft_wrap=True)
            shown.update(task, description=f"{title}: {text}")

        yield step


def build_engine(
    checkpoint: Annotated[str, typer.Argument(help="Preset with built-in weights, a fetched checkpoint, or a weights file.")],
    size: Size,
    batch: Batch = 1,
    precision: Annotated[str, typer.Option(help="auto (fp16 on a GPU), fp16, bf16 or fp32.")] = "auto",
    backend: Annotated[str, typer.Option(help="tensorrt, onnxruntime, or auto: tensorrt on a GPU, else onnxruntime.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    engine_cache: Annotated[Path | None, typer.Option(help="Folder of engines; else engines in VLTSEG_CACHE.")] = None,
    window: Annotated[int, typer.Option(help="Side of the sliding window; 0: whole images; -1: the checkpoint's own.")] = -1,
    force: Annotated[bool, typer.Option("--force", help="Build it even if it is there.")] = False,
) -> None:
    """Build the engine that the node loads, on the machine that runs it, and check it against the network."""
    image_size = parsed_image_size(size)
    from vltseg_core.runtime.build_engine import build_ahead, engine_shape
    from vltseg_core.runtime.engine_cache import EngineCache
    from vltseg_core.runtime.engine_compilers import ENGINE_BACKENDS

    if backend not in ("auto", *ENGINE_BACKENDS):
        raise typer.BadParameter(f"no engines of '{backend}': use auto, {' or '.join(ENGINE_BACKENDS)}")

    shape = engine_shape(checkpoint, batch, image_size, None if window < 0 else window)
    with _steps(f"{checkpoint} for {shape}") as step:
        path = build_ahead(
            checkpoint,
            shape,
            backend=backend,
            device=device,
            precision=precision,
            cache=EngineCache(engine_cache),
            progress=step,
            force=force,
        )
    print(path)


def export(
    checkpoint: Annotated[str, typer.Argument(help="Preset with built-in weights, a fetched checkpoint, or a weights file.")],
    size: Size,
    batch: Batch = 1,
    onnx: Annotated[Path | None, typer.Option(help="ONNX file to write.")] = None,
    pt2: Annotated[Path | None, typer.Option(help="File for torch.export.load to write.")] = None,
    gather_sampling: Sampling = False,
) -> None:
    """Write the network for other run times, and check what was written against the network on the CPU."""
    if onnx is None and pt2 is None:
        raise typer.BadParameter("nothing to write: give --onnx FILE, --pt2 FILE, or both")
    height, width = parsed_image_size(size)
    from vltseg_core.runtime.build_engine import run_time_network
    from vltseg_core.runtime.export import export_onnx, export_pt2
    from vltseg_core.runtime.run_time_network import NetworkShape

    network, _, _ = run_time_network(checkpoint, device="cpu", precision="fp32")
    shape = NetworkShape(batch, height, width)
    with _steps(f"{checkpoint} for {shape}") as step:
        for path, write in ((onnx, export_onnx), (pt2, export_pt2)):
            if path is not None:
                found = write(network, shape, path, gather_sampling=gather_sampling)
                step(f"{path}: {found}")
