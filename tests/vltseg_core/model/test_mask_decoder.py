# SPDX-License-Identifier: Apache-2.0
"""Masked attention: inside the mask only, everywhere where it is empty, in every precision."""

from __future__ import annotations

import pytest
import torch

from vltseg_core.model.mask_decoder import _attention_mask


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_query_attends_inside_its_mask_and_everywhere_where_it_is_empty(dtype: torch.dtype) -> None:
    mask_logits = torch.full((1, 2, 2, 2), -5.0, dtype=dtype)
    mask_logits[0, 0, 0, 0] = 5.0
    mask = _attention_mask(mask_logits)
    assert mask.dtype == dtype and torch.isfinite(mask).all()
    assert (mask[0, 0] == 0).tolist() == [True, False, False, False]
    assert (mask[0, 1] == 0).all()
    weights = mask.float().softmax(-1)
    assert weights[0, 0].tolist() == [1.0, 0.0, 0.0, 0.0]
