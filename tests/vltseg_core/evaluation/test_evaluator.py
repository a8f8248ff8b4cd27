# SPDX-License-Identifier: Apache-2.0
"""Each frame counts once, whoever judges it and however often the run was stopped; figures as reckoned by hand."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.vltseg_core.evaluation.made_up_sets import CAR, DAY_AND_NIGHT, ROAD, SKY, ReadingSegmenter, made_up_set
from vltseg_core.errors import InputError
from vltseg_core.evaluation.evaluator import evaluate, spread
from vltseg_core.evaluation.frame_scores import FrameScores
from vltseg_core.evaluation.processes import joined
from vltseg_core.evaluation.target_result import TargetResult

RANDOM = np.random.default_rng(0)
MANY_FRAMES = made_up_set([None if i == 5 else RANDOM.integers(0, 3, (2, 40)).tolist() for i in range(23)], ("wet", "dry") * 12)


def test_pooled_and_mean_of_conditions_by_hand() -> None:
    result = evaluate(ReadingSegmenter(), DAY_AND_NIGHT)
    assert result.mean_iou == pytest.approx((5 / 8 + 3 / 6) / 2)
    assert result.condition_mean_iou("day") == pytest.approx((4 / 5 + 3 / 4) / 2)
    assert result.condition_mean_iou("night") == pytest.approx(1 / 3)  # a class absent from the truth is no zero
    assert result.mean_of_conditions == pytest.approx(((4 / 5 + 3 / 4) / 2 + 1 / 3) / 2)
    assert np.isnan(result.iou()["sky"]) and np.isnan(result.iou("night")["car"]) and np.isnan(result.condition_mean_iou("fog"))
    assert [frame.mean_iou for frame in result.frames] == pytest.approx([1, (2 / 3 + 1 / 2) / 2, 1 / 3])
    assert result.seconds_per_frame > 0


def test_a_mean_is_over_the_classes_that_the_data_set_names() -> None:
    frames = [([ROAD, CAR, CAR, SKY], [ROAD, CAR, SKY, SKY])]
    assert evaluate(ReadingSegmenter(), made_up_set(frames)).mean_iou == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    over_two = evaluate(ReadingSegmenter(), made_up_set(frames, mean_classes=("road", "car")))
    assert over_two.mean_iou == pytest.approx((1 + 1 / 2) / 2)


def test_without_conditions_there_is_no_mean_of_them() -> None:
    result = evaluate(ReadingSegmenter(), made_up_set([([ROAD], [ROAD])]))
    assert result.conditions == () and np.isnan(result.mean_of_conditions) and result.mean_iou == 1


def test_unreadable_frames_are_named_passed_over_and_counted() -> None:
    result = evaluate(ReadingSegmenter(), made_up_set([([ROAD], [ROAD]), None, ([CAR], [ROAD])]))
    assert result.unreadable == {"frame_1": "image 'frame_1.png' cannot be read"}
    assert result.pooled.num_images == 2 and result.num_frames == 3 and result.mean_iou == 0.5
    with pytest.raises(InputError, match="none of the 1 frames could be used: image 'frame_0.png'"):
        evaluate(ReadingSegmenter(), made_up_set([None]))


def test_a_limit_takes_frames_from_the_whole_set() -> None:
    assert spread(10, 3) == [0, 3, 6] and spread(10, 0) == spread(10, 99) == list(range(10))
    segmenter = ReadingSegmenter()
    assert evaluate(segmenter, MANY_FRAMES, limit=4, box=(8, 16)).num_frames == 4
    assert segmenter.boxes == [(8, 16)] * 3  # one of the four cannot be read


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    whole = evaluate(ReadingSegmenter(), MANY_FRAMES)
    for stop_after in (3, 4):

        def stop(num_done: int, num_frames: int, last: int = stop_after) -> None:
            if num_done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate(ReadingSegmenter(), MANY_FRAMES, scores_file=tmp_path / "scores.npz", progress=stop)
    segmenter = ReadingSegmenter()
    result = evaluate(segmenter, MANY_FRAMES, scores_file=tmp_path / "scores.npz")
    assert segmenter.num_segmented == 23 - 7  # the unreadable frame was among the first seven: 22 - 6
    assert figures(result) == figures(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.npz"]
    evaluate(segmenter, MANY_FRAMES, scores_file=tmp_path / "scores.npz")
    assert segmenter.num_segmented == 16


def test_a_file_that_is_no_scores_is_said(tmp_path: Path) -> None:
    (tmp_path / "scores.npz").write_bytes(b"shopping list")
    with pytest.raises(InputError, match="no file of frame scores"):
        evaluate(ReadingSegmenter(), DAY_AND_NIGHT, scores_file=tmp_path / "scores.npz")


def test_frame_scores_come_back_from_their_file(tmp_path: Path) -> None:
    scores = FrameScores(2)
    scores.counts[3], scores.seconds[3] = np.arange(6).reshape(2, 3), 0.5
    scores.unreadable[4] = "damaged"
    scores.save(tmp_path / "scores.npz")
    loaded = FrameScores.load(tmp_path / "scores.npz")
    assert loaded.done == {3, 4} and loaded.seconds == {3: 0.5} and loaded.unreadable == {4: "damaged"}
    assert np.array_equal(loaded.counts[3], scores.counts[3])


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(number, port, tmp_path)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(90)
    assert [worker.exitcode for worker in workers] == [0, 0]
    answers = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2)]
    assert sorted(answer["num_segmented"] for answer in answers) == [10, 12]  # frame 5 of the second is unreadable
    serial = figures(evaluate(ReadingSegmenter(), MANY_FRAMES))
    assert answers[0]["figures"] == answers[1]["figures"] == json.loads(json.dumps(serial))
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["scores.npz"]


def _work(number: int, port: int, folder: Path) -> None:
    os.environ.update(WORLD_SIZE="2", RANK=str(number), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    segmenter = ReadingSegmenter()
    with joined() as processes:
        result = evaluate(segmenter, MANY_FRAMES, scores_file=folder / "scores.npz", processes=processes)
    answer = {"figures": figures(result), "num_segmented": segmenter.num_segmented}
    (folder / f"{number}.json").write_text(json.dumps(answer))


def figures(result: TargetResult) -> dict[str, object]:
    """Everything but the time."""
    return {key: value for key, value in result.to_dict().items() if key != "seconds_per_frame"}


def test_a_result_comes_back_from_json() -> None:
    result = evaluate(ReadingSegmenter(), MANY_FRAMES)
    again = TargetResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert again.to_dict() == result.to_dict()
    with pytest.raises(InputError, match="no result of an evaluation"):
        TargetResult.from_dict({"mean_iou": 0.5})
