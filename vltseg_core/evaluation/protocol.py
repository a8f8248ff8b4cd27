# SPDX-License-Identifier: Apache-2.0
"""How images are shown to a network in an evaluation: windows, test size, test-time augmentation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vltseg_core.checkpoints import native
from vltseg_core.errors import ConfigurationError
from vltseg_core.evaluation.published_numbers import sources_of
from vltseg_core.runtime import InferenceAugmentation, SegmenterDescription
from vltseg_core.runtime.augmentation import LEADERBOARD, PLAIN
from vltseg_core.runtime.weights_path import weights_path

_SYNTHETIC = frozenset({"gta5", "synthia"})
_PUBLISHED_BOXES = {"cityscapes": (512, 1024), "mapillary": (512, 1024), "mapillary_rein": (512, 1024), "acdc": (540, 960)}
"""(height, width) in which networks of synthetic sources were tested; all else is tested at full resolution."""

PUBLISHED_SIZE, FULL_SIZE = "published", "full"


@dataclass(frozen=True)
class Protocol:
    """What the user asked for.

    window: "whole", "slide" (the checkpoint's own windows, else its training crop), a side in pixels, or "" for what
    the checkpoint was published with. size: "published" (as the checkpoint is used otherwise, where no size was published),
    "full" or WIDTHxHEIGHT to fit images to. with_tta: test-time augmentation at scales 1.0 to 2.25 and flip.
    """

    window: str = ""
    size: str = PUBLISHED_SIZE
    with_tta: bool = False

    def __post_init__(self) -> None:
        if self.window not in ("", "whole", "slide") and not (self.window.isdecimal() and int(self.window) >= 32):
            raise ConfigurationError(f"unknown window '{self.window}': use whole, slide, or a side of 32 pixels or more")
        if self.size not in (PUBLISHED_SIZE, FULL_SIZE):
            _parsed_size(self.size)

    @property
    def augmentation(self) -> InferenceAugmentation:
        """The views to average."""
        return LEADERBOARD if self.with_tta else PLAIN

    def window_px(self, checkpoint: str) -> int | None:
        """The window of `Segmenter.load` for this checkpoint; CheckpointError where there is none such."""
        if self.window == "whole":
            return 0
        if self.window == "slide":
            config, _ = native.read_header(weights_path(checkpoint))
            return config.inference.window_px or config.crop_size
        return int(self.window) if self.window else None

    @property
    def max_input_pixels(self) -> int | None:
        """That of `Segmenter.load`: the checkpoint's own limit, none at full size."""
        return 0 if self.size == FULL_SIZE else None

    def box(self, target: str, trained_on: str) -> tuple[int, int] | None:
        """The (height, width) that a target's images are fitted to, None for their own as far as the checkpoint takes it."""
        if self.size == FULL_SIZE:
            return None
        if self.size != PUBLISHED_SIZE:
            return _parsed_size(self.size)
        sources = sources_of(trained_on)
        return _PUBLISHED_BOXES.get(target) if sources and sources <= _SYNTHETIC else None


def protocol_in_words(description: SegmenterDescription, box: tuple[int, int] | None) -> str:
    """For example "windows of 512 px, step 426, images at 1024x512, no TTA"."""
    window, augmentation = description.window, description.augmentation
    step = f", step {window.step}" if window else ""
    parts = [f"windows of {window.size_px} px{step}" if window else "whole images"]
    most = description.max_input_pixels
    own = f"images of at most {most / 1e6:.2f} megapixels" if most else "full resolution"
    parts.append(f"images at {box[1]}x{box[0]}" if box else own)
    views = "and flip" if augmentation.flip else "without flip"
    scales = ", ".join(f"{scale:g}" for scale in augmentation.scales)
    parts.append("no TTA" if augmentation == PLAIN else f"TTA at scales {scales} {views}")
    return ", ".join(parts)


def _parsed_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,5})x(\d{2,5})", text)
    if not match or min(int(match[1]), int(match[2])) < 32:
        raise ConfigurationError(f"unknown test size '{text}': use published, full or WIDTHxHEIGHT, 32 pixels or more a side")
    return int(match[2]), int(match[1])
