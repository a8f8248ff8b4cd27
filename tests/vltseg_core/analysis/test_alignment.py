# SPDX-License-Identifier: Apache-2.0
"""Two drawn domains from pixels to page, with `tiny` before and after its training."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vltseg_core.analysis import alignment
from vltseg_core.analysis.alignment import AlignmentReport, AlignmentSettings, analyse_alignment
from vltseg_core.analysis.alignment_picture import draw, project, render_html
from vltseg_core.analysis.domain_samples import Domain, class_groups, sample
from vltseg_core.analysis.networks import network_before, trained_network
from vltseg_core.checkpoints import native
from vltseg_core.data.labelled_images import PLANTS, VEHICLE, LabelledImage
from vltseg_core.errors import CheckpointError, ConfigurationError, InputError
from vltseg_core.labels import CITYSCAPES
from vltseg_core.runtime import Segmenter

ROAD, CAR, TRUCK, SKY = (CITYSCAPES.names.index(name) for name in ("road", "car", "truck", "sky"))


class Striped:
    """Small images whose upper half is sky and lower half road, of one brightness."""

    def __init__(self, num_images: int, brightness: int, broken: int = -1) -> None:
        self._num_images, self._brightness, self._broken = num_images, brightness, broken

    def __len__(self) -> int:
        return self._num_images

    def __getitem__(self, index: int) -> LabelledImage:
        if index == self._broken:
            raise InputError(f"image {index} is torn")
        codes = np.full((32, 48), SKY, np.uint8)
        codes[16:] = ROAD
        image = np.repeat(codes[..., None], 3, axis=2) + np.uint8(self._brightness)
        return LabelledImage(image, codes)


@pytest.fixture(scope="module")
def report() -> AlignmentReport:
    settings = AlignmentSettings(("demo:clear", "demo:night"), "random", "tiny", max_images=6, points_per_class=12, device="cpu")
    return analyse_alignment(settings)


def test_training_brings_the_classes_of_two_domains_together(report: AlignmentReport) -> None:
    for key in ("silhouette", "cross_domain_silhouette", "nearest_text_0", "nearest_text_1"):
        assert report.score(key).change.low > 0, key
    assert report.score("nearest_text_0").after.value > 0.5
    assert report.score("domain_separability").change.value < 0
    assert any("nearer to their own class" in sentence for sentence in report.sentences)


def test_both_networks_see_images_as_large_as_the_trained_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def made(*given: Any, **options: Any) -> Segmenter:
        seen.append(Segmenter(*given, **options).describe().max_input_pixels)
        return Segmenter(*given, **options)

    monkeypatch.setattr(alignment, "Segmenter", made)
    settings = AlignmentSettings(("demo:clear", "demo:night"), "random", "tiny", max_images=6, points_per_class=4, device="cpu")
    analyse_alignment(settings)
    assert seen == [540 * 960] * 2


def test_the_figures_are_plain_json_with_every_class(report: AlignmentReport) -> None:
    figures = report.to_json()
    assert figures["domains"] == ["demo:clear", "demo:night"] and figures["images"] == 12
    assert set(figures["scores"]["silhouette"]) == {"before", "after", "change"}
    assert set(figures["by_class"]["silhouette"]) == set(figures["classes"]) >= {"road", "sky"}


def test_the_picture_shows_both_networks_and_every_class_s_text(report: AlignmentReport) -> None:
    picture = ET.fromstring(draw(report))
    space = "{http://www.w3.org/2000/svg}"
    words = ["".join(text.itertext()) for text in picture.iter(f"{space}text")]
    assert "Before: random" in words and "After: tiny" in words and "demo:night" in words
    stars = list(picture.iter(f"{space}polygon"))
    assert len(stars) == 2 * len(report.sample.groups) + 1  # each panel's, and the legend's
    for group in report.sample.groups:
        assert words.count(group.name) == 3  # both panels and the legend
    page = render_html(report)
    assert "<svg" in page and "src=" not in page and "href=" not in page


def test_pixels_are_read_at_the_cell_that_holds_them_and_both_stages_see_the_same() -> None:
    drawn = sample((Domain("a", Striped(6, 0)), Domain("b", Striped(6, 50))), max_images=5, points_per_class=10, seed=0)
    assert [group.name for group in drawn.groups] == ["road", "sky"] and drawn.num_images == 10

    def embed(image: np.ndarray) -> np.ndarray:
        """Row and column of each cell of an 8 x 12 map, and the image's brightness."""
        rows, columns = np.indices((8, 12))
        return np.stack((rows >= 4, columns * 0, np.full((8, 12), image[0, 0, 0] >= 50))).astype(np.float32)

    features = drawn.features(embed, lambda: None)
    is_low, is_bright = features.features[:, 0] > 0, features.features[:, 2] > 0
    assert (is_low == (features.classes == 0)).all()
    assert (is_bright == (features.domains == 1)).all()
    assert np.bincount(features.classes * 2 + features.domains).tolist() == [10, 10, 10, 10]


