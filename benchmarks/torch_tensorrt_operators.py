# SPDX-License-Identifier: Apache-2.0
"""Which operators Torch-TensorRT converts, read from its wheel's source (which needs neither a GPU nor TensorRT to be read).

    pip download --no-deps torch-tensorrt==2.14.0 && python benchmarks/torch_tensorrt_operators.py torch_tensorrt-*.whl \
        -o tests/vltseg_core/runtime/torch_tensorrt_operators.json

tests/vltseg_core/runtime/test_converter_coverage.py holds the exported networks against what this writes.
"""

from __future__ import annotations

import argparse
import ast
import json
import zipfile
from pathlib import Path

CONVERSION = "torch_tensorrt/dynamo/conversion/"
CONVERTER_FILES = ("aten_ops_converters.py", "prims_ops_converters.py", "ops_evaluators.py")
GROUPS = "torch_tensorrt/dynamo/lowering/_decomposition_groups.py"
DECOMPOSITIONS = "torch_tensorrt/dynamo/lowering/_decompositions.py"


def operator_name(expression: ast.expr) -> str:
    """`aten.relu.default` for `torch.ops.aten.relu.default` or `aten.relu.default`."""
    return ast.unparse(expression).removeprefix("torch.ops.")


def converters(source: str) -> dict[str, str | None]:
    """Operators that have a converter, and the name of the check that decides node by node where there is one."""
    found: dict[str, str | None] = {}
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "dynamo_tensorrt_converter":
            validator = next((ast.unparse(k.value) for k in call.keywords if k.arg == "capability_validator"), None)
            name = operator_name(call.args[0])
            found[name] = validator if name not in found or found[name] is not None else None
    return found


def decomposed_by_itself(source: str) -> list[str]:
    """Operators for which it has a rewriting of its own."""
    names = {
        operator_name(call.args[0])
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("register_torch_trt_decomposition", "replace_inplace_op")
    }
    return sorted(names - {"aten_op"})


def decomposition_groups(source: str) -> dict[str, list[str]]:
    """Operators that torch's own decompositions are used for, and those that must not be decomposed."""
    groups = {}
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Set):
            groups[ast.unparse(statement.target)] = sorted(operator_name(e) for e in statement.value.elts)
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        found: dict[str, str | None] = {}
        for file_name in CONVERTER_FILES:
            found |= converters(wheel.read(CONVERSION + file_name).decode())
        groups = decomposition_groups(wheel.read(GROUPS).decode())
        own = decomposed_by_itself(wheel.read(DECOMPOSITIONS).decode())
    facts = {
        "torch_tensorrt": arguments.wheel.name.split("-")[1],
        "converters": dict(sorted(found.items())),
        "own_decompositions": own,
        "torch_decompositions": groups["torch_enabled_decompositions"],
        "kept_whole": groups["torch_disabled_decompositions"],
    }
    arguments.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"torch_tensorrt {facts['torch_tensorrt']}: {len(found)} operators with a converter, {len(own)} rewritten")


if __name__ == "__main__":
    main()
