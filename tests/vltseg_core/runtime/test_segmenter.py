# SPDX-License-Identifier: Apache-2.0
"""The one door: any image in, labels and confidence of its size out, and one clear sentence for what cannot work."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from vltseg_core.checkpoints import native, published
from vltseg_core.data.demo_scenes import DemoSequence
from vltseg_core.errors import CheckpointError, ConfigurationError, DeviceError, InputError
from vltseg_core.evaluation.confusion import ConfusionMatrix
from vltseg_core.model.mask_decoder import MaskPrediction
from vltseg_core.runtime import Segmenter
from vltseg_core.runtime.describe import describe_network
from vltseg_core.runtime.network_runner import NetworkRunner
from vltseg_core.runtime.weights_path import weights_path


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter.load("tiny", device="cpu")


def scene(size: tuple[int, int] = (180, 240), seed: int = 5_000_000) -> np.ndarray:
    return DemoSequence(seed, image_size=size).frame(30).image


def test_sizes_may_differ_and_results_keep_their_order(segmenter: Segmenter) -> None:
    images = [scene((120, 160)), scene((97, 131)), scene((120, 160), seed=5_000_001)]
    results = segmenter.segment(images)
    for image, result in zip(images, results, strict=True):
        assert result.labels.shape == result.confidence.shape == image.shape[:2]
        assert result.labels.dtype == result.confidence.dtype == np.uint8
        assert result.labels.max() < 19
        alone = segmenter.segment([image])[0]
        assert (alone.labels == result.labels).mean() > 0.999
        assert np.abs(alone.confidence.astype(int) - result.confidence).max() <= 1


def test_a_cpu_takes_large_batches_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter.load("tiny", device="cpu", input_size=(300, 400))
    batches: list[int] = []
    predict = NetworkRunner.__call__

    def counted(self: NetworkRunner, images: torch.Tensor) -> MaskPrediction:
        batches.append(len(images))
        return predict(self, images)

    monkeypatch.setattr(NetworkRunner, "__call__", counted)
    images = [scene((90, 120), seed=5_000_000 + i) for i in range(7)]
    together = segmenter.segment(images)
    assert batches == [3, 3, 1]  # 120,000 pixels each
    for image, result in zip(images, together, strict=True):
        assert (segmenter.segment([image])[0].labels == result.labels).mean() > 0.999


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 900), (33, 31)])
def test_images_of_any_shape_are_taken(segmenter: Segmenter, size: tuple[int, int]) -> None:
    result = segmenter.segment([np.full((*size, 3), 90, np.uint8)])[0]
    assert result.labels.shape == result.confidence.shape == size


def test_the_bundled_weights_know_a_street(segmenter: Segmenter) -> None:
    confusion = ConfusionMatrix(19)
    for seed in range(5_000_000, 5_000_004):
        frame = DemoSequence(seed).frame(20)
        confusion.add(segmenter.segment([frame.image])[0].labels, frame.labels)
    assert confusion.pixel_accuracy() > 0.9


def test_confidence_is_higher_where_the_labels_are_right(segmenter: Segmenter) -> None:
    frame = DemoSequence(5_000_002).frame(20)
    result = segmenter.segment([frame.image])[0]
    right = result.labels == frame.labels
    assert result.confidence[right].mean() > result.confidence[~right].mean() + 20


def test_an_input_size_changes_the_work_and_not_the_result_s_size() -> None:
    image = scene((360, 480))
    small = Segmenter.load("tiny", device="cpu", input_size=(180, 240))
    result = small.segment([image])[0]
    assert result.labels.shape == (360, 480)
    assert small.describe().input_size == (180, 240)


def test_windows_that_cover_the_image_agree_with_the_whole_image(segmenter: Segmenter) -> None:
    image = scene((160, 320))
    slid = Segmenter.load("tiny", device="cpu", window_px=160).segment([image])[0]
    whole = segmenter.segment([image])[0]
    assert slid.labels.shape == (160, 320)
    assert (slid.labels == whole.labels).mean() > 0.7
    large_window = Segmenter.load("tiny", device="cpu", window_px=320).segment([image])[0]
    assert np.array_equal(large_window.labels, whole.labels)


def test_warm_up_and_description(segmenter: Segmenter) -> None:
    assert 0 < segmenter.warm_up((64, 96)) < 60
    description = segmenter.describe()
    assert description.preset == "tiny" and description.device.startswith("cpu") and description.precision == "fp32"
    assert description.num_parameters <= 6e6 and "CamVid" in description.trained_on
    assert segmenter.memory_bytes() > 10_000_000


def test_a_closed_segmenter_says_so() -> None:
    segmenter = Segmenter.load("tiny", device="cpu")
    segmenter.close()
    segmenter.close()
    with pytest.raises(DeviceError, match="closed: load a new one"):
        segmenter.segment([scene()])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (np.zeros((4, 4), np.uint8), r"uint8 \[height, width, 3\] RGB, not uint8 \[4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), "not float32"),
        (np.zeros((0, 4, 3), np.uint8), "4x0 pixels has nothing to segment"),
        ("picture.png", "not str"),
    ],
)
def test_what_is_no_image_is_refused(segmenter: Segmenter, wrong: object, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        segmenter.segment([wrong])  # type: ignore[list-item]  # wrong on purpose


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"device": "gpu"}, ConfigurationError, "unknown device 'gpu': use auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:77"}, DeviceError, "'cuda:77' is not there"),
        ({"device": "cpu", "precision": "fp16"}, DeviceError, "fp16 needs a GPU"),
        ({"precision": "int8"}, ConfigurationError, "unknown precision 'int8'"),
        ({"backend": "onnx"}, ConfigurationError, "unknown backend 'onnx'"),
        ({"input_size": (8, 640)}, ConfigurationError, "use 32 pixels or more"),
    ],
)
def test_what_this_machine_cannot_do_is_said(options: dict[str, object], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        Segmenter.load("tiny", **options)  # type: ignore[arg-type]  # mixed types


def test_a_preset_without_weights_and_an_unknown_name_are_said() -> None:
    with pytest.raises(CheckpointError, match="'eva02_clip_l' has no weights in this package"):
        Segmenter.load("eva02_clip_l")
    with pytest.raises(CheckpointError, match=r"'big' is neither a file nor a preset.*\(tiny\)"):
        Segmenter.load("big")


def test_a_file_that_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.safetensors"
    path.write_text("shopping list")
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        Segmenter.load(path)


def test_a_published_file_must_be_converted_first(tmp_path: Path) -> None:
    path = tmp_path / "acdc.pth"
    torch.save({"state_dict": {}}, path)
    next_step = re.escape(f"run 'vltseg convert {path} -o {tmp_path / 'acdc.safetensors'}' first")
    with pytest.raises(CheckpointError, match=f"is no safetensors file .*: {next_step}"):
        Segmenter.load(path)
    with pytest.raises(CheckpointError, match=next_step):
        describe_network(str(path), (64, 64))


def test_a_file_without_suffix_is_a_file_and_no_name_s_rival(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("weights", "tiny"):
        Path(name).write_text("shopping list")
    with pytest.raises(CheckpointError, match="'weights' is no safetensors file"):
        Segmenter.load("weights")
    assert weights_path("tiny").name == "tiny.safetensors"


def test_labels_do_not_depend_on_the_number_of_threads(segmenter: Segmenter) -> None:
    image = scene()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    single = segmenter.segment([image])[0].labels
    torch.set_num_threads(threads)
    assert (single == segmenter.segment([image])[0].labels).mean() > 0.999


def test_a_published_checkpoint_is_used_by_its_published_protocol_unless_told_otherwise(tmp_path: Path) -> None:
    network = published.convert(Path(__file__).parents[2] / "parity" / "mini.pth")
    native.save(network, tmp_path / "mini.safetensors", trained_on="random weights")
    image = np.random.default_rng(0).integers(0, 256, (112, 200, 3), np.uint8)

    def scores(**settings: int) -> np.ndarray:
        return Segmenter.load(tmp_path / "mini.safetensors", device="cpu", **settings).segment([image])[0].confidence

    assert np.array_equal(scores(), scores(window_px=112))
    assert not np.array_equal(scores(), scores(window_px=0))


def test_the_score_map_s_nearest_texts_are_mostly_the_labels(segmenter: Segmenter) -> None:
    image = scene((360, 480))
    match = segmenter.match_text([image])[0]
    assert match.labels.shape == match.confidence.shape == image.shape[:2]
    assert (match.labels == segmenter.segment([image])[0].labels).mean() > 0.7


@pytest.mark.parametrize("size", [(96, 160), (89, 153)])
def test_the_nearest_text_of_the_dense_embedding_is_what_matching_says(size: tuple[int, int]) -> None:
    segmenter = Segmenter.load("tiny", device="cpu")
    image = scene((96, 160))[: size[0], : size[1]]
    dense, texts = segmenter.embed(image), segmenter.class_embeddings
    assert dense.shape[0] == texts.shape[1] == 384
    lengths = np.linalg.norm(dense, axis=0) * np.linalg.norm(texts, axis=1)[:, None, None]
    similarity = np.einsum("dhw,kd->khw", dense, texts) / lengths
    middle = similarity.argmax(0)
    match = segmenter.match_text([image])[0].labels
    at_centres = match[4::8, 4::8]  # stride 8; the centres of a last row and column may lie outside
    assert (at_centres == middle[: at_centres.shape[0], : at_centres.shape[1]]).mean() > 0.95


def test_a_network_without_text_has_no_score_map(tmp_path: Path) -> None:
    network = published.convert(Path(__file__).parents[2] / "parity" / "mini.pth")
    native.save(network, tmp_path / "mini.safetensors", trained_on="random weights")
    with pytest.raises(ConfigurationError, match="has no pixel-text matching, so there is no score map"):
        Segmenter.load(tmp_path / "mini.safetensors", device="cpu").match_text([scene()])


def test_all_masks_at_once_gives_the_same_labels(tmp_path: Path) -> None:
    network = published.convert(Path(__file__).parents[2] / "parity" / "mini.pth")
    native.save(network, tmp_path / "mini.safetensors", trained_on="random weights")
    ways = [Segmenter.load(tmp_path / "mini.safetensors", device="cpu", whole_masks=whole) for whole in (False, True)]
    banded, whole = (segmenter.segment([scene((300, 400))])[0] for segmenter in ways)
    assert (banded.labels == whole.labels).mean() >= 0.999
    assert np.abs(banded.confidence.astype(int) - whole.confidence).max() <= 1


def test_a_published_checkpoint_is_found_by_its_name_once_it_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLTSEG_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="'acdc_1' is not here yet: run 'vltseg fetch acdc_1' first"):
        Segmenter.load("acdc_1", device="cpu")
    network = published.convert(Path(__file__).parents[2] / "parity" / "mini.pth")
    native.save(network, tmp_path / "acdc_1.safetensors", trained_on="random weights")
    assert Segmenter.load("acdc_1", device="cpu").describe().preset == "custom"


@pytest.mark.parametrize("size", [(1, 1), (5, 200), (27, 40), (113, 90)])
def test_a_transformer_takes_images_smaller_than_its_patches(size: tuple[int, int], tmp_path: Path) -> None:
    network = published.convert(Path(__file__).parents[2] / "parity" / "mini.pth")
    native.save(network, tmp_path / "mini.safetensors", trained_on="random weights")
    segmenter = Segmenter.load(tmp_path / "mini.safetensors", device="cpu")
    image = scene((120, 220))[: size[0], : size[1]]
    first, second = segmenter.segment([image, image])
    assert first.labels.shape == size and np.array_equal(first.labels, second.labels)


def test_matching_s_confidence_is_the_softmax_at_the_network_s_temperature(segmenter: Segmenter) -> None:
    image = scene((96, 160))
    dense, texts = segmenter.embed(image), segmenter.class_embeddings
    lengths = np.linalg.norm(dense, axis=0) * np.linalg.norm(texts, axis=1)[:, None, None]
    exponent = np.einsum("dhw,kd->khw", dense, texts) / lengths / 0.07
    odds = np.exp(exponent - exponent.max(0))
    expected = 255 * (odds / odds.sum(0)).max(0)
    # Four pixels lie around a place's centre, and an even mix of theirs is the place's own, up to what is curved between.
    found = segmenter.match_text([image])[0].confidence.astype(float)
    stride = 96 // dense.shape[1]
    around = sum(found[y::stride, x::stride] for y in (stride // 2 - 1, stride // 2) for x in (stride // 2 - 1, stride // 2)) / 4
    assert np.abs(around - expected).mean() < 3