def test_a_broken_image_is_named_and_skipped() -> None:
    domains = (Domain("a", Striped(6, 0, broken=2)), Domain("b", Striped(6, 50)))
    drawn = sample(domains, max_images=6, points_per_class=10, seed=0)
    assert drawn.unreadable == ("image 2 is torn",)
    with pytest.raises(InputError, match="'a' and 'b' share 0 classes in five frames or more"):
        sample((Domain("a", Striped(4, 0)), Domain("b", Striped(6, 50))), max_images=6, points_per_class=10, seed=0)


def test_classes_that_one_domain_does_not_tell_apart_become_one() -> None:
    groups, number = class_groups([ROAD, CAR, TRUCK, VEHICLE, PLANTS])
    assert [group.name for group in groups] == ["road", "vegetation etc.", "car etc."]
    assert number[CAR] == number[TRUCK] == number[VEHICLE] == 2
    assert groups[2].members == tuple(CITYSCAPES.names.index(name) for name in ("car", "truck", "bus", "train"))
    assert [group.name for group in class_groups([CAR, TRUCK])[0]] == ["car", "truck"]


def test_the_plane_is_that_of_the_largest_variance() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 5)) * [3.0, 2.0, 0.1, 0.1, 0.1]
    places, _, explained = project(features, features[:1])
    assert explained > 0.99
    np.testing.assert_allclose(np.abs(np.corrcoef(places[:, 0], features[:, 0])[0, 1]), 1.0, atol=1e-2)


def test_random_weights_follow_the_seed_and_keep_the_texts(tmp_path: Path) -> None:
    after = trained_network("tiny")
    one, same, other = (network_before("random", after, seed).network.state_dict() for seed in (0, 0, 1))
    weights = "image_encoder.trunk.conv_stem.weight"
    assert torch.equal(one[weights], same[weights]) and not torch.equal(one[weights], other[weights])
    assert torch.equal(one["class_embeddings"], after.network.class_embeddings)
    native.save(after.network, tmp_path / "own.safetensors", trained_on="x")
    again = network_before(str(tmp_path / "own.safetensors"), after, 0).network.state_dict()
    assert torch.equal(again[weights], after.network.state_dict()[weights])
    with pytest.raises(CheckpointError, match="--before 'nothing' is neither 'random' nor weights of a network"):
        network_before("nothing", after, 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("demo:mud", "drawn scenes are demo:CONDITION, one of clear"),
        ("camvid:train_day", "names no folder: give NAME"),
        ("mars=/nowhere", "unknown data set 'mars'"),
        ("camvid:noon=/nowhere", "has no split 'noon'"),
    ],
)
def test_a_domain_that_is_none_is_said_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        Domain.parse(text)


def test_one_domain_is_no_comparison() -> None:
    with pytest.raises(ConfigurationError, match="1 domains given, the comparison is of two"):
        analyse_alignment(AlignmentSettings(("demo:clear",), "random", "tiny"))
