# SPDX-License-Identifier: Apache-2.0
"""The calibration command: its options, its progress bar, and the weights file that it writes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vltseg_core.checkpoints import native
from vltseg_core.evaluation.targets import NUM_DEMO_IMAGES, parse_targets
from vltseg_core.runtime.weights_path import weights_path
from vltseg_core.training.temperature import divide_mask_logits, fit_temperature, require_softmax


def run(arguments: Sequence[str]) -> int:
    """Fit a temperature as the arguments say, print it and its effect, write the weights with it."""
    options = _parser().parse_args(arguments)
    checkpoint = native.load(weights_path(options.checkpoint))
    require_softmax(checkpoint.network)  # before minutes of work
    targets = parse_targets(options.target, options.num_demo_images)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks = {target.title: bar.add_task(target.title, total=len(target.evaluation_set.images)) for target in targets}
        fit = fit_temperature(
            checkpoint.network,
            {target.title: target.evaluation_set for target in targets},
            seed=options.seed,
            progress=lambda name, done, total: bar.update(tasks[name], completed=done, total=total),
        )
    divide_mask_logits(checkpoint.network, fit.temperature)
    native.save(checkpoint.network, options.output, trained_on=checkpoint.trained_on)
    print(
        f"temperature {fit.temperature:.3f}: expected calibration error {100 * fit.error_before:.1f} % before, "
        f"{100 * fit.error_after:.1f} % after, on {', '.join(options.target)}; written to {options.output}"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="calibrate.py",
        description="Fits the temperature of a network's confidence on labelled frames and keeps it in the weights.",
        epilog="example: calibrate.py runs/mine/model.safetensors --target camvid=DATA --target kitti=DATA -o sure.safetensors",
    )
    add = parser.add_argument
    add("checkpoint", help="weights file, preset with weights, or fetched checkpoint")
    add("--target", action="append", required=True, metavar="NAME[:SPLIT]=FOLDER", help="labelled frames; or demo, demo:night")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="weights file to write")
    add("--num-demo-images", type=int, default=NUM_DEMO_IMAGES, metavar="N", help="drawn frames a condition")
    add("--seed", type=int, default=0, help="of the pixels that are drawn")
    return parser
