# SPDX-License-Identifier: Apache-2.0
"""Known vulnerabilities of the pinned dependencies: pip-audit, in an environment that is thrown away.

    python .ci/audit.py [constraints.txt ...]

Each file's set of versions is asked for by itself, since two sets may pin two versions of one thing.

Exit code 0: every dependency that the database knows is clean. 1: some are not. 2: nobody could be asked, which is no
clean bill: pip-audit itself ends with 0 where a mirror of PyPI has packages and no vulnerability database.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

PIP_AUDIT = "pip-audit==2.10.1"
SERVICES = ("pypi", "osv")
ROOT = Path(__file__).parents[1]


def main() -> int:
    files = [Path(path) for path in sys.argv[1:]] or [ROOT / "constraints.txt", ROOT / "constraints_ros.txt"]
    exit_codes = []
    with tempfile.TemporaryDirectory(prefix="vltseg_audit_") as folder:
        requirements = Path(folder) / "requirements.txt"
        venv.create(folder, with_pip=True)
        python = f"{folder}/bin/python"
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PIP_AUDIT]
        if subprocess.run(install, stderr=subprocess.DEVNULL, check=False).returncode:
            print(f"audit: {PIP_AUDIT} cannot be installed: no package index is reachable. NOT audited", file=sys.stderr)
            return 2
        for file, pinned in ((one, pinned) for one in files for pinned in in_sets(pins(one))):
            requirements.write_text("".join(f"{line}\n" for line in pinned))
            for service in SERVICES:
                exit_code, text = verdict(report(python, requirements, service), service)
                if exit_code != 2:
                    break
            print(f"{file.name}: {text}", file=sys.stderr if exit_code else sys.stdout)
            exit_codes.append(exit_code)
    return worst(exit_codes)


def worst(exit_codes: list[int]) -> int:
    """A known flaw, before silence, before a clean bill."""
    return 1 if 1 in exit_codes else max(exit_codes)


def pins(file: Path) -> list[str]:
    """The versions that a constraints file pins, for whichever Python, and those that it refers to by `-c`."""
    pinned = []
    for line in file.read_text().splitlines():
        if line.startswith("-c "):
            pinned += pins(file.parent / line.removeprefix("-c ").strip())
        elif line and not line.startswith("#"):
            pinned.append(line.partition(";")[0].strip())
    return pinned


def in_sets(pinned: list[str]) -> list[list[str]]:
    """The same in as few sets as have one version of each thing."""
    sets: list[dict[str, str]] = []
    for line in pinned:
        name = line.partition("==")[0]
        place = next((known for known in sets if name not in known), None)
        if place is None:
            sets.append(place := {})
        place[name] = line
    return [list(known.values()) for known in sets]


def report(python: str, requirements: Path, service: str) -> dict[str, Any] | None:
    """pip-audit's report on the pinned versions, None where it has none."""
    command = [python, "-m", "pip_audit", "-r", str(requirements), "--no-deps", "--disable-pip", "--timeout", "20"]
    asked = subprocess.run(
        [*command, "--progress-spinner", "off", "-f", "json", "-s", service], capture_output=True, text=True, check=False
    )
    try:
        found = json.loads(asked.stdout)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def verdict(report: dict[str, Any] | None, service: str) -> tuple[int, str]:
    """Exit code and what is said of a report."""
    dependencies = report["dependencies"] if report else []
    audited = [found for found in dependencies if "skip_reason" not in found]
    skipped = [found["name"] for found in dependencies if "skip_reason" in found]
    if not audited:
        return 2, (
            "audit: no vulnerability database answers (PyPI's JSON API, api.osv.dev): offline, or behind a mirror of "
            "packages alone. NOT audited; run make audit where pypi.org itself is reachable"
        )
    lines = [
        f"{found['name']} {found['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for found in audited
        for flaw in found["vulns"]
    ]
    said = f"audit: {len(audited)} dependencies asked of {service}, {len(lines)} known vulnerabilities"
    if skipped:
        said += f"; {len(skipped)} are unknown there: {', '.join(skipped)}"
    return int(bool(lines)), "\n".join([*lines, said])


if __name__ == "__main__":
    sys.exit(main())
