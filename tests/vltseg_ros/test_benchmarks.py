# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of the benchmarks, on figures of which the answer is known."""

from __future__ import annotations

import importlib
import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("network")


@pytest.fixture
def node_overhead(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("node_overhead")


@pytest.fixture
def result_table(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("result_table")


def test_each_axis_is_measured_from_the_first_of_the_others_and_nothing_twice(network: Any) -> None:
    planned = network.cases("tiny", "fp32", "eager", ["8x4", "16x8"], [1, 6], [19, 60])
    assert [(case.size, case.cameras, case.classes) for case in planned] == [
        ("8x4", 1, 19),
        ("16x8", 1, 19),
        ("8x4", 6, 19),
        ("8x4", 1, 60),
    ]
    assert planned[1].image_size == (8, 16)


def test_rate_and_share_of_the_peak(network: Any) -> None:
    case = network.Case("tiny", "8x4", 1, 19, "fp32", "eager")
    found = network.row(
        case, 3_000_000_000, {"seconds": 0.5, "best_s": 0.4, "peak_bytes": 2_000_000, "other_cores": 0.0}, peak=24e9
    )
    assert (found["best ms"], found["other cores"]) == (400, 0)
    assert (found["ms"], found["peak MB"], found["GFLOP"], found["GFLOP/s"], found["% of peak"]) == (500, 2, 3, 6, 25)
    failed = network.row(case, 3_000_000_000, {"failure": "no GPU"}, peak=24e9)
    assert failed["ms"] is None and failed["failure"] == "no GPU" and list(failed) == list(found)


def test_the_time_left_goes_by_the_work_left(network: Any) -> None:
    assert network.seconds_left(10, [1, 4, 15], 2) == pytest.approx(30)
    assert network.seconds_left(10, [1, 4, 15], 3) == 0


def test_growth_follows_one_axis_at_a_time(network: Any) -> None:
    rows = [
        asdict(case) | {"ms": 10.0 * number, "peak MB": 1.0}
        for number, case in enumerate(network.cases("tiny", "fp32", "eager", ["2000x1000", "1000x1000"], [1, 6], [19]), 1)
    ]
    name = "tiny, fp32, eager"
    assert network.growth(rows, "size")["time of a batch (ms)"] == {name: [(1.0, 20.0), (2.0, 10.0)]}
    assert network.growth(rows, "cameras")["time of a batch (ms)"] == {name: [(1.0, 10.0), (6.0, 30.0)]}
    assert network.growth(rows, "classes") == {}


def test_a_preset_gets_as_many_classes_as_are_asked_for(network: Any) -> None:
    assert len(network.config_of(network.Case("tiny", "8x4", 1, 60, "fp32", "eager")).classes) == 60
    assert network.config_of(network.Case("tiny", "8x4", 1, 19, "fp32", "eager")).name == "tiny"


def test_a_small_case_is_measured_in_a_process_of_its_own(network: Any) -> None:
    case = network.Case("tiny", "64x48", 2, 30, "fp32", "eager")
    found = network.in_child("--case", json.dumps(asdict(case)), "cpu", 0)
    assert found["seconds"] > 0 and found["peak_bytes"] > 0
    assert "unknown" in network.in_child("--peak-of", "fp32", "tpu", 0)["failure"]


def test_latencies_are_compared_at_the_95th_percentile_and_losses_counted(node_overhead: Any) -> None:
    seconds = {"node": [n / 1000 for n in range(1, 102)], "bare": [0.032, None, 0.032]}
    found = node_overhead.row(seconds)
    assert (found["masks"], found["node median ms"], found["node p95 ms"]) == (101, pytest.approx(51), pytest.approx(96))
    assert (found["node lost"], found["bare lost"]) == (0, 1)
    assert found["p95 over bare"] == pytest.approx(3) and found["p95 over decoding"] is None
    assert node_overhead.row({"node": [None], "bare": [None]})["p95 over bare"] is None


def test_masks_a_second_go_by_the_gaps_between_them(node_overhead: Any) -> None:
    assert node_overhead.masks_rate([2.0, 2.1, 2.2, 2.3, 2.4]) == pytest.approx(10)
    assert node_overhead.masks_rate([2.0]) == 0


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_message_gets_its_stamp_without_being_serialised_anew(node_overhead: Any, transport: str) -> None:
    from rclpy.serialization import deserialize_message, serialize_message

    message = node_overhead.image_message("64x48", transport)
    again = deserialize_message(node_overhead.with_stamp(bytearray(serialize_message(message)), 123_456), type(message))
    assert (again.header.stamp.sec, again.header.stamp.nanosec, again.header.frame_id) == (0, 123_456, "48x64")
    assert again.data == message.data


def test_a_table_shows_three_digits_and_a_dash_for_nothing(result_table: Any) -> None:
    table = result_table.markdown([{"a": 1234.5, "b": 0.01234, "c": None}, {"a": 7, "b": "x", "c": 1.5}])
    assert table == "| a | b | c |\n| --- | --- | --- |\n| 1234 | 0.0123 | - |\n| 7 | x | 1.5 |"


def test_results_are_written_with_command_machine_and_date(
    result_table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result_table.finish({"rows": [{"a": 1}], "none": []}, tmp_path / "new" / "r.json", peak=2.5)
    found = json.loads((tmp_path / "new" / "r.json").read_text())
    assert found["rows"] == [{"a": 1}] and found["peak"] == 2.5 and {"command", "machine", "date"} <= set(found)
    assert "| a |" in capsys.readouterr().out


def test_the_vehicle_s_script_goes_on_past_a_failure_and_names_it(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\ncase "$*" in *decode_head*) exit 3;; esac\n')
    python.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python), "SIZES": "64x48"}
    run = subprocess.run(
        [str(FOLDER / "vehicle.sh"), str(tmp_path / "out")], env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1 and run.stdout.splitlines()[-1] == "failed: decode_head"
    logs = {path.name for path in (tmp_path / "out").glob("*.log")}
    assert logs == {"build_tiny_64x48.log", "network.log", "decode_head.log", "node_overhead.log"}
    assert "build-engine tiny --size 64x48" in (tmp_path / "out" / "build_tiny_64x48.log").read_text()
