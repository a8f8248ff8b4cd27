# SPDX-License-Identifier: Apache-2.0
"""Evaluates a segmenter on a data set, frame by frame, resumably, and shared among processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vltseg_core.data.labelled_images import EvaluationSet, LabelledImage
from vltseg_core.errors import InputError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.frame_scores import FrameScores
from vltseg_core.evaluation.processes import ALONE, Processes
from vltseg_core.evaluation.target_result import TargetResult, target_result
from vltseg_core.prefetch import prefetched
from vltseg_core.runtime import Segmenter

Progress = Callable[[int, int], None]
"""Called with how many frames are done, and of how many, this process's own."""

_SAVE_EVERY_S = 10.0
_READ_AHEAD = 4


def evaluate(
    segmenter: Segmenter,
    evaluation_set: EvaluationSet,
    *,
    box: tuple[int, int] | None = None,
    limit: int = 0,
    scores_file: Path | None = None,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> TargetResult:
    """Labels at each image's own size against the truth. A frame that cannot be read is noted and passed over.

    Args:
        box: (height, width) that images are fitted to before they enter the network, see `Segmenter.segment`.
        limit: so many frames, evenly spread over the set; 0 for all.
        scores_file: where what is done so far is kept; frames that it holds from an earlier, interrupted run are not
            judged again. Each process but the first keeps a file of its own beside it until the end.
        processes: those that share the frames; every one of them returns the result of all frames, each counted once.

    Raises InputError where no frame at all could be read.
    """
    indices = spread(len(evaluation_set.images), limit)
    own_file = scores_file and scores_file.with_suffix(f".{processes.number}{scores_file.suffix}")
    scores = _earlier_scores(scores_file, len(evaluation_set.class_names), processes)
    to_do = [i for i in indices if i not in scores.done][processes.number :: processes.count]
    own = FrameScores(len(evaluation_set.class_names))
    saved_at = time.monotonic()
    try:
        for num_done, (index, frame) in enumerate(_decoded(evaluation_set, to_do), start=1):
            if isinstance(frame, InputError):
                own.unreadable[index] = str(frame)
            else:
                own.counts[index], own.seconds[index] = _judged(segmenter, evaluation_set, frame, box)
            if own_file and time.monotonic() - saved_at > _SAVE_EVERY_S:
                own.save(own_file)
                saved_at = time.monotonic()
            if progress:
                progress(num_done, len(to_do))
    finally:
        if own_file and own.done:
            own.save(own_file)
    for part in processes.gather(own):
        scores.merge(part)
    if scores_file and processes.is_first:
        scores.save(scores_file)
        for path in _files_of_processes(scores_file):
            path.unlink(missing_ok=True)
    if not scores.counts:
        first = next(iter(scores.unreadable.values()), "it is empty")
        raise InputError(f"none of the {len(indices)} frames could be used: {first}")
    return target_result(evaluation_set, scores, len(indices))


def spread(num_frames: int, limit: int) -> list[int]:
    """`limit` indices of so many frames, evenly spread; all of them for 0 or a limit above their number."""
    if not 0 < limit < num_frames:
        return list(range(num_frames))
    return [i * num_frames // limit for i in range(limit)]


def _decoded(evaluation_set: EvaluationSet, indices: Sequence[int]) -> Iterator[tuple[int, LabelledImage | InputError]]:
    """Frames read ahead in a thread of their own; the error in place of one that cannot be read."""

    def read() -> Iterator[tuple[int, LabelledImage | InputError]]:
        for index in indices:
            try:
                yield index, evaluation_set.images[index]
            except InputError as error:
                yield index, error

    with closing(prefetched(read(), _READ_AHEAD)) as frames:
        yield from frames


def _judged(
    segmenter: Segmenter, evaluation_set: EvaluationSet, frame: LabelledImage, box: tuple[int, int] | None
) -> tuple[NDArray[np.int64], float]:
    start = time.perf_counter()
    labels = segmenter.segment([frame.image], box=box)[0].labels
    seconds = time.perf_counter() - start
    confusion = ConfusionMatrix(len(evaluation_set.class_names))
    confusion.add(evaluation_set.to_truth_classes[labels], frame.codes)
    return confusion.counts, seconds


def _earlier_scores(scores_file: Path | None, num_classes: int, processes: Processes) -> FrameScores:
    """What an interrupted run left, the same in every process, wherever its files can be seen."""
    seen = FrameScores(num_classes)
    if scores_file:
        for path in (scores_file, *_files_of_processes(scores_file)):
            if path.is_file():
                seen.merge(FrameScores.load(path))
        seen.unreadable.clear()  # the files may have been mended since
    scores = FrameScores(num_classes)
    for part in processes.gather(seen):
        scores.merge(part)
    if scores_file and scores.done:
        if processes.is_first:
            scores.save(scores_file)
        processes.gather(None)  # before any process writes over the file of its forerunner
    return scores


def _files_of_processes(scores_file: Path) -> list[Path]:
    return sorted(scores_file.parent.glob(f"{scores_file.stem}.[0-9]*{scores_file.suffix}"))
