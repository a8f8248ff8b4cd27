# SPDX-License-Identifier: Apache-2.0
"""Configurations survive the round trip through plain values, and mistakes name the nearest valid key."""

from __future__ import annotations

import json

import pytest

from vltseg_core.config import PRESETS, VltsegConfig, preset
from vltseg_core.errors import ConfigurationError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name: str) -> None:
    config = preset(name)
    assert VltsegConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown preset 'tinny': did you mean 'tiny'\?"):
        preset("tinny")


def test_an_unknown_key_in_a_section_names_the_nearest() -> None:
    fields = preset("tiny").to_dict()
    fields["pixel_decoder"]["widht"] = 64
    with pytest.raises(ConfigurationError, match=r"unknown key of PixelDecoderConfig 'widht': did you mean 'width'\?"):
        VltsegConfig.from_dict(fields)


def test_a_missing_section_is_said() -> None:
    fields = preset("tiny").to_dict()
    del fields["image_encoder"]
    with pytest.raises(ConfigurationError, match="image_encoder"):
        VltsegConfig.from_dict(fields)


def test_text_queries_need_class_embeddings() -> None:
    fields = preset("tiny").to_dict() | {"pixel_text": None}
    with pytest.raises(ConfigurationError, match="has text queries .* but no pixel_text"):
        VltsegConfig.from_dict(fields)


def test_weights_that_say_nothing_of_class_masks_have_none() -> None:
    fields = preset("tiny").to_dict()
    del fields["mask_decoder"]["class_masks"]
    decoder = VltsegConfig.from_dict(fields).mask_decoder
    assert decoder is not None and not decoder.class_masks
