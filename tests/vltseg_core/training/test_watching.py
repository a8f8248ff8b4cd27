# SPDX-License-Identifier: Apache-2.0
"""What a run shows of itself: figures, curves, predictions, weights, and Weights & Biases if it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vltseg_core.checkpoints import native
from vltseg_core.errors import ConfigurationError
from vltseg_core.training.checkpoint_files import last_checkpoint
from vltseg_core.training.learning_curves import read_metrics
from vltseg_core.training.validation_images import ValidationImages


def test_figures_and_curves_are_kept_beside_the_weights(uninterrupted: Path) -> None:
    figures = read_metrics(uninterrupted / "metrics.csv")
    assert [f.step for f in figures if f.name == "loss"] == [1, 2, 3, 4, 5, 6]
    assert {f.step for f in figures if f.name == "miou/camvid"} == {3, 6}
    assert {f.name for f in figures} >= {"loss/cross_entropy", "loss/dice", "loss/ptm", "miou/mean"}
    drawing = ElementTree.parse(uninterrupted / "curves.svg").getroot()
    words = "".join(drawing.itertext())
    assert "mIoU in percent" in words and "camvid" in words and "cross_entropy" in words


def test_predictions_are_shown_at_every_validation(uninterrupted: Path) -> None:
    for step in (3, 6):
        path = uninterrupted / f"predictions/step{step:06d}/camvid_0016E5_00000.png"
        picture = np.asarray(Image.open(path))
        assert picture.shape == (360 + 24, 3 * 480 + 2 * 4, 3)
        panels = [picture[24:, start : start + 480] for start in (0, 484, 968)]
        assert not np.array_equal(panels[0], panels[1]) and not np.array_equal(panels[1], panels[2])
    events = EventAccumulator(str(uninterrupted / "logs"))
    events.Reload()
    assert events.Tags()["images"] == ["predictions/camvid_0016E5_00000"]
    assert {"loss", "miou/camvid", "data/failed_draws", "lr-AdamW/pg1"} <= set(events.Tags()["scalars"])


def test_best_and_last_are_kept_and_hold_no_code(uninterrupted: Path) -> None:
    best = native.load(uninterrupted / "best.safetensors")
    assert "CamVid" in best.trained_on
    checkpoint = torch.load(last_checkpoint(uninterrupted), weights_only=True)
    assert checkpoint["global_step"] == 6
    assert torch.load(last_checkpoint(uninterrupted).with_name("previous.ckpt"), weights_only=True)["global_step"] == 4
    scores = [f.value for f in read_metrics(uninterrupted / "metrics.csv") if f.name == "miou/mean"]
    assert checkpoint["callbacks"]["WeightsFiles"]["best_miou"] == pytest.approx(scores[0])


def test_the_average_is_what_is_written(uninterrupted: Path, train: Callable[..., int], tmp_path: Path) -> None:
    assert train(tmp_path / "run", "--run.ema_decay=0", "--trainer.val_check_interval=6") == 0
    checkpoint = torch.load(last_checkpoint(uninterrupted), weights_only=True)
    name = "mask_decoder.query_positions.weight"
    last, averaged = checkpoint["current_model_state"][f"network.{name}"], checkpoint["state_dict"][f"network.{name}"]
    written, raw = (
        native.load(run / "model.safetensors").network.state_dict()[name] for run in (uninterrupted, tmp_path / "run")
    )
    assert torch.equal(written, averaged) and torch.equal(raw, last) and not torch.equal(averaged, last)


def test_weights_and_biases_is_missed_in_a_sentence(
    train: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigurationError, match="Weights & Biases is not installed: pip install wandb, or leave --wandb out"):
        train(tmp_path / "run", "--wandb", "vltseg")


@pytest.mark.parametrize("num_processes", [1, 2, 3])
def test_a_share_of_a_validation_set_has_the_length_of_every_other(num_processes: int) -> None:
    class Five:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> int:
            return index

    shares = [ValidationImages(Five(), rank, num_processes) for rank in range(num_processes)]  # type: ignore[arg-type]  # stands in
    numbers = [image.number for share in shares for image in (share[place] for place in range(len(share))) if image.counts]
    assert sorted(numbers) == [0, 1, 2, 3, 4] and len({len(share) for share in shares}) == 1
