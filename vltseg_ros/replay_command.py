# SPDX-License-Identifier: Apache-2.0
"""What the commands that replay have in common: their options' types, and a run that a signal ends in order."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

Outcome = TypeVar("Outcome")
_INTERRUPTED, _TERMINATED = 130, 143


class LabelSpaceName(str, Enum):
    """Label spaces of ground truth files."""

    CITYSCAPES_TRAIN_IDS = "cityscapes_train_ids"
    CAMVID = "camvid"


def positive(value: float | None) -> float | None:
    """An option's value; a usage error where it is not above 0."""
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter(f"{value} is not a number above 0")
    return value


def run_with_progress(
    run: Callable[[Progress], Outcome], output: Path, *, after_stop: str = "", window_s: float = 30.0
) -> Outcome:
    """Run with a progress bar; Ctrl-C and SIGTERM end it in order, and it is said where the results so far lie.

    after_stop: said instead. window_s: of the pace that the time left is reckoned from.
    """
    from vltseg_ros.progress_bar import progress_bar

    before = signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        with progress_bar(window_s=window_s) as progress:
            return run(progress)
    except KeyboardInterrupt:
        said = after_stop or f"what was recorded so far is in '{output}'"
        print(f"\nvltseg: stopped; {said}", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def _on_sigterm(number: int, frame: object) -> NoReturn:
    sys.exit(_TERMINATED)
