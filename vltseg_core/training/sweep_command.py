# SPDX-License-Identifier: Apache-2.0
"""The sweep's command line: its arguments, its progress, and how it ends."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vltseg_core.errors import ConfigurationError
from vltseg_core.evaluation.targets import parse_target
from vltseg_core.training.sweep import FAILED, FINISHED, Row, Sweep, SweepSettings, target_name
from vltseg_core.training.sweep_plan import read_plan
from vltseg_core.training.sweep_table import write_table

_INTERRUPTED = 130
_OWN_OPTIONS = ("--help", "--recipe", "--axis", "--data", "--target", "--output", "--jobs")


def run(arguments: Sequence[str], train_command: tuple[str, ...]) -> int:
    """Run or go on with a sweep. Returns the exit code: 1 where a run failed, 130 where it was stopped."""
    settings = _settings(arguments, train_command)
    for target in settings.targets:
        parse_target(target)  # says now what would else be said after hours
    sweep = Sweep(settings)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _Display(settings, len(sweep.runs)) as display:
            rows = sweep.run(display.show, display.tick)
    except KeyboardInterrupt:
        print(f"\nstopped: the same command goes on in '{settings.output}'; finished runs are in '{settings.output}/table.md'")
        return _INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    print((settings.output / "table.md").read_text(encoding="utf-8"))
    return 1 if any(row.status == FAILED for row in rows.values()) else 0


def _settings(arguments: Sequence[str], train_command: tuple[str, ...]) -> SweepSettings:
    parser = argparse.ArgumentParser(
        prog="sweep.py",
        description="Trains and evaluates every combination of some settings; the same command goes on where it stopped.",
        epilog="Further options (--trainer.max_steps 1000) go to every training run.",
        allow_abbrev=False,
    )
    parser.add_argument("sweep", type=Path, nargs="?", help="sweep file, such as training/sweeps/ptm_weight.yaml")
    parser.add_argument("--recipe", type=Path, help="what every run starts from, in place of the sweep file's")
    parser.add_argument("--axis", action="append", default=[], metavar="SETTING=VALUE,VALUE", help="a setting and its values")
    parser.add_argument("--data", nargs="*", action="extend", default=[], metavar="NAME[:SPLIT]=FOLDER", help="as for train.py")
    parser.add_argument(
        "--target",
        nargs="+",
        action="extend",
        required=True,
        metavar="NAME[:SPLIT][@WEATHER:N]=FOLDER",
        help="what weights are measured on",
    )
    parser.add_argument("--output", "-o", type=Path, help="folder of the sweep; runs/sweep-NAME unless given")
    parser.add_argument("--jobs", type=int, default=1, help="training runs at a time")
    own, options = _split(arguments)
    given = parser.parse_args(own)
    if given.jobs < 1:
        raise ConfigurationError(f"--jobs {given.jobs}: give 1 or more")
    names = [target_name(target) for target in given.target]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ConfigurationError(f"--target {twice[0]} is given twice: the table has one column for it, so give one folder")
    plan = read_plan(given.sweep, given.recipe, given.axis)
    output = given.output or Path("runs") / f"sweep-{(given.sweep or plan.recipe).stem}"
    return SweepSettings(plan, tuple(given.data), tuple(given.target), output, train_command, tuple(options), given.jobs)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The sweep's own arguments, and "--SETTING=VALUE" for every training run."""
    rest, own, options = list(arguments), [], []
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument.partition("=")[0] in _OWN_OPTIONS:
            own.append(argument)
        elif argument == "--validate":
            while rest and not rest[0].startswith("--"):
                options.append(f"--validate={rest.pop(0)}")
        elif "=" not in argument and rest and not rest[0].startswith("--"):
            options.append(f"{argument}={rest.pop(0)}")
        else:
            options.append(argument)
    return own, options


class _Display:
    """The bar over all runs, a line for each that ends, and the table's files."""

    def __init__(self, settings: SweepSettings, num_runs: int) -> None:
        self._settings, self._num_runs = settings, num_runs
        self._said: set[str] = set()
        self._durations_s: list[float] = []
        self._last_end = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left {task.fields[left]}"),
        )
        self._task = self._bar.add_task("Runs", total=num_runs, left="unknown until one is done")

    def __enter__(self) -> _Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, rows: Mapping[str, Row]) -> None:
        """Say what ended, and write the table."""
        for name, row in rows.items():
            if name in self._said:
                continue
            self._said.add(name)
            figures = ", ".join(f"{target} {100 * scores['miou']:.1f}" for target, scores in row.scores.items())
            said = f"mIoU % {figures}" if row.status == FINISHED else f"{row.status}: {row.problem} (log: {row.log})"
            self._bar.console.print(f"{name}: {said}", soft_wrap=True, highlight=False, markup=False)
            if row.status == FINISHED:
                self._durations_s.append(row.duration_s)
        self._last_end = time.monotonic()
        write_table(self._settings, rows, self._num_runs)
        self._bar.update(self._task, completed=len(rows))
        self.tick()

    def tick(self) -> None:
        """The time left, from how long the finished runs took."""
        if self._durations_s:
            mean_s = sum(self._durations_s) / len(self._durations_s)
            waiting = self._num_runs - len(self._said)
            left_s = max(0.0, mean_s * waiting / self._settings.num_jobs - (time.monotonic() - self._last_end))
            self._bar.update(self._task, left=f"{left_s // 3600:.0f}:{left_s // 60 % 60:02.0f}:{left_s % 60:02.0f}")
