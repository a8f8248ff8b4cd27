# SPDX-License-Identifier: Apache-2.0
"""Writes docs/fidelity.md: each part of the network, its reference, and the largest difference found by the tests.

    python benchmarks/fidelity.py

Runs the tests that compare with a reference (they note what they find) and gives up where one of them fails.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path

from vltseg_core.evaluation.machine import describe_machine

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "fidelity.md"
INTRODUCTION = """# Fidelity

What each part computes, against the code of others from the same weights and the same input in fp32, or, where the part
only rearranges a computation of ours, against its plain form. The difference is the largest one of any value, relative to
the largest value of the reference's output. Written by `python benchmarks/fidelity.py` from the tests' own findings.
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "fidelity", f"--junitxml={results}", str(ROOT / "tests")]
        completed = subprocess.run(command, check=False)
        if completed.returncode:
            sys.exit("a comparison failed (above): mend it first, the page stays as it is")
        notes = [
            str(p.get("value")).split("|")
            for p in ElementTree.parse(results).getroot().iter("property")
            if p.get("name") == "fidelity"
        ]
    if not notes:
        sys.exit("no comparison ran: install the references, pip install -e '.[dev]'")
    rows = [f"| {part} | {reference} | {difference} |" for part, reference, difference in sorted(notes)]
    table = "\n".join(["| part | reference | largest relative difference |", "| --- | --- | --- |", *rows])
    described = ", ".join(f"{label} {value}" for label, value in describe_machine() if label != "system")
    machine = f"Measured {date.today().isoformat()}: {described}."
    PAGE.write_text(f"{INTRODUCTION}\n{table}\n\n{machine}\n", encoding="utf-8")
    print(f"{len(rows)} comparisons: {PAGE}")


if __name__ == "__main__":
    main()
