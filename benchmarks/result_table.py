# SPDX-License-Identifier: Apache-2.0
"""What every benchmark here ends with: the rows as JSON, and as a table for docs/benchmarks.md, with the machine's name."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from vltseg_core.evaluation.machine import describe_machine

Row = Mapping[str, Any]


def markdown(rows: Sequence[Row]) -> str:
    """Rows of one set of columns as a table. Floats with three digits that count, None as a dash."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([shown(value) for value in row.values()] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def finish(tables: Mapping[str, Sequence[Row]], output: Path | None, **facts: Any) -> None:
    """Print each table under its name, then the command, machine and date; write the same as JSON where a path is given."""
    command = shlex.join(["python", *sys.argv])
    machine = ", ".join(value for _, value in describe_machine())
    for name, rows in tables.items():
        if rows:
            print(f"\n{name}\n\n{markdown(rows)}")
    print(f"\n`{command}`, {machine}, {date.today()}")
    for name, value in facts.items():
        print(f"{name.replace('_', ' ')}: {shown(value)}")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        found = {"command": command, "machine": dict(describe_machine()), "date": str(date.today()), **facts, **tables}
        output.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
