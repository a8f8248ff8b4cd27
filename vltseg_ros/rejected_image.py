# SPDX-License-Identifier: Apache-2.0
"""An image that is not segmented, with the reason that it is counted by, and the size up to which images are taken."""

from __future__ import annotations

from vltseg_core.errors import InputError

MAX_PIXELS = 8192 * 8192
"""Images with more pixels are rejected before anything is allocated for them, however many the node is told to take."""

MAX_SIDE_PX = 32767
"""So are those with a longer side, which OpenCV takes in some of its functions only (a JPEG has 65500 at most)."""


class RejectedImageError(InputError):
    """An image message that cannot be segmented. reason: a short key to count it by."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    """RejectedImageError for a size in pixels that is nothing, or too large."""
    max_pixels = min(max_pixels, MAX_PIXELS)
    if width == 0 or height == 0:
        raise RejectedImageError("size", f"an image of {width}x{height} pixels has nothing to segment: fix the driver")
    if width * height > max_pixels or max(width, height) > MAX_SIDE_PX:
        can_be_raised = width * height <= MAX_PIXELS and max(width, height) <= MAX_SIDE_PX
        remedy = "publish a smaller one" + ", or raise max_image_megapixels" * can_be_raised
        raise RejectedImageError(
            "size",
            f"an image of {width}x{height} pixels is over the limit of {max_pixels} pixels, {MAX_SIDE_PX} a side: {remedy}",
        )
