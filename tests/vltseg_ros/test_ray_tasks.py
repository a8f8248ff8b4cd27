# SPDX-License-Identifier: Apache-2.0
"""Bags as tasks of a real Ray on this machine: what comes out equals the serial evaluation, also after a worker died."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from rich.console import Console
from rich.progress import Progress

from vltseg_core.errors import ConfigurationError
from vltseg_ros.bag_evaluation import BagEvaluationSettings
from vltseg_ros.demo_bag import DemoBagSettings, write_demo_bag
from vltseg_ros.fleet_evaluation import FleetSettings, evaluate_fleet, one_after_another
from vltseg_ros.fleet_task import FleetTask
from vltseg_ros.node_process import SEGMENTATION_NODE
from vltseg_ros.ray_tasks import RayRunner, _resources
from vltseg_ros.replay_run import ReplaySettings

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra cluster)")
STAND_IN = (sys.executable, str(Path(__file__).parent / "stand_in_node.py"))
TIMES = {"latency_ms", "latency_from_stamp_ms", "answered_within_ms", "frames_late", "playing_s"}


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    """Two bags of the same file name, with ten drawn frames each."""
    root = tmp_path_factory.mktemp("fleet")
    for seed, day in enumerate(("monday", "tuesday")):
        (root / day).mkdir()
        drawing = DemoBagSettings(seed=seed, seconds=0.5, image_size=(96, 128), conditions=("clear", "night"))
        write_demo_bag(root / day / "drive", drawing)
    return [str(root / day / "drive") for day in ("monday", "tuesday")]


def run(sources, output, runner, node_command=SEGMENTATION_NODE, checkpoint="tiny"):
    replay = ReplaySettings(lossless=True, with_confidence=True, checkpoint=checkpoint, device="cpu", node_command=node_command)
    with Progress(console=Console(file=io.StringIO())) as progress:
        return evaluate_fleet(FleetSettings(sources, output, BagEvaluationSettings("", output, replay)), progress, runner)


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def figures(outcome):
    return without_times(json.loads(outcome.folder.results.read_text()))


@needs_ray
def test_the_merged_report_equals_the_serial_one(drives, tmp_path):
    serial = run(drives, tmp_path / "serial", one_after_another)
    parallel = run(drives, tmp_path / "ray", RayRunner("local", 1))
    assert figures(parallel) == figures(serial) and serial.result.total.num_answered == 20
    for name in ("monday-drive", "tuesday-drive"):
        kept = {path.name for path in (tmp_path / "ray/bags" / name).iterdir()}
        assert {"report.html", "overlays", "result_bag", "finished.json"} <= kept


def is_below_this_process(process):
    try:
        return psutil.Process() in process.parents()
    except psutil.NoSuchProcess:  # another test's, which has just ended
        return False


def kill_first_worker(output, killed):
    """SIGKILL to the process that plays into the first node that has got a frame."""
    deadline = time.monotonic() + 90
    while not killed and time.monotonic() < deadline:
        for log in output.glob("bags/*/node.log"):
            if "first frame" in log.read_text("utf-8", errors="replace"):
                nodes = [p for p in psutil.process_iter(["cmdline"]) if "stand_in_node.py" in " ".join(p.info["cmdline"] or [])]
                mine = [node for node in nodes if is_below_this_process(node)]
                if mine:
                    worker = mine[0].parent()
                    killed.append((mine[0], worker.pid))
                    os.kill(worker.pid, signal.SIGKILL)
                    return
        time.sleep(0.01)


@needs_ray
def test_a_bag_whose_worker_is_killed_is_tried_again_and_the_result_is_the_same(drives, tmp_path):
    serial = run(drives, tmp_path / "serial", one_after_another, STAND_IN, "slow")
    killed = []
    killer = threading.Thread(target=kill_first_worker, args=(tmp_path / "ray", killed))
    killer.start()
    parallel = run(drives, tmp_path / "ray", RayRunner("local", 1), STAND_IN, "slow")
    killer.join()
    assert killed, "no worker was found that played"
    assert figures(parallel) == figures(serial) and not parallel.failures
    assert not killed[0][0].is_running(), "the node of the worker that died goes on"


@needs_ray
def test_a_bag_that_fails_stops_no_other(drives, tmp_path):
    outcome = run([drives[0], str(tmp_path / "absent.mcap")], tmp_path / "out", RayRunner("local"), STAND_IN)
    assert "does not exist" in outcome.failures["absent"] and outcome.result.total.num_answered == 10


@needs_ray
def test_ctrl_c_ends_workers_and_nodes(drives, tmp_path):
    program = [sys.executable, "-m", "vltseg_ros.cli", "evaluate-bag", *drives, "-o", str(tmp_path / "out")]
    program += ["--device", "cpu", "--rate", "0.001", "--ray", "local"]
    running = subprocess.Popen(program, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 90
    log = tmp_path / "out/bags/monday-drive/node.log"
    while not (log.exists() and "active" in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGINT)
    assert "stopped; the same command goes on" in running.communicate(timeout=60)[1]
    assert running.returncode == 130
    _, alive = psutil.wait_procs(children, timeout=20)
    assert children and not [process.cmdline() for process in alive]


@needs_ray
def test_a_cluster_that_is_not_there_is_one_sentence():
    with pytest.raises(ConfigurationError, match="no Ray cluster answers at '127.0.0.1:1'"):
        list(RayRunner("127.0.0.1:1")([task()], lambda name, share: None))


def test_without_ray_the_command_says_how_to_get_it(tmp_path):
    program = "import sys; sys.modules['ray'] = None; from vltseg_ros.cli import main; main()"
    command = [sys.executable, "-c", program, "evaluate-bag", "a", "b", "--ray", "local", "-o", str(tmp_path / "out")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "pip install 'vltseg_ros[cluster]'" in ended.stderr
    assert ended.stderr.count("\n") == 1 and not (tmp_path / "out").exists()


def task(device=None, lossless=True):
    settings = BagEvaluationSettings("a", Path("out"), ReplaySettings(lossless=lossless, device=device))
    return FleetTask("a", settings, {}, Path("out"))


def machine(cpus, gpus=0, alive=True):
    return {"Alive": alive, "Resources": {"CPU": float(cpus), **({"GPU": float(gpus)} if gpus else {})}}


def test_a_bag_takes_a_gpu_where_there_is_one_and_a_machine_of_its_own_where_there_is_none(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert _resources(task(), None, [machine(64), machine(32, gpus=8)]) == {"num_cpus": 1, "num_gpus": 1}
    assert _resources(task(lossless=False), None, [machine(32, gpus=8)]) == {"num_cpus": 4, "num_gpus": 1}
    assert _resources(task("cpu"), None, [machine(8), machine(32, gpus=8)]) == {"num_cpus": 32, "num_gpus": 0}
    assert _resources(task(), None, [machine(8), machine(99, gpus=1, alive=False)]) == {"num_cpus": 8, "num_gpus": 0}
    assert _resources(task(), 3, [machine(8)]) == {"num_cpus": 3, "num_gpus": 0}
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert _resources(task(), None, [machine(8)]) == {"num_cpus": 2, "num_gpus": 0}


def test_what_no_machine_has_is_refused_and_not_waited_for():
    with pytest.raises(ConfigurationError, match="no machine of the Ray cluster has 9 CPUs for a bag: give --bag-cpus 8"):
        _resources(task(), 9, [machine(8)])
    with pytest.raises(ConfigurationError, match="--device cuda:1 names one GPU"):
        _resources(task("cuda:1"), None, [machine(8, gpus=2)])
