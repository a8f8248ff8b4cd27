# SPDX-License-Identifier: Apache-2.0
"""Two evaluations' results.json into compare.json, compare.md and compare.html."""

from __future__ import annotations

import json
from pathlib import Path

from vltseg_core.errors import InputError
from vltseg_core.evaluation import bag_comparison_tables, bag_figures
from vltseg_core.evaluation.bag_comparison import BagComparison, compare_bags
from vltseg_core.evaluation.bag_comparison_page import render_bag_comparison
from vltseg_core.evaluation.bag_result import BagResult
from vltseg_ros.output_folder import ComparisonFolder


def compare_results(before: Path, after: Path, output: Path) -> tuple[ComparisonFolder, BagComparison]:
    """Read both (files, or the folders of evaluations), compare, and write; raises InputError with one sentence."""
    comparison = compare_bags(read_results(before), read_results(after))
    with ComparisonFolder(output) as folder:
        figures = bag_comparison_tables.as_json(comparison)
        folder.figures.write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", "utf-8")
        folder.tables.write_text(bag_comparison_tables.as_markdown(comparison), "utf-8")
        folder.page.write_text(render_bag_comparison(comparison), "utf-8")
        return folder, comparison


def read_results(path: Path) -> BagResult:
    """An evaluation's results.json, also by its folder; raises InputError where there is none."""
    file = path / "results.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"there is no '{file}': give the results.json of an evaluation")
    try:
        return bag_figures.read(json.loads(file.read_text("utf-8")))
    except (ValueError, RecursionError) as error:
        raise InputError(f"'{file}' is no JSON ({error}): give the results.json of an evaluation") from error
    except InputError as error:
        raise InputError(f"'{file}': {error}") from error
