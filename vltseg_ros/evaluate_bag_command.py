# SPDX-License-Identifier: Apache-2.0
"""`vltseg evaluate-bag`: the test drive on the desk."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vltseg_ros.replay_command import LabelSpaceName, positive, run_with_progress
from vltseg_ros.said_text import printable

if TYPE_CHECKING:
    from vltseg_core.evaluation.bag_result import BagResult
    from vltseg_ros.bag_evaluation import BagEvaluationSettings

_BAG_FAILED = 1
_FELL_SHORT = 2
_FLEET_WINDOW_S = 1800.0


def evaluate_bag(
    context: typer.Context,
    bags: Annotated[
        list[str] | None,
        typer.Argument(help="A bag, or several; also videos, image folders and quoted glob patterns.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the results; bag_evaluation or bag_comparison unless given."),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Weights file, tiny or a fetched checkpoint; tiny unless --params-file says else.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    params_file: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="YAML file of the node, without its cameras, input_health, min_confidence."
        ),
    ] = None,
    rate: Annotated[float, typer.Option(callback=positive, help="Speed of playing; 1 is real time.")] = 1.0,
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Play each frame when the one before was answered: no frame is dropped.")
    ] = False,
    min_confidence: Annotated[float, typer.Option(min=0.0, max=1.0, help="Less certain pixels get label 255.")] = 0.0,
    topic: Annotated[str | None, typer.Option(help="Image topic, where a bag has several cameras.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of ground truth PNGs with the names of the input's images.")] = None,
    label_space: Annotated[
        LabelSpaceName, typer.Option(help="What the values in --labels mean.")
    ] = LabelSpaceName.CITYSCAPES_TRAIN_IDS,
    rate_hz: Annotated[
        float | None, typer.Option(callback=positive, help="Frames a second of images (10 unless given), or of a video.")
    ] = None,
    max_seconds: Annotated[float | None, typer.Option(callback=positive, help="Play only so much from the start.")] = None,
    fail_under: Annotated[
        str | None,
        typer.Option(help="Least mean IoU in percent, as night=55,overall=65; exit code 2 where one falls short."),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="BEFORE AFTER",
            help="Instead of playing: what changed from one results.json to another, and whether it is more than noise.",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Evaluate bags at once with Ray: local (this machine), auto or ray://HOST:PORT (a cluster)."),
    ] = None,
    bag_cpus: Annotated[
        int | None,
        typer.Option(min=1, help="CPUs that a bag takes with --ray; without a GPU OMP_NUM_THREADS, else all of a machine's."),
    ] = None,
) -> None:
    """Play a bag through the node as on the vehicle, and tell how good the masks were and whether they came in time.

    Writes results.json, results.md, report.html, overlays with the best and the worst frames, a video and a bag. Of several
    bags each gets a folder in bags/, and one report says what all say together; a bag that fails is a line of it, and the
    exit code is 1. The same command goes on after an interruption, and plays no bag again that it has finished.
    """
    if compare is not None:
        _require_nothing_else(context)
        _compare(*compare, output or Path("bag_comparison"))
        return
    if not bags:
        raise typer.BadParameter("give a bag to play, or --compare BEFORE AFTER")
    output = output or Path("bag_evaluation")
    if lossless and rate != 1:
        raise typer.BadParameter("--rate belongs to playing in real time: leave it out with --lossless")
    from vltseg_core.evaluation.thresholds import parse_thresholds, require_known, shortfalls
    from vltseg_ros.ros_installation import require_ros

    if bag_cpus is not None and ray is None:
        raise typer.BadParameter("--bag-cpus belongs to --ray")
    thresholds = parse_thresholds(fail_under) if fail_under is not None else {}
    require_ros()
    from vltseg_ros.bag_evaluation import BagEvaluationSettings, evaluate_bag
    from vltseg_ros.fleet_bags import conditions_of, expand
    from vltseg_ros.replay_run import ReplaySettings

    replay = ReplaySettings(
        rate=rate,
        lossless=lossless,
        with_confidence=True,
        min_confidence=min_confidence,
        checkpoint=checkpoint,
        device=device,
        params_file=params_file,
    )
    sources = expand(bags)
    if thresholds and (conditions := conditions_of(sources)):
        require_known(thresholds, conditions)
    settings = BagEvaluationSettings(
        sources[0], output, replay, topic, rate_hz=rate_hz, max_seconds=max_seconds, labels=labels, label_space=label_space.value
    )
    failed = False
    if len(sources) == 1 and ray is None:
        outcome = run_with_progress(lambda progress: evaluate_bag(settings, progress), output)
        result, report = outcome.result, outcome.folder.report
    else:
        if labels is not None:
            raise typer.BadParameter("--labels belongs to one input: evaluate it alone")
        result, report, failed = _evaluate_fleet(sources, settings, ray, bag_cpus)
    _print_result(result, report)
    short = shortfalls(result, thresholds)
    if short:
        print(f"vltseg: fell short of --fail-under: {'; '.join(short)}", file=sys.stderr)
    if failed:
        raise typer.Exit(_BAG_FAILED)
    if short:
        raise typer.Exit(_FELL_SHORT)


def _require_nothing_else(context: typer.Context) -> None:
    """A usage error for options of playing, which --compare would pass over."""
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE" and parameter.name not in ("compare", "output"):
            raise typer.BadParameter(f"{parameter.opts[0]} belongs to playing a bag: leave it out with --compare")


def _compare(before: Path, after: Path, output: Path) -> None:
    from rich.console import Console

    from vltseg_core.evaluation.bag_comparison_tables import summary
    from vltseg_ros.bag_comparing import compare_results

    folder, comparison = compare_results(before, after, output)
    console = Console()
    for sentence in (*summary(comparison), *comparison.remarks):
        console.print(printable(sentence), markup=False, highlight=False)
    console.print(f"Comparison: {folder.page}", soft_wrap=True, markup=False)


def _evaluate_fleet(
    sources: list[str], evaluation: BagEvaluationSettings, ray: str | None, bag_cpus: int | None
) -> tuple[BagResult, Path, bool]:
    """The merged result, its page, and whether a bag failed."""
    from vltseg_ros.fleet_evaluation import FleetSettings, evaluate_fleet, one_after_another
    from vltseg_ros.ray_tasks import RayRunner

    run = RayRunner(ray, bag_cpus) if ray is not None else one_after_another
    settings = FleetSettings(sources, evaluation.output, evaluation)
    folder, result, failures = run_with_progress(
        lambda progress: evaluate_fleet(settings, progress, run),
        evaluation.output,
        after_stop="the same command goes on with the bags that are left",
        window_s=_FLEET_WINDOW_S,
    )
    return result, folder.report, bool(failures)


def _print_result(result: BagResult, report: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from vltseg_core.evaluation.latency import summarise

    table = Table("", *(["mIoU %"] if result.has_truth else []), "in", "answered", "late", "median", "p95")
    means = {**result.by_condition, result.total.name: result.pooled}
    for group in (*result.conditions, result.total) if len(result.conditions) > 1 else (result.total,):
        value, (low, high) = means[group.name]
        interval = "" if math.isnan(low) else f" ({100 * low:.1f} to {100 * high:.1f})"
        miou = ["–" if math.isnan(value) else f"{100 * value:.1f}{interval}"] if result.has_truth else []
        counts = [str(count) for count in (group.num_frames, group.num_answered, group.num_late)]
        table.add_row(
            escape(printable(group.name)),
            *miou,
            *counts,
            *("–" if math.isnan(ms) else f"{ms:.0f} ms" for ms in summarise(group.latencies_ms)[:2]),
        )
    console = Console()
    console.print(table)
    for remark in result.remarks:
        console.print(printable(remark), markup=False)
    console.print(f"Report: {report}", soft_wrap=True, markup=False)
