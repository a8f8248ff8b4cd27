# SPDX-License-Identifier: Apache-2.0
"""Time, memory and rate of the whole network, and how they grow with image size, number of cameras and number of classes.

    python benchmarks/network.py [--presets tiny eva02_clip_b] [--sizes 640x360 1280x720] [--cameras 1 2 6] [--classes 19 60]
        [--precisions fp32] [--backends eager] [--device auto] [--patience-s 20] [--plot FOLDER]
        [--output FILE.json]

For each preset, precision and backend: every size with one camera and the first number of classes, then at the first size
every number of cameras in a batch and every number of classes. Each is measured in a process of its own: the median and the
best of `Segmenter.segment`, uint8 in, labels and confidence out; the peak memory above the loaded network (resident set on a
CPU, the allocator's on a GPU); the operations that torch.utils.flop_counter counts, a multiply-add as two; the rate that
makes by the median, and its share of what a large matrix product reaches on the same machine in the same precision; and how
many cores other processes kept busy meanwhile: each waits --patience-s for them to be quiet, and tries thrice. Weights are
random but for presets that come with theirs, and only 19 classes use those.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from result_table import Row, finish

from vltseg_core.checkpoints import native
from vltseg_core.config import VltsegConfig, preset
from vltseg_core.evaluation.line_chart import line_charts
from vltseg_core.labels import CLASS_TABLES, ClassTable, SemanticClass
from vltseg_core.model.profile import network_cost
from vltseg_core.model.vltseg import Vltseg
from vltseg_core.runtime import BackendSettings, Segmenter
from vltseg_core.runtime.device import DTYPES, describe_device, resolve_device
from vltseg_core.runtime.weights_path import WEIGHTS_FOLDER

LEAST_PASSES, MOST_PASSES, SECONDS_OF_PASSES = 3, 50, 5.0
DEFAULT_CLASSES = 19
MOST_TRIES, QUIET_CORES = 3, 0.2
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
GROWTH = {"size": "megapixels", "cameras": "cameras in a batch", "classes": "classes"}


@dataclass(frozen=True)
class Case:
    """What one process measures. size: WIDTHxHEIGHT of the image."""

    preset: str
    size: str
    cameras: int
    classes: int
    precision: str
    backend: str

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        width, height = map(int, self.size.split("x"))
        return height, width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["tiny"])
    parser.add_argument("--sizes", nargs="+", default=["640x360", "1280x720", "1920x1080"])
    parser.add_argument("--cameras", nargs="+", type=int, default=[1], help="images in a batch")
    parser.add_argument("--classes", nargs="+", type=int, default=[DEFAULT_CLASSES])
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp32"])
    parser.add_argument("--backends", nargs="+", choices=("eager", "compile", "tensorrt", "onnxruntime"), default=["eager"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--patience-s", type=float, default=20.0, help="seconds to wait for other processes to be quiet")
    parser.add_argument("--plot", type=Path, help="folder for charts of the growth, as SVG")
    parser.add_argument("--output", type=Path, help="where the same goes as JSON")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    if arguments.case:
        print(json.dumps(measured(Case(**json.loads(arguments.case)), device, arguments.patience_s)))
    elif arguments.peak_of:
        wait_for_quiet(arguments.patience_s)
        print(json.dumps(peak_flops_a_second(arguments.peak_of, device)))
    else:
        compare(arguments, device)


def compare(arguments: argparse.Namespace, device: torch.device) -> None:
    """Measure every case, each in a process of its own, and tell what came of it."""
    planned = [
        case
        for name in arguments.presets
        for precision in arguments.precisions
        for backend in arguments.backends
        for case in cases(name, precision, backend, arguments.sizes, arguments.cameras, arguments.classes)
    ]
    flops = [case.cameras * sum(network_cost(config_of(case), case.image_size).flops.values()) for case in planned]
    peaks = {
        precision: in_child("--peak-of", precision, arguments.device, arguments.patience_s) for precision in arguments.precisions
    }
    rows: list[Row] = []
    began = time.monotonic()
    for number, case in enumerate(planned):
        found = in_child("--case", json.dumps(asdict(case)), arguments.device, arguments.patience_s)
        rows.append(row(case, flops[number], found, peaks[case.precision]))
        left_s = seconds_left(time.monotonic() - began, flops, number + 1)
        print(f"{number + 1}/{len(planned)}, about {left_s:.0f} s left: {rows[-1]}", file=sys.stderr, flush=True)
    if arguments.plot:
        arguments.plot.mkdir(parents=True, exist_ok=True)
        for axis, label in GROWTH.items():
            if curves := growth(rows, axis):
                (arguments.plot / f"cost_by_{axis}.svg").write_text(line_charts(curves, label), "utf-8")
    peak_rates = {f"peak_gflops_a_second_{precision}": peak / 1e9 for precision, peak in peaks.items()}
    load = os.getloadavg()[0]
    finish({"cost": rows}, arguments.output, device=describe_device(device), load_of_the_machine=load, **peak_rates)


def cases(
    name: str, precision: str, backend: str, sizes: Sequence[str], cameras: Sequence[int], classes: Sequence[int]
) -> list[Case]:
    """Along each axis from the first of the others, each once."""
    along = [(size, cameras[0], classes[0]) for size in sizes]
    along += [(sizes[0], number, classes[0]) for number in cameras]
    along += [(sizes[0], cameras[0], number) for number in classes]
    return [Case(name, *place, precision, backend) for place in dict.fromkeys(along)]


def seconds_left(elapsed_s: float, flops: Sequence[float], num_done: int) -> float:
    """By the operations done and those to come."""
    return elapsed_s * sum(flops[num_done:]) / sum(flops[:num_done])


def row(case: Case, flops: int, found: dict[str, Any], peak: float) -> Row:
    """What was measured, the rate and its share of the peak; the reason where it failed."""
    failure = found.get("failure", "")
    rate = None if failure else flops / found["seconds"]
    return asdict(case) | {
        "ms": None if failure else 1e3 * found["seconds"],
        "best ms": None if failure else 1e3 * found["best_s"],
        "peak MB": None if failure else found["peak_bytes"] / 1e6,
        "GFLOP": flops / 1e9,
        "GFLOP/s": rate and rate / 1e9,
        "% of peak": rate and 100 * rate / peak,
        "other cores": found.get("other_cores"),
        "failure": failure,
    }


def growth(rows: Sequence[Row], axis: str) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Panels of curves along one axis, from the rows that differ from the first in that alone; empty where there is no other."""
    others = [other for other in GROWTH if other != axis]
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for kind, title in (("ms", "time of a batch (ms)"), ("peak MB", "memory above the loaded network (MB)")):
        curves: dict[str, list[tuple[float, float]]] = {}
        for one in rows:
            if one[kind] is not None and all(one[other] == rows[0][other] for other in others):
                name = f"{one['preset']}, {one['precision']}, {one['backend']}"
                curves.setdefault(name, []).append((along(one, axis), one[kind]))
        panels[title] = {name: sorted(points) for name, points in curves.items() if len(points) > 1}
    return panels if any(panels.values()) else {}


