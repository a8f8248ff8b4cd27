# SPDX-License-Identifier: Apache-2.0
"""Goes once through a finished replay: compares masks with ground truth, draws overlays, writes the bag of results."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vltseg_core.errors import InputError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.html_page import PictureRow
from vltseg_core.evaluation.overlay import blend, side_by_side, with_caption
from vltseg_core.evaluation.report import SectionResult
from vltseg_core.evaluation.video import VideoWriter
from vltseg_core.labels import CITYSCAPES
from vltseg_core.prefetch import prefetched
from vltseg_ros import bag_messages, bags
from vltseg_ros.answered_frame import AnsweredFrame, save_row
from vltseg_ros.bag_frames import FRAME_ID
from vltseg_ros.bag_topics import TRUTH_TOPIC_ENTRY
from vltseg_ros.frame_source import FrameSource, SourceFrame
from vltseg_ros.ground_truth import SPACE_ENTRIES, LabelFolder
from vltseg_ros.output_folder import OutputFolder
from vltseg_ros.recorded_answers import RecordedAnswer, RecordedAnswers
from vltseg_ros.replay_record import PlayedFrame

OVERLAYS_PER_SECTION = 4
WHOLE_SEQUENCE = "sequence"
_OVERLAY_JPEG_QUALITY = 85
_KEPT_ENTRIES = (TRUTH_TOPIC_ENTRY, *SPACE_ENTRIES, "vltseg.data_set", "vltseg.credit")
"""What the bag of results must say too, so that it can be evaluated as its source was."""


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
        self._num_answered = self._num_judged = 0
        self._unusable_truths: list[str] = []

    @property
    def truth_remarks(self) -> list[str]:
        """Sentences on ground truth that is there and was not used, and on frames that have none."""
        if self._truth_folder is None and self._source.truth_topic is None:
            return []
        remarks = []
        if self._unusable_truths:
            count = len(self._unusable_truths)
            remarks.append(f"{count} frames have ground truth that cannot be used, the first is {self._unusable_truths[0]}.")
        num_found = self._num_judged + len(self._unusable_truths)
        if num_found == 0 and self._truth_folder is None:
            topic = self._source.truth_topic
            remarks.append(f"The bag holds ground truth on {topic}, but no message has an answered frame's stamp.")
        elif num_found < self._num_answered:
            remarks.append(f"{num_found} of {self._num_answered} answered frames have ground truth.")
        return remarks

    def run(
        self,
        on_frame: Callable[[], object] = lambda: None,
        on_answered: Callable[[AnsweredFrame], object] = lambda answered: None,
    ) -> None:
        """Write result_bag, the overlays and the video from the recording.

        `on_frame` is called after each frame, `on_answered` with each one whose mask came back.
        """
        self._folder.overlays.mkdir()
        frame_rate_hz = min(max(self._source.frame_rate_hz, 1.0), 60.0)
        with (
            RecordedAnswers(self._folder.recording) as answers,
            bags.BagWriter(self._folder.result_bag, compressed=True) as results,
            VideoWriter(self._folder.video, frame_rate_hz) as video,
            closing(prefetched(self._source.frames())) as frames,
        ):
            told = {key: self._source.entries[key] for key in _KEPT_ENTRIES if key in self._source.entries}
            results.describe({**told, "vltseg.drawn": str(self._source.drawn).lower()})
            for index, (frame, played) in enumerate(zip(frames, self._played, strict=False)):
                answer = answers.take(played)
                for message in self._source.archive(frame):
                    results.write(*message)
                section = self.sections.setdefault(section_name(played), SectionResult(section_name(played)))
                section.latencies_ms.append(played.latency_ms)
                if answer is None:
                    picture = self._unanswered_picture(frame, played)
                else:
                    answered = self._answered(index, frame, played, answer)
                    self._keep(answered, section)
                    _write_answer(answered, answer, results)
                    picture = with_caption(
                        side_by_side([answered.image, answered.overlay]),
                        f"{answered.caption}: latency {played.latency_ms:.0f} ms",
                    )
                    on_answered(answered)
                if picture is not None:
                    video.add(picture)
                on_frame()

    def _unanswered_picture(self, frame: SourceFrame, played: PlayedFrame) -> NDArray[np.uint8] | None:
        """Its picture for the video, or None (noted) where there is none to see."""
        try:
            image = self._source.picture(frame)
        except InputError as error:
            self.unreadable.append(f"{frame.name}: {error}")
            return None
        held = self._newest_overlay
        held = image if held is None or held.shape != image.shape else held
        return with_caption(side_by_side([image, held]), f"{self._caption(played)}: no mask, the last one is shown")

    def _answered(self, index: int, frame: SourceFrame, played: PlayedFrame, answer: RecordedAnswer) -> AnsweredFrame:
        image = self._source.picture(frame)
        labels = bag_messages.labels_of(answer.mask.cdr)
        _require_same_size(image, labels)
        truth, confusion = self._judged(frame, labels)
        return AnsweredFrame(
            index=index,
            frame=frame,
            section=section_name(played),
            caption=self._caption(played),
            image=image,
            labels=labels,
            overlay=blend(image, labels, CITYSCAPES),
            confidence=bag_messages.labels_of(answer.confidence.cdr) if answer.confidence is not None else None,
            truth=truth,
            confusion=confusion,
        )

    def _keep(self, answered: AnsweredFrame, section: SectionResult) -> None:
        """Count the frame and keep its overlay, if it is one of the chosen."""
        self._newest_overlay = answered.overlay
        if answered.confusion is not None:
            section.confusion = section.confusion or ConfusionMatrix(len(self.space.classes))
            section.confusion.merge(answered.confusion)
        if answered.index in self._kept:
            row = answered.picture_row(self.space)
            save_row(row, answered.labels_to_name(self.space), self._folder.overlays / f"{answered.file_name}.png")
            if answered.index in self._shown:
                self.pictures.append(row)

    def _caption(self, played: PlayedFrame) -> str:
        time_s = (played.time_ns - self._played[0].time_ns) / 1e9
        return f"{section_name(played)}, {time_s:.2f} s"

    def _judged(self, frame: SourceFrame, labels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8] | None, ConfusionMatrix | None]:
        """The frame's ground truth and the comparison with it; None (noted) for one that cannot be used."""
        self._num_answered += 1
        confusion = ConfusionMatrix(len(self.space.classes))
        try:
            truth = self._truth(frame)
            if truth is None:
                return None, None
            confusion.add(self.space.from_cityscapes[labels], truth)
        except InputError as error:
            self._unusable_truths.append(f"{frame.name}: {error}")
            return None, None
        self._num_judged += 1
        return truth, confusion

    def _truth(self, frame: SourceFrame) -> NDArray[np.uint8] | None:
        if self._truth_folder is not None:
            return self._truth_folder.labels(frame.name)
        return self._source.truth(frame)


def section_name(played: PlayedFrame) -> str:
    """The frame's condition, or a name for a sequence that has none."""
    return played.section or WHOLE_SEQUENCE


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


def _write_answer(answered: AnsweredFrame, answer: RecordedAnswer, results: bags.BagWriter) -> None:
    results.write(*answer.mask)
    if answer.confidence is not None:
        results.write(*answer.confidence)
    encoded = BytesIO()
    Image.fromarray(answered.overlay).save(encoded, "JPEG", quality=_OVERLAY_JPEG_QUALITY)
    cdr = bag_messages.compressed_image_message(encoded.getvalue(), "jpeg", answered.frame.stamp_ns, FRAME_ID)
    results.write(bags.OVERLAY_TOPIC, bag_messages.COMPRESSED_IMAGE_TYPE, answer.mask.time_ns, cdr)


def _require_same_size(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    if image.shape[:2] != labels.shape:
        raise InputError(
            f"the node answered an image of {image.shape[1]}x{image.shape[0]} pixels with a mask of "
            f"{labels.shape[1]}x{labels.shape[0]}: masks must have their image's size"
        )
