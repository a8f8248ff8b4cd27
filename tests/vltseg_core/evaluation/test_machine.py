# SPDX-License-Identifier: Apache-2.0
"""The machine's description says what a reader needs to weigh a figure."""

from __future__ import annotations

import os
import platform

from vltseg_core.evaluation import machine


def test_it_names_processor_cores_system_and_python():
    described = dict(machine.describe_machine())
    assert described["processor"]
    assert int(described["cores"]) == len(os.sched_getaffinity(0))
    assert described["system"].startswith("Linux")
    assert described["Python"] == platform.python_version()


def test_it_reads_the_kernels_own_tables(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast: 3 GHz\n")
    (tmp_path / "meminfo").write_text("MemTotal:       33554432 kB\n")
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine, "_MEMORY_INFO", tmp_path / "meminfo")
    described = dict(machine.describe_machine())
    assert (described["processor"], described["memory"]) == ("Fast: 3 GHz", "32 GiB")


def test_a_machine_without_those_tables_is_still_described(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CPU_INFO", tmp_path / "none")
    monkeypatch.setattr(machine, "_MEMORY_INFO", tmp_path / "none")
    described = dict(machine.describe_machine())
    assert described["processor"] and "memory" not in described
