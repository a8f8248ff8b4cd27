# SPDX-License-Identifier: Apache-2.0
"""The packages look one way. Read from the source, so that nothing has to be imported to know."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROS = ("rclpy", "cv_bridge", "launch", "launch_ros", "rosbags", "rosbag2_py", "ament_index_python", "rcl_interfaces")


@cache
def modules() -> dict[str, Path]:
    """Every module of the two packages by its dotted name."""
    found = {}
    for package in ("vltseg_core", "vltseg_ros"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str, *, at_import: bool = False) -> frozenset[str]:
    """What a module imports, wherever in it; at_import: only what importing it runs."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    if at_import:
        later = [
            n
            for n in nodes
            if isinstance(n, ast.FunctionDef) or (isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
        ]
        inner = {id(node) for outer in later for node in ast.walk(outer)}
        nodes = [n for n in nodes if id(n) not in inner]
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def importers(prefix: str, within: str) -> set[str]:
    """Modules under `within` that import something under `prefix`."""
    return {
        module
        for module in modules()
        if (module + ".").startswith(within + ".") and any((name + ".").startswith(prefix + ".") for name in imports(module))
    }


def test_the_core_imports_no_ros() -> None:
    for module in modules():
        if module.startswith("vltseg_core"):
            roots = {name.partition(".")[0] for name in imports(module)}
            assert not roots & {*ROS, "vltseg_ros"}, module
            assert not [root for root in roots if root.endswith("_msgs")], module


def test_the_ros_package_sees_neither_torch_nor_the_network() -> None:
    assert importers("torch", "vltseg_ros") == set()
    assert importers("vltseg_core.model", "vltseg_ros") == set()


def test_the_runtime_needs_neither_training_nor_data() -> None:
    assert importers("vltseg_core.training", "vltseg_core.runtime") == set()
    assert importers("vltseg_core.data", "vltseg_core.runtime") == set()


def test_open_clip_is_imported_in_the_two_encoders_alone() -> None:
    assert importers("open_clip", "vltseg_core") == {"vltseg_core.model.image_encoder", "vltseg_core.model.text_encoder"}
    assert importers("open_clip", "vltseg_ros") == set()


def test_there_are_no_cycles() -> None:
    graph = {m: {name for name in imports(m, at_import=True) if name in modules()} for m in modules()}
    finished: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in finished:
            for imported in graph[module]:
                visit(imported, (*path, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


def test_a_vehicle_that_loads_a_network_imports_no_open_clip() -> None:
    program = (
        "import sys; from vltseg_core.runtime import Segmenter; Segmenter.load('tiny', device='cpu');"
        "print([m for m in ('open_clip', 'transformers', 'vltseg_core.training') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_launch_is_no_package_that_hides_ros_s_own() -> None:
    assert not list((ROOT / "launch").rglob("__init__.py"))


def test_importing_the_packages_loads_nothing_heavy() -> None:
    program = (
        "import sys, vltseg_core, vltseg_ros, vltseg_ros.cli; print([m for m in ('torch', 'rclpy', 'cv2') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"