def along(one: Row, axis: str) -> float:
    if axis != "size":
        return float(one[axis])
    width, height = map(int, one["size"].split("x"))
    return width * height / 1e6


def in_child(option: str, value: str, device: str, patience_s: float) -> Any:
    """What the child prints last as JSON, or its last words as a failure."""
    command = [sys.executable, __file__, option, value, "--device", device, "--patience-s", str(patience_s)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode == 0:
        return json.loads(child.stdout.splitlines()[-1])
    return {"failure": (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]}


def config_of(case: Case) -> VltsegConfig:
    """The preset, its classes more or fewer where the case says so."""
    config = preset(case.preset)
    if case.classes == len(config.classes):
        return config
    numbered = tuple(SemanticClass(i, f"class {i}", (i, i, i)) for i in range(case.classes))
    table = ClassTable(f"{case.classes} classes", numbered)
    CLASS_TABLES[table.name] = table
    return replace(config, class_table=table.name)


def measured(case: Case, device: torch.device, patience_s: float) -> dict[str, float]:
    """Median seconds of a batch and peak bytes above the loaded network, in this process."""
    torch.manual_seed(0)
    config, height_width = config_of(case), case.image_size
    weights = WEIGHTS_FOLDER / f"{case.preset}.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        engine_cache = None
        if not weights.is_file() or case.classes != len(preset(case.preset).classes):
            weights = Path(folder) / "random.safetensors"
            native.save(Vltseg(config), weights, trained_on="nothing")
            engine_cache = Path(folder) / "engines"  # of weights that nobody will load again
        segmenter = Segmenter.load(
            weights,
            device=str(device),
            precision=case.precision,
            backend=BackendSettings(case.backend, batch_size=case.cameras, engine_cache=engine_cache),
            input_size=height_width,
        )
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (*height_width, 3), dtype=np.uint8) for _ in range(case.cameras)]
    before = forget_peak(device)
    segmenter.segment(images)
    peak_bytes = peak_memory_bytes(device) - before
    tries: list[dict[str, float]] = []
    while not tries or (tries[-1]["other_cores"] > QUIET_CORES and patience_s and len(tries) < MOST_TRIES):
        tries.append(timed_passes(lambda: segmenter.segment(images), patience_s))
    return min(tries, key=lambda found: found["other_cores"]) | {"peak_bytes": peak_bytes}


def timed_passes(work: Callable[[], object], patience_s: float) -> dict[str, float]:
    """Seconds of a pass, the median and the best, and the cores that others kept busy."""
    wait_for_quiet(patience_s)
    seconds: list[float] = []
    others = OtherProcesses()
    while len(seconds) < LEAST_PASSES or (sum(seconds) < SECONDS_OF_PASSES and len(seconds) < MOST_PASSES):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return {"seconds": float(np.median(seconds)), "best_s": min(seconds), "other_cores": others.cores()}


class OtherProcesses:
    """How many cores the machine's other processes keep busy from here on: what may have disturbed a measurement."""

    def __init__(self) -> None:
        self._began, self._busy_s, self._own_s = time.monotonic(), self._busy(), time.process_time()

    def cores(self) -> float:
        busy_s = self._busy() - self._busy_s - (time.process_time() - self._own_s)
        return max(0.0, busy_s / (time.monotonic() - self._began))

    @staticmethod
    def _busy() -> float:
        times = psutil.cpu_times()
        return float(times.user + times.system + times.nice)


def wait_for_quiet(patience_s: float) -> None:
    """Return once other processes have kept less than QUIET_CORES busy for a second, or after so long."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        others = OtherProcesses()
        time.sleep(1)
        if others.cores() < QUIET_CORES:
            return


def peak_flops_a_second(precision: str, device: torch.device) -> float:
    """The best of ten products of large square matrices."""
    side = MATRIX_SIDE[device.type]
    one, other = (torch.randn(side, side, device=device).to(DTYPES[precision]) for _ in range(2))
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        product = one @ other
        float(product[0, 0])  # waits for a GPU
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / min(seconds)


def forget_peak(device: torch.device) -> int:
    """Bytes in use now, from where the peak is counted."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak_memory_bytes(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else status_bytes("VmHWM")


def status_bytes(name: str) -> int:
    """A line of /proc/self/status, which is in kB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
