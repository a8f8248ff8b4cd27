# SPDX-License-Identifier: Apache-2.0
"""Published checkpoints compute what the published network computes; anything else is refused with the reason.

tests/parity holds a small checkpoint in the published form with random weights, and what the published network computes
from it.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vltseg_core.checkpoints import native, published, published_keys
from vltseg_core.config import InferenceConfig
from vltseg_core.errors import CheckpointError
from vltseg_core.model.semantic_map import semantic_scores
from vltseg_core.model.vltseg import Vltseg

PARITY = Path(__file__).parents[2] / "parity"


@pytest.fixture(scope="module")
def network() -> Vltseg:
    return published.convert(PARITY / "mini.pth")


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(PARITY / "mini.npz") as arrays:
        return dict(arrays)


def normalised(network: Vltseg, image: np.ndarray) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.config.mean, network.config.std))
    return (torch.from_numpy(image).float() - mean) / std


def largest_relative_difference(found: torch.Tensor, expected: np.ndarray) -> float:
    return float(np.abs(found.numpy() - expected).max() / np.abs(expected).max())


def test_the_network_computes_what_the_published_one_does(
    network: Vltseg, reference: dict[str, np.ndarray], fidelity: Callable[[str, str, float], None]
) -> None:
    images = normalised(network, reference["image"])
    with torch.inference_mode():
        pyramid = network.feature_pyramid(network.image_encoder(images).feature_maps)
        prediction = network(images).predictions[-1]
        scores = semantic_scores(prediction, (112, 112))
    published_code = "published VLTSeg code"
    for part, found, expected in (
        ("image encoder and pyramid", pyramid[3], reference["feat3"]),
        ("class logits of the whole network", prediction.class_logits, reference["cls"]),
        ("mask logits of the whole network", prediction.mask_logits, reference["masks"]),
        ("semantic scores of the whole network", scores, reference["semantic"]),
    ):
        difference = largest_relative_difference(found, expected)
        fidelity(part, published_code, difference)
        assert difference < 1e-4, part
    assert np.allclose([float(m.mean()) for m in pyramid], reference["feats0_mean"], atol=1e-5)
    assert np.allclose(scores.numpy(), reference["semantic"], rtol=1e-4, atol=0)
    assert np.array_equal(scores.argmax(1).numpy(), reference["labels"])


def test_a_converted_checkpoint_survives_the_native_format(
    network: Vltseg, reference: dict[str, np.ndarray], tmp_path: Path
) -> None:
    native.save(network, tmp_path / "mini.safetensors", trained_on="random weights")
    restored = native.load(tmp_path / "mini.safetensors").network
    images = normalised(restored, reference["image"])
    with torch.inference_mode():
        assert torch.equal(network(images).predictions[-1].mask_logits, restored(images).predictions[-1].mask_logits)


@pytest.mark.parametrize("size", [(112, 224), (140, 98), (113, 87)])
def test_other_sizes_than_the_training_crop_are_taken(network: Vltseg, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        prediction = network(torch.randn(1, 3, *size)).predictions[-1]
    assert semantic_scores(prediction, size).shape == (1, 19, *size)
    assert torch.isfinite(prediction.mask_logits).all()


def test_every_key_of_the_full_size_network_is_understood() -> None:
    shapes = json.loads((PARITY / "published_checkpoint_keys.json").read_text())
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    config = published._configuration(tensors, Path("full.pth"))
    encoder = config.image_encoder
    assert (encoder.trained_size, encoder.tapped_blocks, encoder.overrides["num_heads"]) == (224, (9, 14, 19, 23), 16)
    assert (config.pixel_decoder.width, config.pixel_decoder.num_layers, config.pixel_decoder.num_heads) == (256, 6, 8)
    assert (config.mask_decoder.num_queries, config.mask_decoder.num_layers, config.mask_decoder.ffn_width) == (100, 9, 2048)
    with torch.device("meta"):
        expected = Vltseg(config).state_dict()
    converted = list(published_keys.renamed(tensors))
    assert {name: list(t.shape) for _, name, t in converted} == {name: list(t.shape) for name, t in expected.items()}
    assert {name: published_keys.published_key(name) for _, name, _ in converted} == {name: key for key, name, _ in converted}


@pytest.mark.parametrize(("grid", "crop_px", "step_px"), [(36, 512, 426), (73, 1024, 768), (16, 224, 0), (8, 112, 0)])
def test_the_training_crop_and_the_test_protocol_follow_from_the_position_embedding(
    grid: int, crop_px: int, step_px: int
) -> None:
    shapes = json.loads((PARITY / "published_checkpoint_keys.json").read_text())
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    tensors["backbone.pos_embed"] = torch.empty(1, grid * grid + 1, 1024, device="meta")
    config = published._configuration(tensors, Path("full.pth"))
    assert (config.crop_size, config.image_encoder.trained_size) == (crop_px, 14 * grid)
    assert config.inference == InferenceConfig(crop_px, step_px, antialias=False)


def test_what_is_left_of_a_crop_after_whole_patches_is_dropped_as_the_published_network_does(network: Vltseg) -> None:
    image = torch.randn(1, 3, 125, 117)
    with torch.inference_mode():
        maps = network.image_encoder(image).feature_maps
        cut = network.image_encoder(image[..., :112, :112]).feature_maps
    assert torch.equal(maps[3], cut[3])


def rewritten(tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    content = torch.load(PARITY / "mini.pth", weights_only=True)
    change(content["state_dict"])
    torch.save(content, tmp_path / "changed.pth")
    return tmp_path / "changed.pth"


def test_a_missing_and_an_unknown_key_are_listed(tmp_path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        del state["decode_head.pixel_decoder.mask_feature.bias"]
        state["backbone.extra"] = torch.zeros(1)

    with pytest.raises(CheckpointError, match=r"missing decode_head.pixel_decoder.mask_feature.bias; unknown backbone.extra$"):
        published.convert(rewritten(tmp_path, change))


def test_a_key_in_our_own_names_is_unknown_and_hides_none_of_the_file_s(tmp_path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        state["image_encoder.trunk.cls_token"] = torch.full_like(state["backbone.cls_token"], 7.0)

    with pytest.raises(CheckpointError, match=r"unknown image_encoder.trunk.cls_token$"):
        published.convert(rewritten(tmp_path, change))


def test_all_that_is_wrong_is_listed_by_the_file_s_own_keys(tmp_path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        for number in range(30):
            state[f"decode_head.extra_{number}"] = torch.zeros(1)
        key = "decode_head.transformer_decoder.layers.0.self_attn.attn.in_proj_weight"
        state[key] = state[key][:, :31]

    with pytest.raises(CheckpointError) as refused:
        published.convert(rewritten(tmp_path, change))
    assert all(f"unknown decode_head.extra_{number}" in str(refused.value) for number in range(30))
    assert "layers.0.self_attn.attn.in_proj_weight is [96, 31], expected [96, 32]" in str(refused.value)


def test_a_list_of_all_that_is_wrong_ends_somewhere(tmp_path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        state.update({f"decode_head.{'x' * 1000}\n{number}": torch.zeros(1) for number in range(500)})

    with pytest.raises(CheckpointError, match="and 450 more$") as refused:
        published.convert(rewritten(tmp_path, change))
    assert len(str(refused.value)) < 15_000 and str(refused.value).isprintable()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_taken(dtype: torch.dtype, tmp_path: Path, network: Vltseg) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        state.update({key: tensor.to(dtype) for key, tensor in state.items() if tensor.is_floating_point()})

    converted = published.convert(rewritten(tmp_path, change))
    weight = converted.mask_decoder.class_head.weight
    assert weight.dtype == torch.float32
    assert torch.allclose(weight, network.mask_decoder.class_head.weight, rtol=0.01, atol=1e-3)


SHAPES_THAT_FIT_NOTHING = {
    "decode_head.cls_embed.weight": (),
    "backbone.pos_embed": (65,),
    "decode_head.query_feat.weight": (12,),
    "backbone.patch_embed.proj.weight": (64, 3, 0, 0),
    "backbone.rope.freqs_cos": (64, 0),
    "decode_head.transformer_decoder.layers.0.self_attn.attn.in_proj_weight": (),
}


@pytest.mark.parametrize(("key", "shape"), SHAPES_THAT_FIT_NOTHING.items())
def test_shapes_that_fit_no_network_are_refused(key: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no published VLTSeg network"):
        published.convert(rewritten(tmp_path, lambda state: state.update({key: torch.zeros(shape)})))


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (torch.zeros(1).expand(2_000_000_000, 32), "but the file holds fewer numbers"),
        (torch.zeros(12, 32).to_sparse(), "is no plain array of real numbers"),
        (torch.zeros(12, 32, dtype=torch.complex64), "is no plain array of real numbers"),
        (torch.full((12, 32), torch.nan), "holds values that are no finite numbers"),
        ("a name", "is str, no tensor"),
    ],
)
def test_what_cannot_be_weights_is_refused_before_anything_of_its_size_is_made(
    tensor: torch.Tensor, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"decode_head.query_feat.weight .*{reason}"):
        published.convert(rewritten(tmp_path, lambda state: state.update({"decode_head.query_feat.weight": tensor})))


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    content = bytearray((PARITY / "mini.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot be read as plain weights: it is damaged"):
        published.convert(tmp_path / "flipped.pth")


def test_an_archive_that_unpacks_to_more_than_it_is_gets_refused_unread(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data/0", bytes(50_000_000))
    with pytest.raises(CheckpointError, match="cannot be read as plain weights"):
        published.convert(tmp_path / "bomb.pth")


def test_a_missing_rotary_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing backbone.blocks.2.attn.rope.freqs_sin$"):
        published.convert(rewritten(tmp_path, lambda state: state.__delitem__("backbone.blocks.2.attn.rope.freqs_sin")))


def test_objects_besides_weights_are_named(tmp_path: Path) -> None:
    content = torch.load(PARITY / "mini.pth", weights_only=True) | {"history": Path("a")}
    torch.save(content, tmp_path / "training.pth")
    with pytest.raises(CheckpointError, match=r"it holds objects that are no tensors \(pathlib"):
        published.convert(tmp_path / "training.pth")


def test_another_rotary_table_is_refused(tmp_path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        state["backbone.rope.freqs_cos"] = state["backbone.rope.freqs_cos"] + 0.1

    with pytest.raises(CheckpointError, match="backbone.rope.freqs_cos is another rotary table"):
        published.convert(rewritten(tmp_path, change))


def test_other_numbers_of_classes_are_refused(tmp_path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        state["decode_head.cls_embed.weight"] = torch.zeros(8, 32)

    with pytest.raises(CheckpointError, match=r"tells 7 classes apart, known are 19 \(cityscapes\), 11 \(camvid\)"):
        published.convert(rewritten(tmp_path, change))


class Bomb:
    """What a stranger's pickle may hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open, ("bomb_went_off",)


