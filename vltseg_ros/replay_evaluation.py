# SPDX-License-Identifier: Apache-2.0
"""Goes once through a finished replay: compares masks with ground truth, draws overlays, writes the bag of results."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vltseg_core.errors import InputError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.html_page import Panel, PictureRow
from vltseg_core.evaluation.overlay import blend, side_by_side, with_caption, with_legend
from vltseg_core.evaluation.report import SectionResult
from vltseg_core.evaluation.video import VideoWriter
from vltseg_core.labels import CITYSCAPES
from vltseg_core.prefetch import prefetched
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_frames import FRAME_ID
from vltseg_ros.frame_source import FrameSource, SourceFrame
from vltseg_ros.ground_truth import CITYSCAPES_TRAIN_IDS, LabelFolder
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.replay import PlayedFrame

OVERLAYS_PER_SECTION = 4
WHOLE_SEQUENCE = "sequence"
_OVERLAY_JPEG_QUALITY = 85


class ReplayEvaluation:
    """One pass over what was played and recorded.

    sections: figures by part of the sequence, in the order of playing. pictures: rows for the report.
    unreadable: name and reason of each frame without a mask that cannot be decoded here either.
    truth_folder: ground truth beside the source, instead of any that the source itself carries.
    """

    def __init__(
        self,
        folder: OutputFolder,
        source: FrameSource,
        played: list[PlayedFrame],
        truth_folder: LabelFolder | None = None,
    ) -> None:
        self.sections: dict[str, SectionResult] = {}
        self.pictures: list[PictureRow] = []
        self.unreadable: list[str] = []
        self.space = truth_folder.space if truth_folder is not None else source.label_space
        self._folder = folder
        self._source = source
        self._played = played
        self._truth_folder = truth_folder
        self._kept, self._shown = _chosen_frames(played)
        self._newest_overlay: NDArray[np.uint8] | None = None

    def run(self, on_frame: Callable[[], object] = lambda: None) -> None:
        """Write result_bag, the overlays and the video from the recording; call `on_frame` after each frame."""
        self._folder.overlays.mkdir()
        frame_rate_hz = min(max(self._source.frame_rate_hz, 1.0), 60.0)
        with (
            _RecordedMasks(self._folder.recording) as masks,
            bags.BagWriter(self._folder.result_bag, compressed=True) as results,
            VideoWriter(self._folder.video, frame_rate_hz) as video,
            closing(prefetched(self._source.frames())) as frames,
        ):
            results.describe({"vltseg.drawn": str(self._source.drawn).lower()})
            for index, (frame, played) in enumerate(zip(frames, self._played, strict=False)):
                mask = masks.take(played.stamp_ns) if played.answered else None
                for message in self._source.archive(frame):
                    results.write(*message)
                picture = self._evaluate_frame(index, frame, played, mask, results)
                if picture is not None:
                    video.add(picture)
                on_frame()

    def _evaluate_frame(
        self,
        index: int,
        frame: SourceFrame,
        played: PlayedFrame,
        mask: bags.BagMessage | None,
        results: bags.BagWriter,
    ) -> NDArray[np.uint8] | None:
        """Count and keep one frame; gives its picture for the video, or None where there is none to see."""
        name = played.section or WHOLE_SEQUENCE
        section = self.sections.setdefault(name, SectionResult(name))
        section.latencies_ms.append(played.latency_ms)
        try:
            image = self._source.picture(frame)
        except InputError as error:
            if played.answered:
                raise
            self.unreadable.append(f"{frame.name}: {error}")
            return None
        time_s = (frame.time_ns - self._played[0].time_ns) / 1e9
        caption = f"{name}, {time_s:.2f} s"
        if mask is None:
            held = self._newest_overlay
            held = image if held is None or held.shape != image.shape else held
            return with_caption(side_by_side([image, held]), f"{caption}: no mask, the last one is shown")
        labels = bag_messages.labels_of(mask.cdr)
        _require_same_size(image, labels)
        overlay = blend(image, labels, CITYSCAPES)
        self._newest_overlay = overlay
        results.write(*mask)
        results.write(*_overlay_message(overlay, frame.stamp_ns, mask.time_ns))
        truth = self._truth(frame)
        if truth is not None:
            section.confusion = section.confusion or ConfusionMatrix(len(self.space.classes))
            section.confusion.add(self.space.from_cityscapes[labels], truth)
        if index in self._kept:
            panels = [Panel("camera image", image), Panel("labels over it", overlay)]
            if truth is not None:
                panels.append(Panel("ground truth", blend(image, truth, self.space.classes)))
            row = PictureRow(caption, tuple(panels))
            self._save(row, self._named(labels, truth), self._folder.overlays / f"{_file_name(name)}_{frame.name}.png")
            if index in self._shown:
                self.pictures.append(row)
        return with_caption(side_by_side([image, overlay]), f"{caption}: latency {played.latency_ms:.0f} ms")

    def _truth(self, frame: SourceFrame) -> NDArray[np.uint8] | None:
        if self._truth_folder is not None:
            return self._truth_folder.labels(frame.name)
        return self._source.truth(frame)

    def _named(self, labels: NDArray[np.uint8], truth: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        """Every label that a picture's legend must name, uint8 [any]."""
        if truth is None or self.space is not CITYSCAPES_TRAIN_IDS:
            return labels
        return np.union1d(labels, truth)

    def _save(self, row: PictureRow, labels: NDArray[np.uint8], path: Path) -> None:
        names = " | ".join(panel.name for panel in row.panels)
        picture = with_caption(side_by_side([panel.picture for panel in row.panels]), f"{row.caption}: {names}")
        Image.fromarray(with_legend(picture, labels, CITYSCAPES)).save(path)


