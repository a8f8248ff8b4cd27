# SPDX-License-Identifier: Apache-2.0
"""A weights file's figures on data sets: the one place where a sweep meets the evaluation.

python -m vltseg_core.evaluation.checkpoint_scores --checkpoint C --target NAME[:SPLIT]=FOLDER ... -o FILE.json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from vltseg_core.errors import VltsegError
from vltseg_core.evaluation.evaluator import evaluate
from vltseg_core.evaluation.target_result import TargetResult
from vltseg_core.evaluation.targets import parse_target
from vltseg_core.runtime import Segmenter


class Scores(TypedDict):
    """Mean IoU and IoU by class, 0..1; None for a class that the truth never shows."""

    miou: float
    iou: dict[str, float | None]


def evaluate_checkpoint(weights: Path, targets: Sequence[str], *, device: str = "auto") -> dict[str, Scores]:
    """Scores by target, each under its name without the folder; labels at each image's own size, pooled over all pixels."""
    segmenter = Segmenter.load(weights, device=device)
    try:
        return {t.partition("=")[0]: _scores(evaluate(segmenter, parse_target(t).evaluation_set)) for t in targets}
    finally:
        segmenter.close()


def _scores(result: TargetResult) -> Scores:
    iou = {name: None if np.isnan(value) else round(value, 4) for name, value in result.iou().items()}
    return {"miou": round(result.mean_iou, 4), "iou": iou}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--target", action="append", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.write_text(json.dumps(evaluate_checkpoint(arguments.checkpoint, arguments.target)), encoding="utf-8")


if __name__ == "__main__":
    try:
        _main()
    except VltsegError as error:
        sys.exit(f"error: {error}")