@pytest.mark.parametrize("kind", ["code", "truncated", "text", "empty", "list", "missing"])
def test_what_is_no_checkpoint_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "wrong.pth"
    if kind == "code":
        torch.save({"state_dict": {"weight": Bomb()}}, path)
    elif kind == "truncated":
        path.write_bytes((PARITY / "mini.pth").read_bytes()[:100_000])
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"shopping list")
    with pytest.raises(CheckpointError, match=r"wrong\.pth'"):
        published.convert(path)
    assert not (tmp_path / "bomb_went_off").exists()


def test_a_pickle_of_the_old_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    path.write_bytes(pickle.dumps({"state_dict": Bomb()}))
    with pytest.raises(CheckpointError, match="cannot be read as plain weights"):
        published.convert(path)


NUMBER = b"\x8a\x08" + struct.pack("<q", 2**40)  # of bytes: a machine without it says so, where nothing stops it before
HOSTILE_VALUES = {
    "builtins.bytearray": b"cbuiltins\nbytearray\n" + NUMBER + b"\x85R",
    "__builtin__.bytearray": b"c__builtin__\nbytearray\n" + NUMBER + b"\x85R",
    "torch.storage.UntypedStorage": b"ctorch.storage\nUntypedStorage\n" + NUMBER + b"\x85R",
    "torch.FloatTensor": b"ctorch\nFloatTensor\n" + NUMBER + b"\x85R",
    "torch._utils._rebuild_qtensor": b"ctorch._utils\n_rebuild_qtensor\n.",
    "_codecs.encode": b"c_codecs\nencode\nU\x04abcdX\x03\0\0\0hex\x86R",
}


