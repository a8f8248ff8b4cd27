# SPDX-License-Identifier: Apache-2.0
"""A run that is stopped, killed or has a full disk goes on, and ends with the weights of one that was left alone."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import train_with_a_worker, train_with_one_thread
from small_networks import small

from tests.process_state import is_running
from vltseg_core import config as network_config
from vltseg_core.errors import CheckpointError, ConfigurationError
from vltseg_core.training.checkpoint_files import checkpoint_to_resume, last_checkpoint
from vltseg_core.training.learning_curves import read_metrics
from vltseg_core.training.training_samples import MixedSources
from vltseg_core.training.validation_images import ValidationImages

Train = Callable[..., int]
Same = Callable[[Path, Path], bool]


def at_call(monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, number: int, action: Callable[[], Any]) -> None:
    """Do something at the number-th call of a method, then go on with it."""
    original, calls = getattr(owner, method), iter(range(1_000_000))

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        if next(calls) == number:
            action()
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, method, wrapped)


def step_of(output: Path) -> int:
    return int(torch.load(last_checkpoint(output), weights_only=True)["global_step"])


@pytest.mark.parametrize(
    ("number", "exit_code", "where"),
    [(signal.SIGINT, 130, "step 4"), (signal.SIGTERM, 143, "step 5"), (signal.SIGTERM, 143, "validation at step 3")],
)
def test_a_signal_saves_at_once_and_nothing_is_lost(
    number: int, exit_code: int, where: str, train: Train, uninterrupted: Path, same_weights: Same,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    step = int(where[-1])
    owner, call = (ValidationImages, 2) if "validation" in where else (MixedSources, 2 * (step - 1))
    with monkeypatch.context() as patched:
        at_call(patched, owner, "__getitem__", call, lambda: os.kill(os.getpid(), number))
        assert train(tmp_path / "run") == exit_code
    assert f"go on with --output {tmp_path / 'run'} --resume" in capsys.readouterr().out
    assert step_of(tmp_path / "run") == step
    assert not (tmp_path / "run/model.safetensors").exists()
    assert train(tmp_path / "run", "--resume") == 0
    assert same_weights(tmp_path / "run", uninterrupted)
    assert sorted(read_metrics(tmp_path / "run/metrics.csv")) == sorted(read_metrics(uninterrupted / "metrics.csv"))


def test_stochastic_depth_and_random_points_are_drawn_as_they_would_have_been(
    train: Train, same_weights: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(network_config.PRESETS, "eva02_clip_l", small("eva02_clip_l", drop_path=0.4))
    options = ["--model.preset=eva02_clip_l", "--model.class_embeddings=null", "--model.ptm_weight=0", "--trainer.max_steps=3"]
    options += ["--run.ema_decay=0", "--trainer.limit_val_batches=0", "--model.optimizer.encoder_rate_factor=1"]
    assert train(tmp_path / "whole", *options) == 0
    with monkeypatch.context() as patched:
        at_call(patched, MixedSources, "__getitem__", 2, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert train(tmp_path / "stopped", *options) == 130
    assert step_of(tmp_path / "stopped") == 2
    torch.rand(7)  # the generator is somewhere else by now
    assert train(tmp_path / "stopped", "--resume", *options) == 0
    assert same_weights(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.timeout(300)
def test_killed_at_random_steps_it_loses_at_most_save_every(
    start: Callable[..., BaseProcess], camvid: Path, recipe: Path, uninterrupted: Path, same_weights: Same, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    arguments = [str(recipe), "--data", f"camvid={camvid}", "--output", str(output), "--resume", "--data.num_workers=1"]
    rng = random.Random()
    for step in sorted(rng.sample(range(1, 6), 2)):
        process = start(train_with_one_thread, arguments)
        while process.is_alive() and max((f.step for f in read_metrics(output / "metrics.csv")), default=0) < step:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.join()
        reached = max(figure.step for figure in read_metrics(output / "metrics.csv"))
        resumed = step_of(output) if last_checkpoint(output).exists() else 0
        assert reached - resumed <= 2
    process = start(train_with_one_thread, arguments)
    process.join()
    assert process.exitcode == 0
    assert same_weights(output, uninterrupted)


def test_a_run_that_is_killed_leaves_no_data_worker(start: Callable[..., BaseProcess]) -> None:
    worker_ids = multiprocessing.get_context("forkserver").Queue()
    process = start(train_with_a_worker, worker_ids)
    worker = worker_ids.get(timeout=60)
    os.kill(worker, 0)  # it is there
    process.kill()
    process.join()
    end = time.monotonic() + 20
    while is_running(worker):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_progress_bar_of_a_resumed_run_counts_to_its_last_step(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        at_call(patched, MixedSources, "__getitem__", 6, lambda: os.kill(os.getpid(), signal.SIGINT))
        train(tmp_path / "run", "--trainer.enable_progress_bar=true")
    capsys.readouterr()
    assert train(tmp_path / "run", "--resume", "--trainer.enable_progress_bar=true") == 0
    shown = capsys.readouterr().out
    assert " 6/6 [" in shown and "6/?" not in shown


def test_killed_after_the_last_step_the_weights_are_written_all_the_same(
    train: Train, uninterrupted: Path, same_weights: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        at_call(patched, ValidationImages, "__getitem__", 5, kill)  # the second validation's first
        train(tmp_path / "run")
    assert step_of(tmp_path / "run") == 6
    assert train(tmp_path / "run", "--resume") == 0
    assert same_weights(tmp_path / "run", uninterrupted)
    assert sorted(read_metrics(tmp_path / "run/metrics.csv")) == sorted(read_metrics(uninterrupted / "metrics.csv"))


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_from_the_checkpoint_before(
    train: Train, uninterrupted: Path, same_weights: Same, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_is_full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        at_call(patched, os, "fsync", 4, disk_is_full)  # the third checkpoint; each syncs its file, then the folder
        with pytest.raises(CheckpointError, match=r"could not be written \(No space left on device\): make room"):
            train(tmp_path / "run")
    folder = last_checkpoint(tmp_path / "run").parent
    assert sorted(path.name for path in folder.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert step_of(tmp_path / "run") == 3
    assert train(tmp_path / "run", "--resume") == 0
    assert same_weights(tmp_path / "run", uninterrupted)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    train: Train, uninterrupted: Path, same_weights: Same, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "run"
    assert train(output) == 0
    path = last_checkpoint(output)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    (output / "model.safetensors").unlink()
    assert train(output, "--resume") == 0
    assert f"checkpoint '{path}' is damaged: going on from the one before it" in capsys.readouterr().out
    assert same_weights(output, uninterrupted)
    path.write_bytes(b"half")
    path.with_name("previous.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="is damaged and no other is left"):
        checkpoint_to_resume(output)


def test_another_recipe_is_refused_and_another_trainer_is_said(
    train: Train, uninterrupted: Path, camvid: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match=r"model.ptm_weight was 1.0, is 0.5\): resume it with its own"):
        train(uninterrupted, "--resume", "--model.ptm_weight=0.5")
    with pytest.raises(ConfigurationError, match=r"run.ema_decay was 0.9, is 0.0\)"):
        train(uninterrupted, "--resume", "--run.ema_decay=0")
    with pytest.raises(ConfigurationError, match="data.roots.camvid:val was None, is True"):
        train(uninterrupted, "--resume", "--data", f"camvid:val={camvid}")
    with pytest.raises(ConfigurationError, match="holds a run already: add --resume"):
        train(uninterrupted)
    assert train(uninterrupted, "--resume", "--trainer.log_every_n_steps=2", "--data.num_workers=1") == 0
    assert "note: trainer.log_every_n_steps was 1, is 2" in capsys.readouterr().out


def test_another_network_under_the_same_name_is_refused(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe only names the preset: what the preset was is in the checkpoint."""
    assert train(tmp_path / "run", "--trainer.max_steps=2", "--trainer.limit_val_batches=0") == 0
    changed = network_config.varied(network_config.preset("tiny"), {"mask_decoder": {"class_masks": False}})
    monkeypatch.setitem(network_config.PRESETS, "tiny", changed)
    kept = last_checkpoint(tmp_path / "run").read_bytes()
    with pytest.raises(ConfigurationError, match=r"mask_embedding.weight' was \[19, 64\] and is absent: resume it with"):
        train(tmp_path / "run", "--trainer.max_steps=4", "--trainer.limit_val_batches=0", "--resume")
    assert last_checkpoint(tmp_path / "run").read_bytes() == kept


def test_samples_do_not_depend_on_how_often_the_run_was_resumed() -> None:
    from vltseg_core.training.training_samples import Share, StepBatches

    whole = list(StepBatches(4, 6, Share(), first_pass=lambda: 0))
    assert list(StepBatches(4, 6, Share(), first_pass=lambda: 4)) == whole[4:]
