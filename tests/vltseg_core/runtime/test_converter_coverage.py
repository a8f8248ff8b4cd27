# SPDX-License-Identifier: Apache-2.0
"""Every operator of the exported networks has a converter in Torch-TensorRT 2.14, whose list lies beside this file.

benchmarks/torch_tensorrt_operators.py made the list from the wheel's source. TensorRT itself is not needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._decomp import get_decompositions
from torch._export.utils import _collect_all_valid_cia_ops_for_aten_namespace, _get_decomp_for_cia
from torch.export import ExportedProgram

from tests.vltseg_core.runtime.networks import run_time_network, short_config
from vltseg_core.config import PRESETS
from vltseg_core.runtime.run_time_network import NetworkShape, exported

FACTS = json.loads((Path(__file__).parent / "torch_tensorrt_operators.json").read_text(encoding="utf-8"))
SHAPE = NetworkShape(1, 112, 140)
NO_WORK = {"aten._assert_tensor_metadata.default", "<built-in function getitem>"}
"""Removed by its lowering pass remove_assert_nodes, or no operator."""
POOLING = "aten.max_pool2d_with_indices.default"
"""Made max_pool2d by its pass replace_max_pool_with_indices where nobody reads the indices."""


def names(operator: Any) -> set[str]:
    """An operator's name with and without its overload, as the list may have either."""
    name = str(operator)
    return {name, name.rpartition(".")[0]}


def lowered(program: ExportedProgram) -> ExportedProgram:
    """Decomposed as `torch_tensorrt.dynamo.compile` does before it asks for converters; what it rewrites itself is left."""
    untouched = set(FACTS["own_decompositions"]) | set(FACTS["kept_whole"])
    operators = []
    for name in FACTS["torch_decompositions"]:
        found: Any = torch.ops
        for part in name.split("."):
            found = getattr(found, part)
        operators.append(found)
    table = dict(get_decompositions(operators))
    for operator in _collect_all_valid_cia_ops_for_aten_namespace():
        table[operator] = _get_decomp_for_cia(operator)
    return program.run_decompositions({op: how for op, how in table.items() if not names(op) & untouched})


def unsupported(program: ExportedProgram) -> list[str]:
    """The operators that it would leave to PyTorch, each once."""
    known = set(FACTS["converters"]) | set(FACTS["own_decompositions"]) | NO_WORK
    targets = {
        node.target
        for node in lowered(program).graph.nodes
        if node.op == "call_function" and not (str(node.target) == POOLING and all(user.args[1] == 0 for user in node.users))
    }
    return sorted(str(target) for target in targets if not names(target) & known)


def test_the_list_is_that_of_the_version_that_the_code_is_written_for() -> None:
    assert FACTS["torch_tensorrt"].startswith("2.14.")
    assert len(FACTS["converters"]) > 200
    assert "aten._upsample_bicubic2d_aa.vec" not in FACTS["converters"]  # so something can be missing


@pytest.mark.parametrize(
    ("preset", "gather_sampling"),
    [
        ("eva02_clip_l", True),
        ("eva02_clip_l", False),
        ("eva02_clip_l_text_queries", True),
        ("eva02_clip_l_encoder_only", True),
    ],
)
def test_every_operator_of_eva02_l_has_a_converter(preset: str, gather_sampling: bool) -> None:
    network = run_time_network(short_config(preset))
    assert unsupported(exported(network, SHAPE, gather_sampling=gather_sampling)) == []


def test_every_operator_of_tiny_has_a_converter() -> None:
    assert unsupported(exported(run_time_network(PRESETS["tiny"]), NetworkShape(1, 64, 96), gather_sampling=True)) == []


def test_an_operator_without_a_converter_is_found() -> None:
    class Odd(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(images)

    assert unsupported(torch.export.export(Odd(), (torch.zeros(2),))) == ["aten.special_bessel_j0.default"]