class _RecordedMasks:
    """The masks of a recording by stamp, read on only as far as needed."""

    def __init__(self, path: Path) -> None:
        self._reader = bags.BagReader(path)
        self._unread: Iterator[bags.BagMessage] = self._reader.messages([bags.LABELS_TOPIC])
        self._early: dict[int, deque[bags.BagMessage]] = defaultdict(deque)

    def take(self, stamp_ns: int) -> bags.BagMessage:
        """The next mask with this stamp; raises InputError where the recording lacks it."""
        while not self._early[stamp_ns]:
            mask = next(self._unread, None)
            if mask is None:
                raise InputError(f"the recording lacks the mask of stamp {stamp_ns}: run the demo again")
            self._early[bag_messages.stamp_of(mask.cdr)].append(mask)
        return self._early[stamp_ns].popleft()

    def __enter__(self) -> _RecordedMasks:
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()


def _chosen_frames(played: list[PlayedFrame]) -> tuple[set[int], set[int]]:
    """Indexes of the answered frames whose overlays are kept as files, and of those that the report shows."""
    answered: dict[str, list[int]] = {}
    for index, frame in enumerate(played):
        if frame.answered:
            answered.setdefault(frame.section, []).append(index)
    kept: set[int] = set()
    shown: set[int] = set()
    for indexes in answered.values():
        count = min(OVERLAYS_PER_SECTION, len(indexes))
        places = ((np.arange(count) + 0.5) * len(indexes) / count).astype(int)
        spread = [indexes[place] for place in places]
        kept.update(spread)
        shown.update(spread if len(answered) == 1 else [spread[count // 2]])
    return kept, shown


def _overlay_message(overlay: NDArray[np.uint8], stamp_ns: int, time_ns: int) -> bags.BagMessage:
    encoded = BytesIO()
    Image.fromarray(overlay).save(encoded, "JPEG", quality=_OVERLAY_JPEG_QUALITY)
    cdr = bag_messages.compressed_image_message(encoded.getvalue(), "jpeg", stamp_ns, FRAME_ID)
    return bags.BagMessage(bags.OVERLAY_TOPIC, bag_messages.COMPRESSED_IMAGE_TYPE, time_ns, cdr)


def _require_same_size(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    if image.shape[:2] != labels.shape:
        raise InputError(
            f"the node answered an image of {image.shape[1]}x{image.shape[0]} pixels with a mask of "
            f"{labels.shape[1]}x{labels.shape[0]}: masks must have their image's size"
        )


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text)
