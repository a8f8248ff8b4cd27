# SPDX-License-Identifier: Apache-2.0
"""What a run over a sequence gave: figures for results.json and a self-contained HTML page.

N is the number of frames that were played, K the number of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from vltseg_core.evaluation.charts import bar_chart, latency_chart
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.evaluation.html_page import PictureRow, page_template
from vltseg_core.labels import ClassTable


@dataclass
class SectionResult:
    """One part of the sequence, for example one weather condition, or a user's whole video."""

    name: str
    latencies_ms: list[float] = field(default_factory=list)
    """Publishing to receipt of the mask, frame by frame in the order of playing; NaN where no mask came back."""
    confusion: ConfusionMatrix | None = None
    """Over the answered frames that have a ground truth; None where there is none at all."""

    @property
    def num_frames(self) -> int:
        """Frames that were published."""
        return len(self.latencies_ms)

    @property
    def num_answered(self) -> int:
        """Frames whose mask came back."""
        return int(np.count_nonzero(~np.isnan(self.latencies_ms)))

    @property
    def num_dropped(self) -> int:
        """Frames without a mask."""
        return self.num_frames - self.num_answered

    def latency_ms(self, percentile: float) -> float:
        """A percentile (0 to 100) of the latency over the answered frames in milliseconds; NaN without any."""
        answered = np.asarray(self.latencies_ms)[~np.isnan(self.latencies_ms)]
        return float(np.percentile(answered, percentile)) if answered.size else float("nan")

    @property
    def mean_iou(self) -> float:
        """Mean IoU, 0..1; NaN without ground truth."""
        return self.confusion.mean_iou() if self.confusion is not None else float("nan")


@dataclass(frozen=True)
class RunReport:
    """Everything that the page and results.json say."""

    title: str
    source: str
    """What was played, in words."""
    drawn: bool
    """Whether the frames are drawn scenes rather than pictures of a camera."""
    classes: ClassTable
    """The classes that IoU is taken over."""
    overlay_classes: ClassTable
    """The classes whose colours the overlays show."""
    sections: tuple[SectionResult, ...]
    playing_s: float
    """From the first frame's publishing to the last frame's, plus one frame interval, in seconds."""
    network: tuple[tuple[str, str], ...]
    """Label and value: checkpoint, what it was trained on, device, precision, backend."""
    machine: tuple[tuple[str, str], ...]
    """Label and value: processor, cores, system, versions."""
    pictures: tuple[PictureRow, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    """Path relative to the page, and what it is."""
    remarks: tuple[str, ...] = ()
    """Sentences that a reader must see, for example why frames have no mask."""

    @property
    def total(self) -> SectionResult:
        """All sections as one: latencies in a row, confusion pooled over all pixels."""
        total = SectionResult("all")
        for section in self.sections:
            total.latencies_ms += section.latencies_ms
            if section.confusion is not None:
                total.confusion = total.confusion or ConfusionMatrix(section.confusion.num_classes)
                total.confusion.merge(section.confusion)
        return total

    @property
    def has_truth(self) -> bool:
        """Whether any section was compared with a ground truth."""
        return any(section.confusion is not None for section in self.sections)

    @property
    def frame_rate_in_hz(self) -> float:
        """Frames published a second."""
        return self.total.num_frames / self.playing_s if self.playing_s else float("nan")

    @property
    def frame_rate_out_hz(self) -> float:
        """Masks received a second."""
        return self.total.num_answered / self.playing_s if self.playing_s else float("nan")


def results(report: RunReport) -> dict[str, Any]:
    """The figures as plain JSON values; what is not known (no ground truth, no answer) is None."""
    return {
        "source": report.source,
        "drawn_not_photographed": report.drawn,
        "playing_s": round(report.playing_s, 3),
        "frame_rate_in_hz": _number(report.frame_rate_in_hz),
        "frame_rate_out_hz": _number(report.frame_rate_out_hz),
        "classes": list(report.classes.names),
        "all": _section_results(report.total, report.classes),
        "sections": {section.name: _section_results(section, report.classes) for section in report.sections},
        "network": dict(report.network),
        "machine": dict(report.machine),
        "remarks": list(report.remarks),
    }


def render_html(report: RunReport) -> str:
    """The page: one file with its pictures and charts inside, light and dark, for narrow and wide windows."""
    total = report.total
    columns = (*report.sections, total) if len(report.sections) > 1 else (total,)
    counts = [(section.name, section.num_frames) for section in report.sections]
    return page_template("report.html.j2").render(
        title=report.title,
        report=report,
        total=total,
        columns=columns,
        class_rows=_class_rows(columns, report.classes) if report.has_truth else [],
        miou_chart=Markup(bar_chart([(s.name, s.mean_iou) for s in columns], "mean IoU by section")),
        latency_chart=Markup(latency_chart(np.asarray(total.latencies_ms), counts, "latency of each frame")),
    )


def _section_results(section: SectionResult, classes: ClassTable) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "frames_in": section.num_frames,
        "frames_answered": section.num_answered,
        "frames_dropped": section.num_dropped,
        "latency_median_ms": _number(section.latency_ms(50)),
        "latency_p95_ms": _number(section.latency_ms(95)),
    }
    if section.confusion is not None:
        iou = section.confusion.iou().tolist()
        figures["frames_evaluated"] = section.confusion.num_images
        figures["mean_iou"] = _number(section.confusion.mean_iou())
        figures["pixel_accuracy"] = _number(section.confusion.pixel_accuracy())
        figures["iou"] = {name: _number(value) for name, value in zip(classes.names, iou, strict=True)}
    return figures


def _class_rows(columns: Sequence[SectionResult], classes: ClassTable) -> list[tuple[str, tuple[int, int, int], list[float]]]:
    """Name, colour and IoU by column of every class that occurs in any ground truth."""
    missing = np.full(len(classes), np.nan)
    table = [column.confusion.iou() if column.confusion is not None else missing for column in columns]
    rows = [(c.name, c.colour, [float(iou[c.train_id]) for iou in table]) for c in classes.classes]
    return [row for row in rows if not np.isnan(row[2]).all()]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
