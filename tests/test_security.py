# SPDX-License-Identifier: Apache-2.0
"""What could run foreign code is nowhere in the sources. Read from their syntax, so that nothing can be overlooked."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("vltseg_core", "vltseg_ros", "launch", "training", "benchmarks", "executables")
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {
    "os.system", "os.popen", "os.execvp", "subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp",
    "asyncio.create_subprocess_shell", "pty.spawn", "runpy.run_path", "ssl._create_unverified_context",
}  # fmt: skip
FORBIDDEN_MODULES = {"dill", "cloudpickle", "joblib", "shelve", "marshal", "pty", "telnetlib", "ftplib", "xmlrpc"}
UNPICKLERS = {f"{module}.{name}" for module in ("pickle", "_pickle") for name in ("load", "loads", "Unpickler")}


def sources() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    python = [path for path in found if path.suffix == ".py" or path.read_bytes()[:30].startswith(b"#!/usr/bin/env python")]
    assert len(python) > 150
    return [*python, ROOT / "setup.py"]


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    """Every call: where it is, its node, and what is called, by its dotted name."""
    for path in sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        aliases = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node, aliases.get(name, name)


def keyword(call: ast.Call, name: str) -> str:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), "")


def found(is_wrong: Callable[[ast.Call, str], bool]) -> list[str]:
    return [f"{place}: {ast.unparse(call)[:80]}" for place, call, name in calls() if is_wrong(call, name)]


def test_nothing_evaluates_text() -> None:
    assert found(lambda call, name: name in FORBIDDEN_NAMES | FORBIDDEN_CALLS) == []


def test_no_command_goes_through_a_shell() -> None:
    assert found(lambda call, name: keyword(call, "shell") not in ("", "False")) == []

    def is_text(call: ast.Call, name: str) -> bool:
        is_process = name in ("subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output")
        return is_process and isinstance(call.args[0] if call.args else None, (ast.Constant, ast.JoinedStr))

    assert found(is_text) == []


def test_nothing_is_unpickled() -> None:
    assert found(lambda call, name: name in UNPICKLERS) == []
    assert found(lambda call, name: keyword(call, "allow_pickle") not in ("", "False")) == []


def test_torch_files_are_read_as_plain_weights() -> None:
    assert found(lambda call, name: name == "torch.load" and keyword(call, "weights_only") != "True") == []
    assert found(lambda call, name: name in ("torch.jit.load", "torch.hub.load", "torch.package.PackageImporter")) == []


def test_engines_are_loaded_in_one_place_that_checks_whose_they_are() -> None:
    places = {place.partition(":")[0] for place, _, name in calls() if name == "torch_tensorrt.load"}
    assert places <= {"vltseg_core/runtime/tensorrt_backend.py"}
    assert "require_private" in (ROOT / "vltseg_core/runtime/engine_cache.py").read_text()


def test_yaml_makes_no_objects() -> None:
    def is_wrong(call: ast.Call, name: str) -> bool:
        loader = keyword(call, "Loader") or (ast.unparse(call.args[1]) if len(call.args) > 1 else "")
        unsafe = name in ("yaml.load", "yaml.load_all") and loader not in ("_PlainLoader", "yaml.SafeLoader")
        return unsafe or name in ("yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all", "yaml.full_load_all")

    assert found(is_wrong) == []
    assert "class _PlainLoader(yaml.SafeLoader)" in (ROOT / "vltseg_core/foreign_yaml.py").read_text()


def test_no_certificate_goes_unchecked() -> None:
    assert found(lambda call, name: keyword(call, "verify") == "False") == []
    assert found(lambda call, name: "CERT_NONE" in ast.unparse(call)) == []


def test_no_module_is_imported_that_runs_what_it_reads() -> None:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & FORBIDDEN_MODULES, path
