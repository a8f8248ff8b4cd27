# SPDX-License-Identifier: Apache-2.0
"""The segmenter that the node's parameters ask for, and the one that takes its place after a fault."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

from vltseg_core.runtime import BackendSettings, Segmenter
from vltseg_ros.parameters import NodeParameters
from vltseg_ros.recovery import Remedy

SegmenterFactory = Callable[..., Segmenter]
"""Takes what `Segmenter.load` takes."""


def load_segmenter(
    settings: NodeParameters, load: SegmenterFactory, *, eager_reason: str = "asked for", most_at_once: int = sys.maxsize
) -> tuple[Segmenter, float]:
    """The segmenter, warmed up, and the seconds of a pass; its compiled backend is left to be built later.

    eager_reason: see `BackendSettings`. most_at_once: of frames, where fewer fit than the settings say.

    Raises VltsegError with a sentence that says what to do.
    """
    batch_size = min(settings.max_batch_size, len(settings.camera_names), most_at_once)
    backend = BackendSettings(
        settings.backend,
        batch_size=batch_size,
        engine_cache=Path(settings.engine_cache).expanduser() if settings.engine_cache else None,
        allow_build=settings.allow_build,
        build_later=True,
        eager_reason=eager_reason,
    )
    segmenter = load(
        settings.checkpoint,
        device=settings.device,
        precision=settings.precision,
        backend=backend,
        input_size=settings.input_size,
        max_input_pixels=None if settings.max_input_pixels < 0 else settings.max_input_pixels,
        window_px=None if settings.window_px < 0 else settings.window_px,
    )
    return segmenter, segmenter.warm_up(batch_size=batch_size)


def load_anew(settings: NodeParameters, load: SegmenterFactory, remedy: Remedy) -> Segmenter:
    """A segmenter in place of one that failed: by the eager network, for a compiled one may be what failed.

    Raises what `load_segmenter` does.
    """
    precision = "fp32" if remedy.in_fp32 else settings.precision
    reason = f"loaded anew after a fault: configure the node again for backend {settings.backend}"
    eagerly = dataclasses.replace(settings, backend="eager", precision=precision)
    return load_segmenter(eagerly, load, eager_reason=reason, most_at_once=remedy.batch_size)[0]


def free(segmenter: Segmenter, say: Callable[[str], object]) -> None:
    """Free the device, as far as it lets itself be freed; what it raises is said, and keeps nothing else from its end."""
    try:
        segmenter.close()
    except Exception as error:  # whatever the libraries of a device that is gone raise
        say(f"the network could not be freed: {type(error).__name__}: {error}")
