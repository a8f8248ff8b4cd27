# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs to arrays and back. An image that cannot be trusted is rejected with a reason, never guessed at.

Images are uint8 [H, W, 3] RGB, labels and confidence uint8 [H, W].
"""

from __future__ import annotations

import array
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from vltseg_ros.image_decoding import decode
from vltseg_ros.rejected_image import MAX_PIXELS, RejectedImageError, check_size
from vltseg_ros.said_text import said

__all__ = ["MAX_PIXELS", "RejectedImageError", "from_labels", "from_rgb", "jpeg_from_rgb", "to_rgb"]


class _Layout(NamedTuple):
    """How an encoding lies in memory: bytes a sample, samples a pixel, OpenCV's conversion to RGB (None: as it is)."""

    sample_bytes: int
    samples: int
    to_rgb: int | None


_BAYER = {  # OpenCV's names, of any version, begin at the second row's second pixel
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_COLOUR = {
    "rgb": (3, None),
    "bgr": (3, cv2.COLOR_BGR2RGB),
    "rgba": (4, cv2.COLOR_RGBA2RGB),
    "bgra": (4, cv2.COLOR_BGRA2RGB),
    "mono": (1, cv2.COLOR_GRAY2RGB),
}
_LAYOUTS: dict[str, _Layout] = {
    **{f"{name}{8 * size}": _Layout(size, *kind) for name, kind in _COLOUR.items() for size in (1, 2)},
    **{f"bayer_{name}{8 * size}": _Layout(size, 1, code) for name, code in _BAYER.items() for size in (1, 2)},
    "8UC1": _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Layout(1, 3, cv2.COLOR_BGR2RGB),
    "8UC4": _Layout(1, 4, cv2.COLOR_BGRA2RGB),
    "16UC1": _Layout(2, 1, cv2.COLOR_GRAY2RGB),
    "16UC3": _Layout(2, 3, cv2.COLOR_BGR2RGB),
    **dict.fromkeys(("yuv422", "uyvy"), _Layout(1, 2, cv2.COLOR_YUV2RGB_UYVY)),
    **dict.fromkeys(("yuv422_yuy2", "yuyv"), _Layout(1, 2, cv2.COLOR_YUV2RGB_YUY2)),
    "nv12": _Layout(1, 1, cv2.COLOR_YUV2RGB_NV12),
    "nv21": _Layout(1, 1, cv2.COLOR_YUV2RGB_NV21),
}
_HALF_WIDTH_COLOUR = frozenset(("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"))
_HALF_HEIGHT_COLOUR = frozenset(("nv12", "nv21"))


def to_rgb(message: Image | CompressedImage, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The picture of an image message, uint8 [H, W, 3] RGB, contiguous.

    Rows may be padded (step > width x bytes a pixel). Of 16-bit samples the upper eight bits are kept. Raises
    RejectedImageError for a message whose size, step, data or encoding cannot be right, or that has over `max_pixels`.
    """
    if isinstance(message, CompressedImage):
        return decode(bytes(message.data), max_pixels=max_pixels)
    return _unpack(message, max_pixels)


def _unpack(message: Image, max_pixels: int) -> NDArray[np.uint8]:
    encoding, width, height = message.encoding, message.width, message.height
    check_size(width, height, max_pixels)
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        return _by_cv_bridge(message)
    odd = (encoding in _HALF_WIDTH_COLOUR and width % 2) or (encoding in _HALF_HEIGHT_COLOUR and height % 2)
    if odd:
        raise RejectedImageError("size", f"an image of {width}x{height} pixels cannot be {encoding}: it needs even sides")
    row_bytes = width * layout.samples * layout.sample_bytes
    num_rows = height * 3 // 2 if encoding in _HALF_HEIGHT_COLOUR else height
    if message.step < row_bytes:
        raise RejectedImageError(
            "step", f"step {message.step} is under the {row_bytes} bytes of a {encoding} row of {width} pixels: fix the driver"
        )
    samples = np.frombuffer(message.data, np.uint8)
    if samples.size < num_rows * message.step:
        raise RejectedImageError(
            "short data",
            f"{samples.size} bytes of data, expected {num_rows * message.step} ({num_rows} rows of step {message.step}): "
            "fix the driver",
        )
    rows = samples[: num_rows * message.step].reshape(num_rows, message.step)[:, :row_bytes]
    if layout.sample_bytes == 2:
        high_byte = 0 if message.is_bigendian else 1
        rows = rows[:, high_byte::2]
    pixels = np.ascontiguousarray(rows).reshape(num_rows, width, layout.samples)
    if layout.to_rgb is None:
        return pixels
    if encoding.startswith("bayer"):
        return _demosaic(pixels[..., 0], layout.to_rgb)
    return np.asarray(cv2.cvtColor(pixels, layout.to_rgb), np.uint8)


def _demosaic(mosaic: NDArray[np.uint8], code: int) -> NDArray[np.uint8]:
    """RGB of a colour filter mosaic uint8 [H, W]; one narrower than OpenCV interpolates is mirrored out first."""
    height, width = mosaic.shape
    bottom, right = (max(0, 4 - height) + height % 2), (max(0, 4 - width) + width % 2)
    if bottom or right:
        mosaic = np.pad(mosaic, ((0, bottom), (0, right)), mode="reflect" if min(height, width) > 2 else "wrap")
    return np.ascontiguousarray(cv2.cvtColor(mosaic, code)[:height, :width])


def _by_cv_bridge(message: Image) -> NDArray[np.uint8]:
    """Whatever else cv_bridge knows; where it took padding for pixels, the picture has another size, and is refused."""
    unknown = RejectedImageError(
        "encoding", f"encoding '{said(message.encoding)}' is not known here: publish rgb8, bgr8, mono8, bayer or yuv422"
    )
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError:
        raise unknown from None
    try:
        picture = CvBridge().imgmsg_to_cv2(message, "rgb8")
    except (CvBridgeError, ImportError, AttributeError, LookupError, ValueError, TypeError, RuntimeError, cv2.error):
        raise unknown from None
    if picture.shape != (message.height, message.width, 3) or picture.dtype != np.uint8:
        raise unknown
    return np.ascontiguousarray(picture)


def from_labels(header: Header, labels: NDArray[np.uint8]) -> Image:
    """Labels or confidence uint8 [H, W] as a mono8 image with this header."""
    return _image(header, labels, "mono8", 1)


def from_rgb(header: Header, picture: NDArray[np.uint8]) -> Image:
    """A picture uint8 [H, W, 3] as an rgb8 image with this header."""
    return _image(header, picture, "rgb8", 3)


def jpeg_from_rgb(header: Header, picture: NDArray[np.uint8], quality: int = 85) -> CompressedImage:
    """A picture uint8 [H, W, 3] RGB as a JPEG CompressedImage with this header."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return CompressedImage(header=header, format="jpeg", data=_payload(encoded))


def _image(header: Header, pixels: NDArray[np.uint8], encoding: str, channels: int) -> Image:
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding, step=width * channels)
    message.data = _payload(pixels)
    return message


def _payload(pixels: NDArray[Any]) -> array.array[int]:
    """The bytes as array.array, the one type that rclpy takes without checking every element."""
    payload = array.array("B")
    payload.frombytes(memoryview(np.ascontiguousarray(pixels)).cast("B"))
    return payload
