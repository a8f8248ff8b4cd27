# SPDX-License-Identifier: Apache-2.0
"""Backends: what is passed to the compiler, kept, checked, refused, and gone on from. A stand-in compiler, no TensorRT."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.vltseg_core.runtime.networks import run_time_network, save_weights, small_config
from tests.vltseg_core.runtime.stand_in_compiler import StandInCompiler
from vltseg_core.config import preset
from vltseg_core.errors import ConfigurationError, DeviceError
from vltseg_core.runtime import BackendSettings, Segmenter, backends, engine_backend
from vltseg_core.runtime.agreement import agreement, require_agreement
from vltseg_core.runtime.build_engine import build_ahead
from vltseg_core.runtime.compile_backend import build_compiled
from vltseg_core.runtime.engine_cache import EngineCache
from vltseg_core.runtime.network_runner import ReadyBackend
from vltseg_core.runtime.run_time_network import NetworkShape, example_images
from vltseg_core.runtime.tensorrt_backend import TorchTensorrt

SIZE = (64, 96)
SHAPE = NetworkShape(2, *SIZE)
IMAGES = [np.random.default_rng(i).integers(0, 256, (80, 120, 3), np.uint8) for i in range(3)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_weights(small_config(), tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module", autouse=True)
def exported_once() -> Iterator[None]:
    """Every engine here is of the same weights, and exporting them takes most of a build."""
    programs: dict[Any, Any] = {}

    def exported(network: Any, shape: NetworkShape, *, gather_sampling: bool) -> Any:
        key = (shape, gather_sampling)
        if key not in programs:
            programs[key] = real(network, shape, gather_sampling=gather_sampling)
        return programs[key]

    real = engine_backend.exported
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_backend, "exported", exported)
        yield


@pytest.fixture(scope="module")
def built_once(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StandInCompiler, list[str]]:
    """A folder with one engine, the compiler that made it, and the steps that were told."""
    folder, compiler, steps = tmp_path_factory.mktemp("engines") / "own", StandInCompiler(), []
    build_ahead(weights, SHAPE, device="cpu", cache=EngineCache(folder), progress=steps.append, compiler=compiler)
    return folder, compiler, steps


@pytest.fixture
def engines(built_once: tuple[Path, StandInCompiler, list[str]], tmp_path: Path) -> Path:
    """A copy of that folder, to do harm to."""
    return Path(shutil.copytree(built_once[0], tmp_path / "engines"))


def settings(folder: Path, compiler: StandInCompiler, **changes: Any) -> BackendSettings:
    return replace(BackendSettings("tensorrt", batch_size=2, engine_cache=folder, compiler=compiler), **changes)


def load(weights: Path, backend: str | BackendSettings, **options: Any) -> Segmenter:
    return Segmenter.load(weights, device="cpu", backend=backend, **{"input_size": SIZE, **options})


def entry(engines: Path) -> Path:
    (found,) = (path for path in engines.iterdir() if path.is_dir())
    return found


def test_the_compiler_is_given_what_keeps_the_result_right(built_once: tuple[Path, StandInCompiler, list[str]]) -> None:
    folder, compiler, steps = built_once
    ((program, example, passed),) = compiler.compiled
    assert tuple(example.shape) == (2, 3, *SIZE)
    assert passed["attn_bias_is_causal"] is False and passed["decompose_attention"] is True
    assert passed["cache_built_engines"] is passed["reuse_cached_engines"] is False
    operators = {str(node.target) for node in program.graph.nodes}
    assert "aten.gather.default" in operators and "aten.grid_sampler.default" not in operators
    record = json.loads((entry(folder) / "engine.json").read_text())
    inference = preset("tiny").to_dict()["inference"]
    assert record["identity"]["config"]["inference"].keys() == inference.keys() - {"max_input_pixels"}
    assert record["identity"]["versions"]["driver"] == "550.54" and "100.00 % equal labels" in record["agreement"]
    assert [s.split()[0] for s in steps[1:]] == ["exporting", "building", "saving", "checking"]


def test_a_kept_engine_answers_as_the_network_does(weights: Path, engines: Path) -> None:
    compiler = StandInCompiler()
    segmenter = load(weights, settings(engines, compiler, allow_build=False))
    assert segmenter.describe().backend == "tensorrt" and compiler.compiled == []
    for images in (IMAGES[:1], IMAGES[:2], IMAGES):  # filled up, exact, in two batches
        for ours, plain in zip(segmenter.segment(images), load(weights, "eager").segment(images), strict=True):
            assert (ours.labels == plain.labels).mean() > 0.999


def test_operators_that_tensorrt_did_not_take_are_told(weights: Path, tmp_path: Path) -> None:
    compiler, steps = StandInCompiler(outside=("aten.nonzero.default",)), []
    build_ahead(weights, SHAPE, device="cpu", cache=EngineCache(tmp_path / "e"), progress=steps.append, compiler=compiler)
    segmenter = load(weights, settings(tmp_path / "e", compiler, allow_build=False))
    assert any("aten.nonzero" in step for step in steps)
    assert segmenter.describe().backend_reason.endswith("left to PyTorch: aten.nonzero.default")


def test_the_parts_that_torch_tensorrt_leaves_to_pytorch_are_found() -> None:
    taken, left = torch.fx.symbolic_trace(torch.nn.ReLU()), torch.fx.symbolic_trace(lambda x: torch.sigmoid(x))
    module = torch.nn.ModuleDict({"_run_on_acc_0": taken, "_run_on_gpu_1": left})
    (operator,) = TorchTensorrt().left_out(module)
    assert "sigmoid" in operator


def test_an_engine_is_not_built_for_weights_that_were_replaced_meanwhile(weights: Path, tmp_path: Path) -> None:
    mine, compiler = Path(shutil.copy(weights, tmp_path / "mine.safetensors")), StandInCompiler()
    segmenter = load(mine, settings(tmp_path / "e", compiler, build_later=True))
    save_weights(small_config(), tmp_path / "other.safetensors").replace(mine)
    with pytest.raises(DeviceError, match="not the one that was loaded"):
        segmenter.build_backend()
    assert not compiler.compiled and segmenter.describe().backend == "eager"


def test_auto_goes_on_whatever_a_compiler_raises(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*arguments: Any, **keywords: Any) -> Any:
        raise torch.OutOfMemoryError("no memory to check it")

    monkeypatch.setattr(backends, "build_compiled", no_memory)
    monkeypatch.setattr(backends, "_candidates", lambda settings, device: ("compile",))
    description = load(weights, "auto").describe()
    assert description.backend == "eager" and "no memory to check it" in description.backend_reason
    with pytest.raises(DeviceError, match="OutOfMemoryError: no memory"):
        load(weights, "compile")


def cut_short(folder: Path) -> None:
    path = folder / "engine.ep"
    path.write_bytes(path.read_bytes()[:-9])


def changed_record(folder: Path) -> None:
    record = json.loads((folder / "engine.json").read_text())
    record["identity"]["versions"]["driver"] = "1"
    (folder / "engine.json").write_text(json.dumps(record))


def broken_record(folder: Path) -> None:
    (folder / "engine.json").write_text("{")


def no_file(folder: Path) -> None:
    (folder / "engine.ep").unlink()


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (cut_short, "damaged: the file is not the one"),
        (changed_record, "another's: driver differ"),
        (broken_record, "record cannot be read"),
        (no_file, "is missing"),
        (shutil.rmtree, "no engine in"),
    ],
)
def test_what_is_damaged_or_foreign_is_never_loaded(weights: Path, engines: Path, harm: Any, sentence: str) -> None:
    harm(entry(engines))
    compiler = StandInCompiler()
    with pytest.raises(DeviceError, match=sentence) as raised:
        load(weights, settings(engines, compiler, allow_build=False))
    assert "allow_build is off: run 'vltseg build-engine'" in str(raised.value)
    assert compiler.loaded == [] and compiler.compiled == []


def test_a_damaged_engine_is_built_again_where_building_is_allowed(weights: Path, engines: Path) -> None:
    cut_short(entry(engines))
    compiler = StandInCompiler()
    assert load(weights, settings(engines, compiler)).describe().backend == "tensorrt"
    assert len(compiler.compiled) == 1


def test_an_engine_that_does_not_load_is_built_again_or_refused(weights: Path, engines: Path) -> None:
    class Broken(StandInCompiler):
        def load(self, path: Path, example: torch.Tensor) -> Any:
            if not self.compiled:
                raise OSError("another library's file")
            return super().load(path, example)

    with pytest.raises(DeviceError, match=r"does not load \(another library's file\), and allow_build is off"):
        load(weights, settings(engines, Broken(), allow_build=False))
    assert load(weights, settings(engines, Broken())).describe().backend == "tensorrt"


def test_what_failed_is_told_and_what_is_not_offered_is_not(
    weights: Path, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "_candidates", lambda settings, device: ("tensorrt",))
    cut_short(entry(engines))
    wanted = settings(engines, StandInCompiler(), backend="auto", build_later=True, allow_build=False)
    assert "damaged" in load(weights, wanted).build_backend()
    absent = settings(engines, StandInCompiler(why_unusable="there is no GPU"), backend="auto", build_later=True)
    segmenter = load(weights, absent)
    assert segmenter.build_backend() == "" and "there is no GPU" in segmenter.describe().backend_reason
    segmenter = load(weights, settings(engines, StandInCompiler(), backend="auto", build_later=True))
    build = segmenter._backend_build
    segmenter.close()
    assert build is not None and build.run(in_process=False) == ""  # cancelled: nobody wants to know


def test_another_driver_makes_another_engine_and_is_named(weights: Path, engines: Path) -> None:
    with pytest.raises(DeviceError, match=r"the nearest was built for another: driver\)"):
        load(weights, settings(engines, StandInCompiler(driver="560.1"), allow_build=False))


def test_a_folder_that_others_can_write_to_is_not_read(weights: Path, engines: Path) -> None:
    engines.chmod(0o777)
    compiler = StandInCompiler()
    with pytest.raises(DeviceError, match="others can change"):
        load(weights, settings(engines, compiler))
    assert compiler.loaded == []


def test_an_engine_that_says_another_thing_is_refused_and_not_kept(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"refused: .* % equal labels.* against the eager one"):
        load(weights, settings(tmp_path / "new", StandInCompiler(is_wrong=True)))
    assert [path.name for path in (tmp_path / "new").iterdir()] == [".lock"]


def test_numbers_that_are_none_agree_with_nothing() -> None:
    network = run_time_network(small_config())
    compiled = lambda images: tuple(output * float("nan") for output in network(images))  # noqa: E731
    found = agreement(network, compiled, SHAPE)
    assert found.equal_labels == 0 and found.confidence_error == float("inf")
    with pytest.raises(DeviceError, match="use precision bf16 or fp32"):
        require_agreement(network, compiled, SHAPE, precision="fp16")


def test_a_recording_that_always_gives_the_examples_answer_is_refused() -> None:
    network = run_time_network(small_config())
    with torch.inference_mode():
        recorded = network(example_images(SHAPE, network))
    with pytest.raises(DeviceError, match="the compiled network was refused"):
        require_agreement(network, lambda images: recorded, SHAPE, precision="fp32")


def test_a_cancelled_build_is_not_followed_by_the_next_candidate(
    weights: Path, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "_candidates", lambda settings, device: ("tensorrt", "compile"))
    monkeypatch.setattr(backends, "build_compiled", lambda *_, **__: pytest.fail("compiled for nobody"))
    cut_short(entry(engines))
    segmenter = load(weights, settings(engines, StandInCompiler(), backend="auto", build_later=True))
    build = segmenter._backend_build
    segmenter.close()
    assert build is not None and build.run(in_process=False) == ""


def test_auto_goes_on_to_the_next_and_says_why(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_candidates", lambda settings, device: ("tensorrt", "compile"))
    compiled = ReadyBackend("compile", "compiled", lambda images: (images,), SHAPE)
    monkeypatch.setattr(backends, "build_compiled", lambda network, shape, precision: compiled)
    said = load(weights, settings(tmp_path, StandInCompiler(why_unusable="there is no GPU"), backend="auto")).describe()
    assert (said.backend, said.backend_reason) == (
        "compile", "compiled; tensorrt: backend tensorrt cannot be used: there is no GPU",
    )  # fmt: skip

    def fail(network: Any, shape: Any, precision: str) -> ReadyBackend:
        raise DeviceError("no compiler")

    monkeypatch.setattr(backends, "build_compiled", fail)
    said = load(weights, settings(tmp_path, StandInCompiler(why_unusable="there is no GPU"), backend="auto")).describe()
    assert said.backend == "eager" and "there is no GPU" in said.backend_reason and "no compiler" in said.backend_reason


def test_a_backend_asked_for_by_name_fails_with_its_reason(weights: Path) -> None:
    with pytest.raises(DeviceError, match="TensorRT needs an NVIDIA GPU"):
        load(weights, "tensorrt")
    with pytest.raises(ConfigurationError, match="give an input size"):
        load(weights, "compile", input_size=None)


def test_auto_on_a_cpu_is_eager_unless_it_serves_for_long(weights: Path) -> None:
    said = load(weights, "auto").describe()
    assert said.backend == "eager" and "ask for onnxruntime or compile by name" in said.backend_reason
    assert "give an input size" in load(weights, "auto", input_size=None).describe().backend_reason
    segmenter = load(weights, BackendSettings(build_later=True))
    assert (
        segmenter.has_backend_to_build
        and segmenter.serves_meanwhile
        and segmenter.describe().backend_reason == "until onnxruntime is ready"
    )


def test_building_may_be_put_off_and_the_eager_network_serves_meanwhile(weights: Path, engines: Path) -> None:
    compiler = StandInCompiler()
    segmenter = load(weights, settings(engines, compiler, build_later=True))
    assert segmenter.has_backend_to_build and segmenter.describe().backend_reason == "until tensorrt is ready"
    before = segmenter.segment(IMAGES[:1])[0]
    segmenter.build_backend()
    assert segmenter.describe().backend == "tensorrt" and not segmenter.has_backend_to_build
    assert (segmenter.segment(IMAGES[:1])[0].labels == before.labels).mean() > 0.999


def test_an_engine_is_built_in_a_process_of_its_own_whose_last_words_are_passed_on(weights: Path, tmp_path: Path) -> None:
    segmenter = load(weights, settings(tmp_path / "none", StandInCompiler(), build_later=True))
    with pytest.raises(DeviceError, match="could not be built: no engine can be built here: TensorRT needs an NVIDIA GPU"):
        segmenter.build_backend()
    assert "tensorrt failed" in segmenter.describe().backend_reason


@pytest.mark.parametrize("with_text_queries", [False, True])
def test_a_compiled_network_is_checked(with_text_queries: bool) -> None:
    network = run_time_network(small_config(with_text_queries=with_text_queries))
    ready = build_compiled(network, SHAPE, precision="fp32", compiler="aot_eager")
    assert ready.name == "compile" and "100.00 % equal labels" in ready.reason


def test_a_compiler_that_fails_is_quoted() -> None:
    with pytest.raises(DeviceError, match=r"torch.compile failed \(.*no_such"):
        build_compiled(run_time_network(small_config()), SHAPE, precision="fp32", compiler="no_such_compiler")


def test_what_enters_the_network_is_the_image_or_its_window() -> None:
    assert backends.network_shape((1080, 1920), 0, 3) == (3, 1080, 1920)
    assert backends.network_shape((1080, 1920), 512, 3) == (3, 512, 512)
    assert backends.network_shape((400, 1920), 512, 1) == (1, 400, 512)
    assert backends.network_shape(None, 512, 1) == (1, 512, 512)
    assert backends.network_shape(None, 0, 1) is None
