# SPDX-License-Identifier: Apache-2.0
"""A file is read whole, or it is named."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vltseg_core.data.image_files import damage, read_image, read_labels, read_png_16
from vltseg_core.errors import InputError

PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8), (0, 0), 4)


def encoded(suffix: str, *options: int) -> bytes:
    return cv2.imencode(suffix, PICTURE[..., ::-1], options)[1].tobytes()


def test_a_png_is_read_to_the_pixel_and_a_jpeg_nearly(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png"))
    (tmp_path / "a.jpg").write_bytes(encoded(".jpg"))
    assert np.array_equal(read_image(tmp_path / "a.png"), PICTURE)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - PICTURE).mean() < 4


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_picture_cut_off_anywhere_is_named(suffix: str, tmp_path: Path) -> None:
    content = encoded(suffix)
    for length in (*range(0, len(content) - 2, 97), len(content) - 2):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(InputError, match=r"image '.*cut' is damaged"):
            read_image(tmp_path / "cut")


def test_a_progressive_jpeg_is_whole_only_after_its_last_scan() -> None:
    content = encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert content.count(b"\xff\xda") > 1
    assert damage(content) == "" and damage(content + b"camera maker's own bytes") == ""
    assert "cut off" in damage(content[: content.rfind(b"\xff\xda")]) and "cut off" in damage(content[:-2])


def test_the_end_of_an_embedded_preview_is_not_the_pictures() -> None:
    content, preview = encoded(".jpg"), encoded(".jpg", cv2.IMWRITE_JPEG_QUALITY, 20)
    with_preview = content[:2] + b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview + content[2:]
    assert damage(with_preview) == "" and "cut off" in damage(with_preview[:-300])


def test_a_jpeg_whose_end_was_never_written_is_cut_off() -> None:
    content = encoded(".jpg")
    assert "cut off" in damage(content[: len(content) // 2] + bytes(len(content) // 2))


def test_one_wrong_byte_in_a_png_is_noticed() -> None:
    content = encoded(".png")
    for place in range(16, len(content), 211):
        changed = bytearray(content)
        changed[place] ^= 0x10
        assert damage(bytes(changed)), place


def test_labels_of_any_one_channel_png_are_its_values(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    grey, coloured = Image.fromarray(values), Image.fromarray(values)
    coloured.putpalette(bytes(range(255, -1, -1)) * 3)
    for picture in (grey, coloured):
        picture.save(tmp_path / "labels.png")
        assert np.array_equal(read_labels(tmp_path / "labels.png"), values)


def test_labels_in_colour_or_16_bits_are_refused(tmp_path: Path) -> None:
    for values in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint16)):
        cv2.imwrite(str(tmp_path / "labels.png"), values)
        with pytest.raises(InputError, match="expected one 8-bit channel"):
            read_labels(tmp_path / "labels.png")


def test_a_missing_file_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"image '.*no.png' cannot be read \(No such file"):
        read_image(tmp_path / "no.png")


def test_16_bits_stay_as_they_are(tmp_path: Path) -> None:
    values = np.array([[0, 1, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "depth.png"), values)
    assert np.array_equal(read_png_16(tmp_path / "depth.png"), values)
