# SPDX-License-Identifier: Apache-2.0
"""Captions from a file, one after another: text, CSV, TSV, JSON lines or Parquet, gzipped or not."""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from vltseg_core.errors import ConfigurationError, InputError

_COLUMNS = ("caption", "text", "alt_text", "alt", "title", "description", "sentence")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LONGEST_FIELD = 10_000_000
_PROGRESS_EVERY = 2000


class CaptionFile:
    """The captions of one file, in order; iterate once.

    column: of a table or of JSON lines; a number counts columns from 0 in a table without a header line; "" guesses.
    on_bytes: called now and then with the bytes read so far. Afterwards num_undecodable says how many lines were not
    UTF-8 (their bad bytes are replaced) and num_unreadable how many rows were no row with that column (left out).
    """

    def __init__(self, path: Path, column: str = "", on_bytes: Callable[[int], None] = lambda _: None) -> None:
        if not path.is_file():
            raise InputError(f"caption file '{path}' not found: give a .txt, .csv, .tsv, .jsonl or .parquet file")
        self._path, self._column, self._on_bytes = path, column, on_bytes
        self._is_gzipped = path.suffix.lower() == ".gz"
        self._suffix = (path.with_suffix("") if self._is_gzipped else path).suffix.lower()
        if self._suffix not in ("", ".txt", ".jsonl", ".ndjson", ".parquet", *_DELIMITERS):
            raise InputError(
                f"caption file '{path}' is '{self._suffix}': give .txt, .csv, .tsv, .jsonl or .parquet, gzipped or not"
            )
        self.num_undecodable = self.num_unreadable = 0

    def __iter__(self) -> Iterator[str]:
        if self._suffix == ".parquet":
            return self._parquet()
        if self._suffix in _DELIMITERS:
            return self._table()
        return self._json_lines() if self._suffix in (".jsonl", ".ndjson") else self._lines()

    def _lines(self) -> Iterator[str]:
        with self._path.open("rb") as file, gzip.open(file) if self._is_gzipped else nullcontext(file) as stream:
            try:
                for number, line in enumerate(stream):
                    if number % _PROGRESS_EVERY == 0:
                        self._on_bytes(file.tell())
                    yield self._decoded(line.removeprefix(codecs.BOM_UTF8) if number == 0 else line)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InputError(f"caption file '{self._path}' is no whole gzip file ({error}): fetch it again") from error
        self._on_bytes(self._path.stat().st_size)

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            self.num_undecodable += 1
            return line.decode("utf-8", errors="replace").rstrip("\r\n")

    def _table(self) -> Iterator[str]:
        csv.field_size_limit(_LONGEST_FIELD)
        lines = (line.replace("\0", "") + "\n" for line in self._lines())
        # Captions in TSV files hold lone quotation marks.
        quoting: Literal[0, 3] = csv.QUOTE_NONE if self._suffix == ".tsv" else csv.QUOTE_MINIMAL
        rows = csv.reader(lines, delimiter=_DELIMITERS[self._suffix], quoting=quoting, strict=True)
        if self._column.isdigit():
            index = int(self._column)
        else:
            header = next(rows, [])
            index = header.index(self._chosen(header))
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:
                self.num_unreadable += 1
                continue
            if not row:
                yield ""
            elif index < len(row):
                yield row[index]
            else:
                self.num_unreadable += 1

    def _json_lines(self) -> Iterator[str]:
        column = ""
        for line in self._lines():
            if not line.strip():
                yield ""
                continue
            try:
                row: Any = json.loads(line)
            except (json.JSONDecodeError, RecursionError):
                self.num_unreadable += 1
                continue
            if isinstance(row, str):
                yield row
                continue
            if isinstance(row, dict) and not column:
                column = self._chosen(list(row))
            caption = row.get(column) if isinstance(row, dict) else None
            if isinstance(caption, str):
                yield caption
            else:
                self.num_unreadable += 1

    def _parquet(self) -> Iterator[str]:
        try:
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise InputError(
                f"'{self._path}' needs pyarrow to be read: pip install pyarrow, or give CSV or JSON lines"
            ) from error
        table = parquet.ParquetFile(self._path)
        column = self._chosen(table.schema_arrow.names)
        size, rows_read = self._path.stat().st_size, 0
        for batch in table.iter_batches(columns=[column]):
            for caption in batch.column(0).to_pylist():
                yield caption or ""
            rows_read += batch.num_rows
            self._on_bytes(size * rows_read // max(table.metadata.num_rows, 1))

    def _chosen(self, names: list[str]) -> str:
        """The column asked for, or the first that is called like a caption; ConfigurationError where there is none."""
        wanted = (self._column.lower(),) if self._column else _COLUMNS
        by_lower_name = {name.strip().lower(): name for name in reversed(names)}
        found = next((by_lower_name[name] for name in wanted if name in by_lower_name), None)
        if found is None:
            shown = ", ".join(repr(name[:40]) for name in names[:12]) or "nothing"
            problem = f"has no column '{self._column}'" if self._column else "has no column called like a caption"
            raise ConfigurationError(
                f"'{self._path}' {problem}: it has {shown}; name one with --column (a number, from 0, without a header line)"
            )
        return found
