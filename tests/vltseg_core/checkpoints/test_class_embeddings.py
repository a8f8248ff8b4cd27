# SPDX-License-Identifier: Apache-2.0
"""Class embeddings come from a language model, and say so when they do not fit."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from vltseg_core.checkpoints.class_embeddings import PROMPTS_FOLDER, load_class_embeddings, save_class_embeddings
from vltseg_core.config import preset
from vltseg_core.errors import CheckpointError, ConfigurationError
from vltseg_core.labels import CITYSCAPES, CLASS_TABLES
from vltseg_core.model.text_encoder import Prompts, embed_classes

ROOT = Path(__file__).parents[3]


def test_the_embeddings_that_come_with_the_package_know_what_is_alike() -> None:
    embeddings = load_class_embeddings("minilm", preset("tiny"))
    similarity = embeddings @ embeddings.T

    def between(first: str, second: str) -> float:
        return float(similarity[CITYSCAPES.names.index(first), CITYSCAPES.names.index(second)])

    assert torch.allclose(similarity.diagonal(), torch.ones(19), atol=1e-5)
    assert between("car", "truck") > between("car", "sky")
    assert between("bicycle", "motorcycle") > between("bicycle", "vegetation")
    assert between("traffic light", "traffic sign") > between("traffic light", "terrain")


def test_embeddings_of_another_width_are_refused(tmp_path: Path) -> None:
    save_class_embeddings(torch.zeros(19, 512), tmp_path / "wide.safetensors", "a test")
    with pytest.raises(CheckpointError, match=r"are \[19, 512\], network 'tiny' expects \[19, 384\]"):
        load_class_embeddings(str(tmp_path / "wide.safetensors"), preset("tiny"))
    with pytest.raises(CheckpointError, match="'maxilm' not found: give a .safetensors file, or one of minilm"):
        load_class_embeddings("maxilm", preset("tiny"))


def test_an_embedding_is_the_mean_over_names_and_templates() -> None:
    prompts = Prompts(("{}", "a {}"), {"car": ("car", "auto"), "sky": ("sky",)})
    asked: list[list[str]] = []

    def encode(sentences: list[str]) -> torch.Tensor:
        asked.append(sentences)
        return torch.tensor([[float(len(s)), 1.0] for s in sentences])

    embeddings = embed_classes(encode, prompts, ["car", "sky"])
    assert asked == [["car", "a car", "auto", "a auto"], ["sky", "a sky"]]
    vectors = torch.nn.functional.normalize(torch.tensor([[3.0, 1.0], [5.0, 1.0]]), dim=1)
    assert torch.allclose(embeddings[1], torch.nn.functional.normalize(vectors.mean(0), dim=0))


def test_prompts_must_name_the_network_s_classes(tmp_path: Path) -> None:
    assert Prompts.read(PROMPTS_FOLDER / "cityscapes.yaml", CITYSCAPES.names).templates
    (tmp_path / "p.yaml").write_text("templates: ['{}']\nnames: {road: [road]}\n")
    with pytest.raises(ConfigurationError, match="differ in: .*bicycle"):
        Prompts.read(tmp_path / "p.yaml", CITYSCAPES.names)
    (tmp_path / "p.yaml").write_text("- just a list\n")
    with pytest.raises(ConfigurationError, match="need the keys templates and names"):
        Prompts.read(tmp_path / "p.yaml", CITYSCAPES.names)


def test_a_place_for_the_name_may_be_called_class(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("templates: ['a {class}', 'the {} there']\nnames: {car: [car, auto]}\n")
    prompts = Prompts.read(tmp_path / "p.yaml", ["car"])
    assert prompts.sentences("car") == ["a car", "the car there", "a auto", "the auto there"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("templates: ['a {}']\nnames: {car: car}", "names of 'car' must be a list of texts"),
        ("templates: 'a {}'\nnames: {car: [car]}", "templates must be a list of texts"),
        ("templates: []\nnames: {car: [car]}", r"templates must be a list .*not \[\]"),
        ("templates: ['a {}']\nnames: {car: []}", r"names of 'car' must be a list .*not \[\]"),
        ("templates: ['a {}']\nnames: {car: }", "names of 'car' must be a list .*not None"),
        ("templates: ['a {}']\nnames: {car: [yes]}", r"names of 'car' .*quoted where YAML reads else, not \[True\]"),
        ("templates: [{a: 1}]\nnames: {car: [car]}", "templates must be a list of texts"),
        ("templates: ['a photo']\nnames: {car: [car]}", r"'a photo' must hold \{\} or \{class\} exactly once"),
        ("templates: ['{} by {}']\nnames: {car: [car]}", "exactly once"),
        ("templates: ['a {name}']\nnames: {car: [car]}", "exactly once"),
        ("templates: ['a {} {']\nnames: {car: [car]}", "exactly once"),
        ("templates: ['a {}']\nextra: 3\nnames: {car: [car]}", "no other, not: 'templates', 'extra', 'names'"),
        ("templates: ['a {}']\nnames: [car]", "names .by class., and no other"),
        ("templates: ['a {}'\n", "cannot be read"),
    ],
)
def test_prompts_that_would_say_something_else_are_refused(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(text + "\n")
    with pytest.raises(ConfigurationError, match=sentence):
        Prompts.read(tmp_path / "p.yaml", ["car"])


def test_embeddings_that_are_no_numbers_are_not_saved(tmp_path: Path) -> None:
    embeddings = torch.ones(19, 4)
    embeddings[3, 1] = torch.nan
    with pytest.raises(CheckpointError, match="of 'a test' hold values that are no finite numbers"):
        save_class_embeddings(embeddings, tmp_path / "e.safetensors", "a test")
    assert not (tmp_path / "e.safetensors").exists()


@pytest.mark.parametrize("path", [*PROMPTS_FOLDER.glob("*.yaml"), *(ROOT / "training" / "prompts").glob("*.yaml")], ids=str)
def test_every_file_of_prompts_can_be_read(path: Path) -> None:
    table = CLASS_TABLES.get(path.stem, CITYSCAPES)
    prompts = Prompts.read(path, table.names)
    assert all(prompts.names[name][0] in prompts.sentences(name)[0] for name in table.names)


def test_the_command_embeds_the_classes_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = runpy.run_path(str(ROOT / "training" / "embed_classes.py"))
    monkeypatch.setitem(command["main"].__globals__, "minilm_text_encoder", lambda: lambda s: torch.ones(len(s), 4))
    output = tmp_path / "e.safetensors"
    monkeypatch.setattr("sys.argv", ["embed_classes.py", "minilm", "--classes", "camvid", "-o", str(output)])
    command["main"]()
    assert load_file(output)["class_embeddings"].shape == (11, 4)
