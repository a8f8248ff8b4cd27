# SPDX-License-Identifier: Apache-2.0
"""Runs a sweep: each combination trained and evaluated in processes of their own, and written into one table.

A crash of one run is one failed row, and its memory is given back. What is
finished is never done again: the same command goes on where it stopped.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vltseg_core.config import VltsegConfig, preset
from vltseg_core.errors import ConfigurationError
from vltseg_core.evaluation.checkpoint_scores import Scores
from vltseg_core.runtime.engine_cache import file_digest
from vltseg_core.training.sweep_plan import SweepPlan, SweepRun
from vltseg_core.whole_file import write_whole

FINISHED, FAILED, STOPPED = "finished", "failed", "stopped"
_PATIENCE_S = 120.0
_DIGEST = re.compile(r" \(SHA-256 [0-9a-f]{16}\)")


@dataclass(frozen=True)
class SweepSettings:
    """plan: what is tried. data: NAME[:SPLIT]=FOLDER for train.py. targets: what the weights are measured on.

    options: further settings of every run. num_jobs: runs at a time. train_command: what starts a training run.
    evaluate_command: what measures weights; it takes --checkpoint, --target and -o FILE, and writes `Scores` by target name.
    """

    plan: SweepPlan
    data: tuple[str, ...]
    targets: tuple[str, ...]
    output: Path
    train_command: tuple[str, ...]
    options: tuple[str, ...] = ()
    num_jobs: int = 1
    evaluate_command: tuple[str, ...] = (sys.executable, "-m", "vltseg_core.evaluation.checkpoint_scores")


@dataclass(frozen=True)
class Row:
    """One run's outcome. problem: why it failed. duration_s: of the training and evaluation that made it."""

    settings: Mapping[str, str]
    status: str
    log: Path
    scores: Mapping[str, Scores] = field(default_factory=dict)
    problem: str = ""
    duration_s: float = 0.0


