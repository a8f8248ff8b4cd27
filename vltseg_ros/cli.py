# SPDX-License-Identifier: Apache-2.0
"""The command `vltseg`. Heavy packages are imported where a command needs them, so that `--help` answers at once."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vltseg_core.errors import VltsegError
from vltseg_ros import analyse_command
from vltseg_ros.bag_command import bag
from vltseg_ros.checkpoint_commands import convert, describe, fetch
from vltseg_ros.data_command import data
from vltseg_ros.engine_commands import build_engine, export
from vltseg_ros.evaluate_bag_command import evaluate_bag
from vltseg_ros.image_size_option import parsed_image_size
from vltseg_ros.replay_command import LabelSpaceName, positive, run_with_progress
from vltseg_ros.said_text import printable
from vltseg_ros.segment_command import segment

if TYPE_CHECKING:
    from vltseg_ros.demo import DemoOutcome

app = typer.Typer(
    name="vltseg",
    help="Semantic segmentation of driving scenes: camera topic in, masks out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.add_typer(bag, name="bag")
app.command()(convert)
app.command()(fetch)
app.command()(segment)
app.command()(describe)
app.command()(build_engine)
app.command()(export)
app.command()(evaluate_bag)
app.add_typer(data)
app.add_typer(analyse_command.app, name="analyse")


def main() -> None:
    """Run the command line; what a user can mend becomes one sentence on stderr and exit code 1.

    VLTSEG_DEBUG=1 in the environment shows the traceback instead.
    """
    try:
        app()
    except VltsegError as error:
        _fail(error, str(error))
    except OSError as error:
        _fail(error, _os_error_sentence(error))


def _fail(error: Exception, sentence: str) -> NoReturn:
    if os.environ.get("VLTSEG_DEBUG"):
        raise error
    lines = "\n".join(map(printable, sentence.splitlines()))
    print(f"vltseg: {lines}", file=sys.stderr)
    sys.exit(1)


def _os_error_sentence(error: OSError) -> str:
    place = f" ('{error.filename}')" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{place}: free some space, or name a folder on another disk"
    return f"{error.strerror or error}{place}: check the path and its permissions"


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"vltseg_ros {version('vltseg_ros')}")
        except PackageNotFoundError:
            print("vltseg_ros, run from its source tree")
        raise typer.Exit


@app.callback()
def vltseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Semantic segmentation of driving scenes: camera topic in, masks out."""


@app.command()
def demo(
    own_input: Annotated[
        str | None,
        typer.Option("--input", help="Your own video, image folder, quoted glob pattern or bag, not drawn scenes."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")] = Path("demo_output"),
    topic: Annotated[str | None, typer.Option(help="Image topic, where a bag has several.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of ground truth PNGs with the names of the input's images.")] = None,
    label_space: Annotated[
        LabelSpaceName, typer.Option(help="What the values in --labels mean.")
    ] = LabelSpaceName.CITYSCAPES_TRAIN_IDS,
    rate: Annotated[float, typer.Option(callback=positive, help="Speed of playing; 1 is real time.")] = 1.0,
    rate_hz: Annotated[
        float | None,
        typer.Option(callback=positive, help="Frames a second of drawn scenes or images (10 unless given), or of a video."),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(callback=positive, help="Length of each drawn condition (4 unless given), or of the input to play (all)."),
    ] = None,
    image_size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of drawn scenes in pixels.")] = "480x360",
    seed: Annotated[int, typer.Option(min=0, help="Which scenes are drawn.")] = 0,
    checkpoint: Annotated[str, typer.Option(help="Preset with built-in weights, or a weights file.")] = "tiny",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    open_report: Annotated[bool, typer.Option("--open/--no-open", help="Open the report in a browser.")] = True,
) -> None:
    """Play driving scenes through the node over DDS and leave overlays, a video, a bag and a report.

    Draws five weather conditions with exact ground truth, unless --input gives something of your own.
    """
    if labels is not None and own_input is None:
        raise typer.BadParameter("--labels belongs to --input: drawn scenes bring their own ground truth")
    size = parsed_image_size(image_size)
    from vltseg_ros.ros_installation import require_ros

    require_ros()
    from vltseg_ros.demo import DemoSettings, run_demo
    from vltseg_ros.demo_bag import DemoBagSettings

    defaults = DemoBagSettings()
    drawing = DemoBagSettings(
        seed=seed,
        seconds=seconds or defaults.seconds,
        frame_rate_hz=rate_hz or defaults.frame_rate_hz,
        image_size=size,
    )
    settings = DemoSettings(
        output=output,
        drawing=drawing,
        own_input=own_input,
        topic=topic,
        rate_hz=rate_hz,
        max_seconds=seconds,
        labels=labels,
        label_space=label_space.value,
        rate=rate,
        checkpoint=checkpoint,
        device=device,
    )
    outcome = run_with_progress(lambda progress: run_demo(settings, progress), output)
    _print_outcome(outcome)
    if open_report:
        _open_in_browser(outcome.folder.report)


def _print_outcome(outcome: DemoOutcome) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    report = outcome.report
    table = Table("", *(["mIoU %"] if report.has_truth else []), "frames in", "answered", "dropped", "median", "p95")
    for section in (*report.sections, report.total) if len(report.sections) > 1 else report.sections:
        miou = [f"{100 * section.mean_iou:.1f}"] if report.has_truth else []
        counts = [str(section.num_frames), str(section.num_answered), str(section.num_dropped)]
        table.add_row(escape(printable(section.name)), *miou, *counts, *(f"{section.latency_ms(p):.0f} ms" for p in (50, 95)))
    console = Console()
    console.print(table)
    if report.drawn:
        console.print("These scenes are drawn, not photographed: they show that the way works, not how good it is.")
    console.print(f"Report: {outcome.folder.report}", soft_wrap=True, markup=False)


def _open_in_browser(report: Path) -> None:
    """Only for a person at a screen."""
    if sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        import webbrowser

        webbrowser.open(report.resolve().as_uri())


if __name__ == "__main__":
    main()
