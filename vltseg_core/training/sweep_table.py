# SPDX-License-Identifier: Apache-2.0
"""A sweep's table: table.json with every run, table.md with mean and spread over the seeds, chart.svg."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence

from vltseg_core.evaluation.axis_chart import Panel, axis_chart
from vltseg_core.training.sweep import FAILED, FINISHED, Row, SweepSettings, target_name
from vltseg_core.training.sweep_plan import SEED_AXES
from vltseg_core.whole_file import write_whole


def write_table(settings: SweepSettings, rows: Mapping[str, Row], num_runs: int) -> None:
    """Write the three files, each whole or not at all."""
    axes = [axis.name for axis in settings.plan.axes]
    targets = [target_name(target) for target in settings.targets]
    table = {
        "recipe": str(settings.plan.recipe),
        "axes": axes,
        "targets": targets,
        "num_runs": num_runs,
        "rows": [
            {
                "settings": dict(row.settings),
                "status": row.status,
                "problem": row.problem,
                "scores": row.scores,
                "duration_s": round(row.duration_s, 1),
                "log": str(row.log),
            }
            for row in rows.values()
        ],
    }
    write_whole(settings.output / "table.json", json.dumps(table, indent=1))
    write_whole(settings.output / "table.md", markdown(axes, targets, list(rows.values()), num_runs))
    panels = chart_panels(settings, list(rows.values()))
    if panels:
        write_whole(settings.output / "chart.svg", axis_chart(panels, targets))


def markdown(axes: Sequence[str], targets: Sequence[str], rows: Sequence[Row], num_runs: int) -> str:
    """One line for each combination but for the seeds: mIoU in percent, mean ± standard deviation over them."""
    shown = [axis for axis in axes if axis not in SEED_AXES]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row.status == FINISHED:
            groups.setdefault(tuple(row.settings[axis] for axis in shown), []).append(row)
    lines = [
        "| " + " | ".join([*shown, "runs", *(f"{target}, mIoU %" for target in targets)]) + " |",
        "| " + " | ".join("---" for _ in range(len(shown) + 1 + len(targets))) + " |",
    ]
    for labels, members in groups.items():
        cells = [_mean_and_spread([100 * row.scores[target]["miou"] for row in members]) for target in targets]
        lines.append("| " + " | ".join([*labels, str(len(members)), *cells]) + " |")
    num_finished = sum(map(len, groups.values()))
    lines.append(f"\n{num_finished} of {num_runs} runs finished." + (" ± is the standard deviation over runs." if groups else ""))
    for row in rows:
        if row.status == FAILED:
            what = ", ".join(f"{axis}={label}" for axis, label in row.settings.items())
            lines.append(f"- failed: {what}: {row.problem} (log: {row.log})")
    if num_finished:
        lines.append("\n![mIoU by axis](chart.svg)")
    return "\n".join(lines) + "\n"


def _mean_and_spread(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def chart_panels(settings: SweepSettings, rows: Sequence[Row]) -> list[Panel]:
    """One panel for each axis but the seeds: every finished run's mIoU in percent, by the axis's value and target."""
    finished = [row for row in rows if row.status == FINISHED]
    panels = []
    for axis in settings.plan.axes:
        if axis.name in SEED_AXES or not finished:
            continue
        values = {
            label: {
                target_name(t): [100 * row.scores[target_name(t)]["miou"] for row in finished if row.settings[axis.name] == label]
                for t in settings.targets
            }
            for label in axis.options
        }
        panels.append(Panel(axis.name, values))
    return panels
