# SPDX-License-Identifier: Apache-2.0
"""The one look of every progress bar of the command line."""

from __future__ import annotations

from rich import progress


def progress_bar(*, transfers: bool = False, window_s: float = 30.0) -> progress.Progress:
    """A bar with the time so far and the time left; transfers: count bytes rather than things.

    window_s: the time left is reckoned from the pace of the last so many seconds.
    """
    return progress.Progress(
        progress.TextColumn("{task.description:<30}"),
        progress.BarColumn(),
        progress.DownloadColumn() if transfers else progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        speed_estimate_period=window_s,
    )