class Sweep:
    """A sweep at work in its folder: runs/NAME/ for each run, with its log, weights and result.json."""

    def __init__(self, settings: SweepSettings) -> None:
        self.settings = settings
        self.runs = settings.plan.runs()
        self._stopping = threading.Event()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._lock_file = -1

    def run(self, on_rows: Callable[[Mapping[str, Row]], None], on_wait: Callable[[], None] = lambda: None) -> dict[str, Row]:
        """Every run's row by name; `on_rows` is given those that are known each time one ends.

        on_wait: called about once a second. Ctrl-C or SIGTERM lets the training runs save, then raises KeyboardInterrupt.
        ConfigurationError where the folder is another sweep's, or in use.
        """
        self.settings.output.mkdir(parents=True, exist_ok=True)
        with self._locked():
            self._check_same_sweep()
            rows = {run.name: row for run in self.runs if (row := self._finished(run))}
            on_rows(rows)
            with ThreadPoolExecutor(self.settings.num_jobs) as pool:
                waiting: dict[Future[Row], str] = {
                    pool.submit(self._run, run): run.name for run in self.runs if run.name not in rows
                }
                try:
                    while waiting:
                        done, _ = wait(waiting, timeout=1.0, return_when=FIRST_COMPLETED)
                        for future in done:
                            rows[waiting.pop(future)] = future.result()
                            on_rows(rows)
                        on_wait()
                except BaseException:
                    self._stop()
                    pool.shutdown(cancel_futures=True)
                    raise
        return rows

    def folder(self, run: SweepRun) -> Path:
        """Where a run's log, checkpoints and weights lie."""
        return self.settings.output / "runs" / run.name

    def _run(self, run: SweepRun) -> Row:
        """Train unless that is done, evaluate on the targets that are missing, and keep both in the run's record."""
        start = time.monotonic()
        record = self._record(run) or {"trained": False, "scores": {}, "duration_s": 0.0}
        steps = [("training", self._train_command)] * (not record["trained"]) + [("evaluation", self._evaluate_command)]
        self.folder(run).mkdir(parents=True, exist_ok=True)
        for step, command_of in steps:
            exit_code = 0 if self._stopping.is_set() else self._execute(command_of(run, record), self._log(run))
            record["duration_s"] = round(record["duration_s"] + time.monotonic() - start, 1)
            start = time.monotonic()
            if self._stopping.is_set():
                return self._row(run, record, STOPPED)
            if exit_code:
                problem = f"{step} ended with exit code {exit_code}: {_last_line(self._log(run))}"
                return self._row(run, record, FAILED, problem)
            record["trained"] = True
            if step == "evaluation":
                record["scores"] |= json.loads(self._scores_file(run).read_text(encoding="utf-8"))
            write_whole(self.folder(run) / "result.json", json.dumps(record, indent=1))
        return self._row(run, record, FINISHED)

    def _train_command(self, run: SweepRun, record: Mapping[str, Any]) -> list[str]:
        settings = self.settings
        data = ["--data", *settings.data] if settings.data else []
        place = ["--output", str(self.folder(run)), "--resume"]
        return [*settings.train_command, str(settings.plan.recipe), *place, *data, *settings.options, *run.options]

    def _evaluate_command(self, run: SweepRun, record: Mapping[str, Any]) -> list[str]:
        targets = [part for target in self._missing_targets(record) for part in ("--target", target)]
        weights = str(self.folder(run) / "model.safetensors")
        return [*self.settings.evaluate_command, "--checkpoint", weights, *targets, "-o", str(self._scores_file(run))]

    def _execute(self, command: Sequence[str], log: Path) -> int:
        with log.open("ab") as output:
            output.write(f"\n$ {' '.join(command)}\n".encode())
            output.flush()
            # In a session of its own, so that Ctrl-C reaches it from here alone; it holds the lock as long as it lives.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                pass_fds=(self._lock_file,),
            )  # fmt: skip
        self._processes.add(process)
        if self._stopping.is_set():
            process.terminate()
        try:
            return process.wait()
        finally:
            self._processes.discard(process)

    def _stop(self) -> None:
        """Ask every training run to save and end, and end those that do not.

        By SIGTERM: what a shell starts in the background is deaf to SIGINT, and so are its children.
        """
        self._stopping.set()
        processes = list(self._processes)
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + _PATIENCE_S
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()

    def _finished(self, run: SweepRun) -> Row | None:
        record = self._record(run)
        return self._row(run, record, FINISHED) if record and not self._missing_targets(record) else None

    def _row(self, run: SweepRun, record: Mapping[str, Any], status: str, problem: str = "") -> Row:
        names = [target_name(target) for target in self.settings.targets]
        scores = {name: record["scores"][name] for name in names} if status == FINISHED else {}
        return Row(run.settings, status, self._log(run), scores, problem, record["duration_s"])

    def _missing_targets(self, record: Mapping[str, Any]) -> list[str]:
        return [target for target in self.settings.targets if target_name(target) not in record["scores"]]

    def _record(self, run: SweepRun) -> dict[str, Any]:
        path = self.folder(run) / "result.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def _log(self, run: SweepRun) -> Path:
        return self.folder(run) / "run.log"

    def _scores_file(self, run: SweepRun) -> Path:
        return self.folder(run) / "scores.json"

    def _check_same_sweep(self) -> None:
        """Rows compare only if all that is no axis is the same; more values, axes' order aside, and targets may be added.

        A value or a target that keeps its name keeps its meaning, or what is finished would be shown for what it is not.
        """
        settings, path = self.settings, self.settings.output / "sweep.json"
        now: dict[str, Any] = {
            "recipe": settings.plan.recipe.read_text(encoding="utf-8"),
            "axes": [axis.name for axis in settings.plan.axes],
            "data": sorted(settings.data),
            "options": list(settings.options),
        }
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        changed = [key for key in now if before is not None and now[key] != before.get(key)]
        if changed:
            raise ConfigurationError(
                f"'{settings.output}' holds a sweep with other {' and '.join(changed)}: give its own, or another --output"
            )
        for kind, named in self._named().items():
            known = {} if before is None else before.get(kind, {})
            kept = {name: known[name] for name in named if name in known and self._has_results(name)}
            changed = [name for name in kept if named[name] not in (kept[name], _DIGEST.sub("", kept[name]))]
            if changed:
                raise ConfigurationError(
                    f"'{settings.output}' holds results of '{changed[0]}' with {known[changed[0]]}, which is now "
                    f"{named[changed[0]]}: name it otherwise, or give another --output"
                )
            now[kind] = known | named | kept  # with the digest of a file that is gone meanwhile
        networks = {name: preset(name) for name in settings.plan.presets(settings.options)}
        known = {} if before is None else before.get("networks")
        if known is None or any(name in known and not _is_network(known[name], networks[name]) for name in networks):
            raise ConfigurationError(
                f"'{settings.output}' holds a sweep of another version of this package, whose presets may be other networks: "
                "go on with that version, or give another --output"
            )
        now["networks"] = known | {name: network.to_dict() for name, network in networks.items()}
        write_whole(path, json.dumps(now, indent=1))

    def _named(self) -> dict[str, dict[str, str]]:
        """What is recognised by its name alone: each run's options and each target's folder."""
        digests: dict[Path, str] = {}
        runs = {run.name: " ".join(_with_digest(option, digests) for option in run.options) for run in self.runs}
        folders = {target_name(target): target.partition("=")[2] for target in self.settings.targets}
        targets = {name: f"{name}={Path(folder).expanduser().resolve()}" if folder else name for name, folder in folders.items()}
        return {"runs": runs, "targets": targets}

    def _has_results(self, name: str) -> bool:
        """Whether a run of that name has been trained, if only as far as a checkpoint, or any weights measured on that target."""
        folder = self.settings.output / "runs"
        if (folder / name / "result.json").is_file() or any((folder / name / "checkpoints").glob("*.ckpt")):
            return True
        return any(name in json.loads(path.read_text(encoding="utf-8"))["scores"] for path in folder.glob("*/result.json"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock_file = os.open(self.settings.output / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise ConfigurationError(
                f"a sweep, or a training run that one left behind, is at work in '{self.settings.output}': wait for it or end it"
            ) from error
        finally:
            os.close(self._lock_file)


def target_name(target: str) -> str:
    """A target without its folder."""
    return target.partition("=")[0]


def _with_digest(option: str, digests: dict[Path, str]) -> str:
    """An option, with the digest of the file that it names; digests: those known already."""
    value = option.partition("=")[2]
    if not os.path.isfile(value):  # which takes a value that is too long for a path
        return option
    path = Path(value).resolve()
    if path not in digests:
        digests[path] = file_digest(path)[:16]
    return f"{option} (SHA-256 {digests[path]})"


def _is_network(fields: Mapping[str, Any], network: VltsegConfig) -> bool:
    """Whether that is what sweep.json keeps of a network; a setting that it lacks, as of an earlier version, has its default."""
    try:
        return VltsegConfig.from_dict(fields) == network
    except ConfigurationError:
        return False


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        lines = file.read().decode("utf-8", errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "the log is empty")
