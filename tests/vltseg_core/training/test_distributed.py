# SPDX-License-Identifier: Apache-2.0
"""Two processes compute what one does: samples, gradients, sharded weights, validation, and a run from end to end."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import gradients, sharded_step, shared_validation, torchrun_environment, train_with_one_thread

from vltseg_core.errors import ConfigurationError
from vltseg_core.training.distributed import launched_processes
from vltseg_core.training.learning_curves import read_metrics
from vltseg_core.training.training_samples import Share, StepBatches

Start = Callable[..., BaseProcess]
CASES = [("tiny", 1.0), ("eva02_clip_l", 1.0), ("eva02_clip_l", 0.0), ("eva02_clip_l_text_queries", 1.0)]


@pytest.fixture
def by_one_and_two(start: Start, tmp_path: Path) -> Callable[..., tuple[Any, Any]]:
    """What a function of (rank, number of processes, meeting point, ..., output) writes, by one process and by two."""

    def compare(function: Callable[..., None], *arguments: Any) -> tuple[Any, Any]:
        jobs = [
            start(function, rank, count, str(tmp_path / f"meeting{count}"), *arguments, str(tmp_path / f"{count}.pt"))
            for count in (1, 2)
            for rank in range(count)
        ]
        for job in jobs:
            job.join()
        assert [job.exitcode for job in jobs] == [0, 0, 0]
        return torch.load(tmp_path / "1.pt"), torch.load(tmp_path / "2.pt")

    return compare


@pytest.mark.parametrize("share", [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)])
def test_a_step_has_the_same_samples_however_many_share_it(share: tuple[int, int]) -> None:
    num_processes, num_passes = share
    steps: list[list[int]] = [[] for _ in range(5)]
    for rank in range(num_processes):
        for number, batch in enumerate(StepBatches(8, 5, Share(rank, num_processes, num_passes), first_pass=lambda: 0)):
            steps[number // num_passes] += batch
    assert [sorted(step) for step in steps] == [list(range(8 * step, 8 * step + 8)) for step in range(5)]


def test_a_step_that_cannot_be_shared_evenly_is_refused() -> None:
    with pytest.raises(
        ConfigurationError, match="batch_size 6 cannot be shared by 4 processes in 1 passes each: give a multiple"
    ):
        StepBatches(6, 5, Share(0, 4), first_pass=lambda: 0)


def test_gradients_are_those_of_one_process_on_the_whole_batch(by_one_and_two: Callable[..., tuple[Any, Any]]) -> None:
    alone, together = by_one_and_two(gradients, CASES)
    for case in CASES:
        assert alone[case].keys() == together[case].keys()
        largest = max(float(g.abs().max()) for n, g in alone[case].items() if n != "shares")
        for name, gradient in alone[case].items():
            assert torch.allclose(together[case][name], gradient, rtol=1e-3, atol=1e-5 * largest), (case, name)


def test_sharded_weights_have_the_same_groups_and_clipped_gradients(by_one_and_two: Callable[..., tuple[Any, Any]]) -> None:
    alone, together = by_one_and_two(sharded_step)
    assert alone["groups"] == together["groups"] and len(alone["groups"]) == 4
    assert abs(float(alone["norm"]) - 0.01) < 1e-6 and abs(float(together["norm"]) - 0.01) < 1e-6
    for name, gradient in alone["gradients"].items():
        assert torch.allclose(together["gradients"][name], gradient, rtol=1e-3, atol=1e-7), name


def test_validation_counts_each_image_once(by_one_and_two: Callable[..., tuple[Any, Any]], camvid: Path) -> None:
    alone, together = by_one_and_two(shared_validation, str(camvid))
    assert torch.equal(alone["counts"], together["counts"]) and alone["miou/camvid"] == together["miou/camvid"]
    assert int(alone["num_images"]) == int(together["num_images"]) == 5


@pytest.mark.timeout(300)
def test_a_run_of_two_processes_is_stopped_in_one_and_resumed(start: Start, camvid: Path, recipe: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    arguments = [str(recipe), "--data", f"camvid={camvid}", "--output", str(output), "--resume"]
    arguments += ["--trainer.max_steps=24", "--trainer.val_check_interval=24"]

    def begin() -> list[BaseProcess]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return [start(train_with_one_thread, arguments, torchrun_environment(rank, 2, port)) for rank in range(2)]

    jobs = begin()
    while not read_metrics(output / "metrics.csv") and any(job.is_alive() for job in jobs):
        time.sleep(0.05)
    assert jobs[1].pid is not None
    os.kill(jobs[1].pid, signal.SIGTERM)
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [143, 143]
    stopped_at = max(figure.step for figure in read_metrics(output / "metrics.csv"))
    assert stopped_at < 24
    jobs = begin()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0, 0]
    assert (output / "model.safetensors").exists()
    steps = [figure.step for figure in read_metrics(output / "metrics.csv") if figure.name == "loss"]
    assert sorted(set(steps)) == list(range(1, 25)) and len(steps) == 24


@pytest.mark.parametrize(
    ("environment", "launched"),
    [
        ({}, {}),
        ({"WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}, {"devices": 4, "num_nodes": 2}),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_NNODES": "2"}, {"devices": 4, "num_nodes": 2}),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_NNODES": "1"}, {}),
    ],
)
def test_as_many_devices_are_used_as_processes_were_launched(
    environment: dict[str, str], launched: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_NNODES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launched_processes() == launched
