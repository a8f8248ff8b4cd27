# SPDX-License-Identifier: Apache-2.0
"""What a fleet's evaluation leaves: results.json, results.md and report.html of all its bags together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from vltseg_core.evaluation import bag_figures
from vltseg_core.evaluation.bag_markdown import render_markdown
from vltseg_core.evaluation.bag_merging import NamedBag, merge
from vltseg_core.evaluation.bag_page import render_bag_page
from vltseg_core.evaluation.bag_result import BagResult
from vltseg_core.evaluation.html_page import Panel, PictureRow, percent
from vltseg_ros.output_folder import OutputFolder

BAGS_FOLDER = "bags"
_MAX_PICTURES = 6


class BagOfFleet(NamedTuple):
    """One bag and what came of it. result: None where it failed, and `failure` says why in a sentence."""

    name: str
    source: str
    result: BagResult | None
    failure: str = ""
    elsewhere: str = ""
    """The machine whose disk is not shared: figures came back from there, but no pictures."""


def write_fleet_report(folder: OutputFolder, bags: Sequence[BagOfFleet]) -> BagResult:
    """Merge what there is and write it; gives the merged result. Needs at least one bag that did not fail."""
    merged = merge([NamedBag(bag.name, bag.result) for bag in bags if bag.result is not None])
    remarks = [f"{bag.name} failed: {bag.failure}" for bag in bags if bag.failure]
    remarks += [
        f"{bag.name}: of this bag there are figures alone, because {bag.elsewhere} does not share the folder of results."
        for bag in bags
        if bag.elsewhere
    ]
    result = replace(merged, remarks=(*remarks, *merged.remarks))
    figures = {**bag_figures.write(result), "bags": {bag.name: _figures_of(bag) for bag in bags}}
    folder.results.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    folder.tables.write_text(render_markdown(result) + _bag_table(bags), "utf-8")
    files = [(f"{BAGS_FOLDER}/{bag.name}/report.html", _in_short(bag)) for bag in bags if not bag.failure]
    files.append((folder.results.name, "the figures of this page"))
    folder.report.write_text(render_bag_page(result, _pictures(folder, bags), files), "utf-8")
    return result


def write_bag_report(folder: OutputFolder, figures: dict[str, Any]) -> None:
    """results.json, results.md and report.html of a bag whose figures came from a machine that shares no folder."""
    result = bag_figures.read(figures)
    folder.results.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    folder.tables.write_text(render_markdown(result), "utf-8")
    folder.report.write_text(render_bag_page(result, [], [(folder.results.name, "the figures of this page")]), "utf-8")


def _figures_of(bag: BagOfFleet) -> dict[str, Any]:
    if bag.result is None:
        return {"source": bag.source, "failed": bag.failure}
    return {"source": bag.source, "overall": bag_figures.group_figures(bag.result.total, bag.result.classes)}


def _bag_table(bags: Sequence[BagOfFleet]) -> str:
    """A row for each bag, those that failed with the reason."""
    lines = ["", "## Bags", "", "| | mIoU % | in | answered | |", "| --- | --- | --- | --- | --- |"]
    for bag in bags:
        cells = [bag.name, "–", "–", "–", f"failed: {bag.failure}"]
        if bag.result is not None:
            total = bag.result.total
            cells = [bag.name, percent(total.mean_iou), str(total.num_frames), str(total.num_answered), ""]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _in_short(bag: BagOfFleet) -> str:
    if bag.result is None:
        return bag.failure
    total = bag.result.total
    accuracy = f"mean IoU {percent(total.mean_iou)} %, " if bag.result.has_truth else ""
    return f"{accuracy}{total.num_answered} of {total.num_frames} frames answered"


def _pictures(folder: OutputFolder, bags: Sequence[BagOfFleet]) -> list[PictureRow]:
    """The worst frame (without ground truth the first that was drawn) of the bags that did worst."""
    finished = [(bag.result.total.mean_iou, bag) for bag in bags if bag.result is not None]
    finished.sort(key=lambda entry: (np.isnan(entry[0]), entry[0]))  # NaN last; sorting is stable, so else in order
    rows = []
    for _, bag in finished[:_MAX_PICTURES]:
        overlays = OutputFolder(folder.path / BAGS_FOLDER / bag.name).overlays
        found = sorted(overlays.glob("worst_1_*.png")) or sorted(overlays.glob("*.png"))
        if found:
            with Image.open(found[0]) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            rows.append(PictureRow(f"{bag.name}: {found[0].stem}", (Panel("frame", pixels),)))
    return rows
