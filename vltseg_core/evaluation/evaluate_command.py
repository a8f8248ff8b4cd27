# SPDX-License-Identifier: Apache-2.0
"""The evaluation command: its options, progress bars, and the files that it leaves."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from vltseg_core.data.synthia import SHOWN_CLASSES
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.evaluation.comparison import RESULTS_FILE, Comparison, joined_comparison
from vltseg_core.evaluation.comparison_markdown import render_markdown, summary_cells
from vltseg_core.evaluation.comparison_page import render_comparison
from vltseg_core.evaluation.evaluation_run import EvaluationSettings, claim, run_evaluation
from vltseg_core.evaluation.processes import Processes, joined
from vltseg_core.evaluation.protocol import PUBLISHED_SIZE, Protocol
from vltseg_core.evaluation.targets import NUM_DEMO_IMAGES, parse_targets, parse_weather, with_mean_over

_INTERRUPTED = 130
_EXAMPLES = """examples:
  evaluate.py --checkpoint gta_1 --target cityscapes=DATA --target acdc=DATA --target bdd100k=DATA -o out
  evaluate.py --checkpoint tiny runs/mine/model.safetensors --target demo --weather night:3,fog -o out
  torchrun --nproc-per-node 8 training/evaluate.py --checkpoint gta_1 --target cityscapes=DATA -o out
  evaluate.py --compare out_a out_b -o both
"""


def run(arguments: Sequence[str]) -> int:
    """Evaluate or compare as the arguments say, print a summary, write results.json, results.md and report.html."""
    options = _parser().parse_args(arguments)
    if options.compare:
        parts = [
            (path.name if path.is_dir() else path.parent.name or path.stem, Comparison.read(path)) for path in options.compare
        ]
        _claim_empty(options.output)
        _finish(joined_comparison(parts), options.output)
        return 0
    if not options.checkpoint or not options.target:
        raise ConfigurationError("give --checkpoint and --target to evaluate, or --compare with results of earlier evaluations")
    settings = _settings(options)
    with joined() as processes:
        if processes.is_first:
            claim(settings)
        processes.gather(None)
        try:
            with _progress_bar(processes) as bar:
                comparison = run_evaluation(settings, _progress_of(bar), processes)
        except KeyboardInterrupt:
            print(f"\nstopped: the same command goes on where it was; what is done lies in '{settings.output}'", file=sys.stderr)
            return _INTERRUPTED
        if processes.is_first:
            _finish(comparison, settings.output)
    return 0


def _settings(options: argparse.Namespace) -> EvaluationSettings:
    targets = parse_targets(options.target, options.num_demo_images)
    weathered = next((target for target in targets if target.weather), None)
    if weathered:
        raise ConfigurationError(f"target '{weathered.text}' names its weather, which a sweep takes: give --weather here")
    if options.mean_over:
        names = SHOWN_CLASSES if options.mean_over == "synthia" else tuple(n.strip() for n in options.mean_over.split(","))
        targets = tuple(with_mean_over(target, names) for target in targets)
    unknown = [name for name in options.source_domain if name not in [target.name for target in targets]]
    if unknown:
        raise ConfigurationError(f"source domain '{unknown[0]}' is no target: choose from {', '.join(t.name for t in targets)}")
    if options.limit < 0 or options.num_demo_images < 1:
        raise ConfigurationError("--limit must be 0 (all frames) or more, --num-demo-images 1 or more")
    return EvaluationSettings(
        checkpoints=tuple(options.checkpoint),
        targets=targets,
        output=options.output,
        weathers=parse_weather(options.weather) if options.weather else (),
        protocol=Protocol("" if options.window == "published" else options.window, options.test_size, options.tta),
        source_domains=tuple(options.source_domain),
        limit=options.limit,
        device=options.device,
        precision=options.precision,
    )


def _finish(comparison: Comparison, output: Path) -> None:
    """Write the three files, each beside the target first and renamed, and print the summary."""
    files = {
        RESULTS_FILE: json.dumps(comparison.to_dict(), indent=1),
        "results.md": render_markdown(comparison),
        "report.html": render_comparison(comparison),
    }
    for name, text in files.items():
        partial = output / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, output / name)
    columns, rows = summary_cells(comparison)
    table = Table(title="mIoU %")
    for i, column in enumerate(columns):
        table.add_column(escape(column), justify="right" if i else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console()
    console.print(table)
    for remark in comparison.remarks():
        console.print(remark, style="yellow", markup=False)
    console.print(f"report: {output / 'report.html'}", markup=False, soft_wrap=True)


def _run_label(path: Path) -> str:
    """What tells a run from others: its folder."""
    folder = path if path.is_dir() else path.resolve().parent
    return folder.name


def _claim_empty(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"'{output}' is there already: give a new folder with -o")
    output.mkdir(parents=True, exist_ok=True)


def _progress_bar(processes: Processes) -> Progress | nullcontext[None]:
    """One bar, of the first process, whose share of the frames stands for all."""
    if not processes.is_first:
        return nullcontext()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _progress_of(bar: Progress | None) -> Callable[[str], Callable[[int, int], None]]:
    def progress_of(words: str) -> Callable[[int, int], None]:
        if bar is None:
            return lambda num_done, num_frames: None
        task = bar.add_task(words, total=None)
        return lambda num_done, num_frames: bar.update(task, completed=num_done, total=num_frames)

    return progress_of


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="evaluate.py",
        description="Evaluates checkpoints on data sets: whole or in windows, by class, by condition, in simulated weather.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    add("--checkpoint", **several, metavar="C", help="weights files, presets with weights, fetched checkpoints")
    add("--target", **several, metavar="NAME[:SPLIT]=FOLDER", help="data set; or demo, demo:night, drawn here")
    add("--compare", **several, type=Path, metavar="RESULTS", help="results.json files of earlier evaluations")
    add("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where results go; the same command goes on there")
    add("--window", default="published", metavar="whole|slide|PX", help="the checkpoint's published windows unless given")
    add("--test-size", default=PUBLISHED_SIZE, metavar="published|full|WxH", help="size that images are fitted to, ratio kept")
    add("--tta", action="store_true", help="mean over scales 1.0 to 2.25, each plain and mirrored")
    add("--weather", default="", metavar="night:3,fog|all", help="simulated weather; all five severities unless one is given")
    add("--source-domain", action="append", default=[], metavar="NAME", help="target to leave out of the DG mean")
    add("--mean-over", default="", metavar="CLASSES", help="classes of all means: names with commas, or synthia for its 16")
    add("--limit", type=int, default=0, metavar="N", help="frames a target, evenly spread; 0 for all")
    add("--num-demo-images", type=int, default=NUM_DEMO_IMAGES, metavar="N", help="drawn frames a condition")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--precision", default="auto", help="auto, fp32, fp16 or bf16")
    return parser
