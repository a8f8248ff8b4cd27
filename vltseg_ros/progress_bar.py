# SPDX-License-Identifier: Apache-2.0
"""The one look of every progress bar of the command line."""

from __future__ import annotations

from rich import progress


def progress_bar(*, transfers: bool = False) -> progress.Progress:
    """A bar with the time so far and the time left; transfers: count bytes rather than things."""
    return progress.Progress(
        progress.TextColumn("{task.description:<30}"),
        progress.BarColumn(),
        progress.DownloadColumn() if transfers else progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    )
