# SPDX-License-Identifier: Apache-2.0
"""Where samples come from: sources by name and split, their weights, rare classes, and files that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vltseg_core.data.labelled_images import LabelledImage
from vltseg_core.data.transforms import Augmentation
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.labels import IGNORE
from vltseg_core.training.datamodule import SourcesDataModule
from vltseg_core.training.rare_classes import RareClasses
from vltseg_core.training.training_samples import MixedSources, Source, Variety
from vltseg_core.training.unreadable_files import UnreadableFiles


class Flat:
    """Images of one code each; those in `broken` cannot be read."""

    def __init__(self, codes: list[int], broken: tuple[int, ...] = ()) -> None:
        self._codes, self._broken = codes, broken

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, index: int) -> LabelledImage:
        if index in self._broken:
            raise InputError(f"image {index} cannot be read")
        return LabelledImage(np.full((16, 16, 3), 90, np.uint8), np.full((16, 16), self._codes[index], np.uint8))


def mixed(*sources: Source, seed: int = 0, variety: Variety = Variety()) -> MixedSources:  # noqa: B008  # frozen
    return MixedSources(sources, Augmentation(8), variety=variety, seed=seed)


def code_of(samples: MixedSources, number: int) -> int:
    return int(samples[number].codes.flatten()[0])


def test_sources_are_drawn_by_their_weights() -> None:
    samples = mixed(Source(Flat([1]), 3.0), Source(Flat([2]), 1.0))
    codes = [code_of(samples, number) for number in range(400)]
    assert abs(codes.count(1) / 400 - 0.75) < 0.07


def test_things_are_pasted_into_their_share_of_the_samples() -> None:
    road, car = 0, 13
    sources = (Source(Flat([road]), 1.0), Source(Flat([car]), 1.0))
    plain, pasted = (mixed(*sources, variety=Variety(paste=share)) for share in (0.0, 0.5))
    share_of_cars = [np.mean([code_of(samples, number) == car for number in range(400)]) for samples in (plain, pasted)]
    assert abs(share_of_cars[0] - 0.5) < 0.07  # half of the roads' half gets the other sample, half of that a car
    assert abs(share_of_cars[1] - 0.625) < 0.07


@pytest.mark.parametrize("kind", ["style", "weather", "camera"])
def test_so_many_pictures_are_varied_as_the_share_says_and_no_labels(kind: str) -> None:
    plain, varied = (mixed(Source(Flat([13]), 1.0), variety=Variety(**{kind: share})) for share in (0.0, 0.5))
    pairs = [(plain[number], varied[number]) for number in range(120)]
    assert all(torch.equal(one.codes, other.codes) for one, other in pairs)
    assert 0.3 < np.mean([not torch.equal(one.images, other.images) for one, other in pairs]) < 0.7


def test_a_broken_file_is_named_and_another_drawn_in_its_place_the_same_every_time() -> None:
    images = Flat([0, 1, 2, 3], broken=(2,))
    samples = [mixed(Source(images, 1.0))[number] for number in range(40)]
    again = [mixed(Source(images, 1.0))[number] for number in range(40)]
    failed = [sample for sample in samples if sample.failures]
    assert failed and all(set(sample.failures) == {"image 2 cannot be read"} for sample in failed)
    assert all((sample.codes != IGNORE).all() for sample in samples)
    assert all(torch.equal(a.codes, b.codes) and a.seeds == b.seeds for a, b in zip(samples, again, strict=True))
    whole = [mixed(Source(Flat([0, 1, 2, 3]), 1.0))[number] for number in range(40)]
    unchanged = [torch.equal(a.codes, b.codes) for a, b in zip(samples, whole, strict=True) if not a.failures]
    assert all(unchanged)


def test_a_run_ends_only_where_most_draws_fail(capsys: pytest.CaptureFixture[str]) -> None:
    trainer, module = SimpleNamespace(), SimpleNamespace()
    few = UnreadableFiles()
    for number in range(60):
        few.on_train_batch_start(trainer, module, mixed(Source(Flat([0] * 10, broken=(3,)), 1.0))[number], number)
    assert 0 < few.num_failed < 20 and list(few.named) == ["image 3 cannot be read"]
    assert capsys.readouterr().out == "skipped: image 3 cannot be read\n"
    most = UnreadableFiles()
    with pytest.raises(InputError, match=r"of \d+ draws could not be read, the last because image \d cannot be read"):
        for number in range(60):
            most.on_train_batch_start(trainer, module, mixed(Source(Flat([0] * 4, broken=(0, 1, 2)), 1.0))[number], number)
    restored = UnreadableFiles()
    restored.load_state_dict(few.state_dict())
    assert (restored.num_draws, restored.num_failed) == (few.num_draws, few.num_failed) and restored.named == few.named


def test_a_corrupt_file_is_skipped_in_training_and_validation(
    train: Callable[..., int], recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from conftest import write_camvid

    from vltseg_core.training.command_line import run

    root = write_camvid(tmp_path / "broken")
    for split in ("train", "val"):
        path = root / split / "images/0016E5_00002.png"
        path.write_bytes(path.read_bytes()[:100])
    assert run([str(recipe), "--data", f"camvid={root}", "--output", str(tmp_path / "run"), "--trainer.max_steps=4"]) == 0
    said = capsys.readouterr().out
    for split in ("train", "val"):
        assert said.count(f"{root / split}/images/0016E5_00002.png") == 1
    assert "skipped 2 files that could not be read, named above" in said


def test_rare_classes_are_drawn_by_daformer_s_formula_from_images_that_show_them() -> None:
    counts = np.zeros((4, 24), np.int64)
    counts[:, 0], counts[1, 5], counts[2, 5], counts[3, 7] = 90_000, 5_000, 10, 5_000
    rare = RareClasses(counts, temperature=0.1)
    shares = counts.sum(0)[[0, 5, 7]] / counts.sum()
    expected = np.exp((1 - shares) / 0.1)
    assert rare.codes.tolist() == [0, 5, 7] and np.allclose(rare.probabilities, expected / expected.sum())
    draws = [rare.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert {draw.image for draw in draws if draw.code == 5} == {1}  # image 2 shows too little of it
    assert {draw.image for draw in draws if draw.code == 7} == {3}


def test_a_data_set_s_rare_classes_are_counted_once_and_drawn(
    camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLTSEG_CACHE", str(tmp_path))
    data = SourcesDataModule({"camvid": str(camvid)}, rare_class_temperature=0.01, image_size=None, crop_size=48)
    data.prepare_data()
    data.setup("fit")
    (source,) = data._drawn_sources()
    assert source.rare_classes is not None
    labels = [source.images[number].codes for number in range(len(source.images))]
    totals = np.bincount(np.concatenate([image[image != IGNORE] for image in labels]), minlength=24)
    rarest = min(np.flatnonzero(totals), key=lambda code: totals[code])
    assert source.rare_classes.codes[source.rare_classes.probabilities.argmax()] == rarest
    samples = mixed(source)
    assert samples[0].codes.shape == (1, 8, 8)


def test_a_set_that_is_trained_on_is_measured_on_only_where_there_is_no_other(camvid: Path, tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).symlink_to(camvid / "train" / kind)
    roots = {"gta5": str(tmp_path)}
    alone, held_out = (
        SourcesDataModule(roots),
        SourcesDataModule({"gta5:train_without_val": str(tmp_path)}, {"camvid": str(camvid)}),
    )
    targeted = SourcesDataModule(roots, {"camvid": str(camvid)})
    trained_on_val = SourcesDataModule({"gta5:val": str(tmp_path)}, {"camvid": str(camvid)})
    of_each = ((alone, ["gta5"]), (held_out, ["gta5", "camvid"]), (targeted, ["camvid"]), (trained_on_val, ["camvid"]))
    for data, expected in of_each:
        data.setup("fit")
        assert list(data.evaluation_sets) == expected


def test_two_folders_of_one_data_set_are_both_measured_on(camvid: Path, tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(camvid)
    data = SourcesDataModule({"camvid:train_day": str(camvid), "camvid:train_dusk": str(tmp_path / "again")})
    data.setup("fit")
    assert list(data.evaluation_sets) == ["camvid", "camvid:train_dusk"]


def test_a_crop_shows_the_wanted_class() -> None:
    codes = np.zeros((64, 256), np.uint8)
    codes[:, 240:] = 7
    codes[::2, :] = 1
    augment = Augmentation(64)
    image = LabelledImage(np.zeros((64, 256, 3), np.uint8), codes)
    shown = [(augment(image, np.random.default_rng(seed), wanted_code=7).codes == 7).any() for seed in range(40)]
    by_chance = [(augment(image, np.random.default_rng(seed)).codes == 7).any() for seed in range(40)]
    assert sum(shown) > 2 * sum(by_chance)


def test_images_are_brought_to_one_size_and_then_varied_in_scale() -> None:
    image = LabelledImage(np.zeros((50, 100, 3), np.uint8), np.zeros((50, 100), np.uint8))

    def labelled_px(augment: Augmentation, seed: int) -> int:
        return int((augment(image, np.random.default_rng(seed)).codes != IGNORE).sum())

    assert labelled_px(Augmentation(600, image_size=(200, 120)), 0) == 200 * 120
    varied = [labelled_px(Augmentation(600, image_size=(200, 120), scales=(0.5, 2.0)), seed) for seed in range(20)]
    assert min(varied) >= 100 * 60 and max(varied) <= 400 * 240 and len(set(varied)) > 10


def test_splits_weights_and_targets_go_by_the_names_given(camvid: Path) -> None:
    data = SourcesDataModule(
        {"camvid:train_day": str(camvid)}, {"camvid:train": str(camvid)}, {"camvid": 0.5, "kitti": 1.0}, num_workers=0
    )
    assert data.source_names == ["camvid:train_day"] and data.left_out == ["kitti"]
    data.setup("fit")
    assert list(data.evaluation_sets) == ["camvid", "camvid:train"]
    assert data.evaluation_sets["camvid"].conditions[0] == "day"


@pytest.mark.parametrize(
    ("roots", "weights", "sentence"),
    [
        ({"camvit": "/nowhere"}, {}, "unknown data set 'camvit': did you mean 'camvid'?"),
        ({}, {"camvid": 1.0}, "there is nothing to train on: add --data camvid=FOLDER"),
        ({"camvid": "/nowhere"}, {"camvid": 0.0}, "there is nothing to train on"),
    ],
)
def test_sources_that_are_none_are_said(roots: dict[str, str], weights: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        SourcesDataModule(roots, None, weights)
    assert sentence in str(error.value)