@pytest.mark.parametrize("form", ["archive", "old"])
@pytest.mark.parametrize("name", HOSTILE_VALUES)
def test_a_pickle_that_asks_for_more_than_weights_need_is_refused_unread(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's restricted reader would call these: a kilobyte of file, and terabytes of memory."""
    pickled = b"\x80\x02}X\x01\0\0\0a" + HOSTILE_VALUES[name] + b"s."
    path = tmp_path / "hostile.pth"
    if form == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hostile/data.pkl", pickled)
            archive.writestr("hostile/version", "3\n")
    else:
        machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
        start = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, machine)]
        path.write_bytes(b"".join(start) + pickled + pickle.dumps([], 2))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(CheckpointError, match=rf"it holds objects that are no tensors \({name}\)"):
        published.convert(path)


def test_a_checkpoint_in_torch_s_old_form_is_taken(tmp_path: Path, network: Vltseg) -> None:
    content = torch.load(PARITY / "mini.pth", weights_only=True)
    torch.save(content, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    converted = published.convert(tmp_path / "old.pth").state_dict()
    assert all(torch.equal(converted[key], tensor) for key, tensor in network.state_dict().items())


def test_what_training_keeps_beside_the_weights_is_no_obstacle(tmp_path: Path) -> None:
    content = torch.load(PARITY / "mini.pth", weights_only=True)
    content |= {"schedule": Counter({3: 1}), "seen": {1, 2}, "meta": {"epoch": 3, "size": torch.Size([1]), "type": torch.float16}}
    content["frozen"] = torch.nn.Parameter(torch.zeros(1, dtype=torch.bool), requires_grad=False)
    torch.save(content, tmp_path / "training.pth")
    published.convert(tmp_path / "training.pth")


def test_a_pickle_larger_than_any_network_s_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.zeros(1)}, "log": "a" * 17 * 2**20}, tmp_path / "large.pth")
    with pytest.raises(CheckpointError, match="cannot be read as plain weights"):
        published.convert(tmp_path / "large.pth")
