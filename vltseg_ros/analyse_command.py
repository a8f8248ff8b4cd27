# SPDX-License-Identifier: Apache-2.0
"""`vltseg analyse`: the paper's explanation, put to the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vltseg_ros.progress_bar import progress_bar

if TYPE_CHECKING:
    from rich.progress import TaskID

    from vltseg_core.analysis.captions import CaptionCounts

app = typer.Typer(help="Put the paper's explanation to the test.", no_args_is_help=True)


@contextmanager
def _progress(*, transfers: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A function that shows (what, how much is done, how much there is), one bar for each `what`."""
    with progress_bar(transfers=transfers) as progress:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done)

        yield show


@app.command()
def alignment(
    data: Annotated[
        list[str],
        typer.Option(help="A domain, given twice: NAME[:SPLIT]=FOLDER (camvid:train_day=PATH), or demo:CONDITION (demo:night)."),
    ],
    before: Annotated[
        str, typer.Option(help="Weights before training: a weights file, a preset, a pre-trained tower (file or tag), or random.")
    ],
    after: Annotated[str, typer.Option(help="Weights after training: a weights file, or a preset that has weights.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path("alignment"),
    max_images: Annotated[int, typer.Option(min=5, help="Images of each domain.")] = 60,
    points_per_class: Annotated[int, typer.Option(min=5, help="Pixels of each class and domain.")] = 150,
    seed: Annotated[int, typer.Option(min=0, help="Which pixels, which random weights, which draws.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Do two domains' features meet at their class's text, and did training bring them there?

    Writes alignment.html (picture and scores), alignment.svg and alignment.json.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from vltseg_core.analysis.alignment import AlignmentSettings, analyse_alignment
    from vltseg_core.analysis.alignment_picture import draw, render_html

    output.mkdir(parents=True, exist_ok=True)
    settings = AlignmentSettings(tuple(data), before, after, max_images, points_per_class, seed, device)
    with _stoppable(), _progress() as show:
        report = analyse_alignment(settings, show)
    (output / "alignment.json").write_text(json.dumps(report.to_json(), indent=1), encoding="utf-8")
    (output / "alignment.svg").write_text(draw(report), encoding="utf-8")
    page = output / "alignment.html"
    page.write_text(render_html(report), encoding="utf-8")
    table = Table("score, 95 % interval", "before", "after", "change")
    for row in report.scores:
        shown = (f"{e.value:.2f} ({e.low:.2f} to {e.high:.2f})" for e in (row.before, row.after, row.change))
        table.add_row(escape(row.title), *shown)
    console = Console()
    console.print(table)
    for problem in report.sample.unreadable:
        console.print(f"skipped: {problem}", soft_wrap=True, highlight=False, markup=False)
    for sentence in report.sentences:
        console.print(sentence, highlight=False, markup=False)
    console.print(f"Page: {page}", soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        print("\nvltseg: stopped; nothing was written")
        raise typer.Exit(130) from None


@app.command()
def captions(
    file: Annotated[Path, typer.Argument(help=".txt (a caption a line), .csv, .tsv, .jsonl or .parquet, gzipped or not.")],
    column: Annotated[
        str, typer.Option(help="Column of the captions; a number, from 0, without a header line. Else guessed.")
    ] = "",
    words: Annotated[Path | None, typer.Option(help="Your own word lists (YAML), in place of the package's.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="JSON file with all counts and examples.")] = None,
) -> None:
    """How often do captions name weather, light or place? Shares with 95 % intervals, by category and by word."""
    from vltseg_core.analysis.caption_files import CaptionFile
    from vltseg_core.analysis.captions import WORDS_FILE, DomainWords, count_captions

    word_lists = DomainWords.read(words or WORDS_FILE)
    with _stoppable(), _progress(transfers=True) as show:
        size = file.stat().st_size if file.is_file() else 0
        caption_file = CaptionFile(file, column, lambda done: show(f"Reading {file.name}", done, size))
        counts = count_captions(caption_file, word_lists)
    problems = {"not_utf8": caption_file.num_undecodable, "unreadable": caption_file.num_unreadable}
    if output is not None:
        figures = {"file": str(file), **problems, **counts.to_json()}
        output.write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    _print_counts(counts, problems)


def _print_counts(counts: CaptionCounts, problems: dict[str, int]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("names", "captions", "share %", "95 % interval", "most often")
    for category, share in counts.shares.items():
        words = [f"{hit.word} {n}" for hit, n in counts.by_word.most_common() if hit.category == category][:5]
        interval = f"{100 * share.low:.2f} to {100 * share.high:.2f}"
        table.add_row(escape(category), str(share.num_captions), f"{100 * share.share:.2f}", interval, escape(", ".join(words)))
    console = Console()
    console.print(table)
    for category, examples in counts.examples.items():
        for example in examples[:2]:
            console.print(f"{category}: {example}", style="dim", highlight=False, markup=False)
    console.print(
        f"{counts.num_captions} captions; {counts.num_empty} empty, {problems['unreadable']} unreadable (left out), "
        f"{problems['not_utf8']} not UTF-8 (counted, bad bytes replaced)",
        highlight=False,
    )
