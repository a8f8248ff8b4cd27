# SPDX-License-Identifier: Apache-2.0
"""A stranger's YAML is read as plain values, or refused in a few words, soon and in little memory."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path

import pytest

from vltseg_core import foreign_yaml
from vltseg_core.analysis.captions import DomainWords
from vltseg_core.data.own_folder import read_label_map
from vltseg_core.errors import ConfigurationError, InputError
from vltseg_core.foreign_yaml import read_yaml, shown, yaml_of
from vltseg_core.training.sweep_plan import read_plan

BOMB = "a0: &a0 [x]\n" + "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(9))
UNREADABLE = {
    "!!bool x": "line 1: a value is no bool",
    "!!int ''": "a value is no int",
    "!!float ''": "a value is no float",
    "!!int 1:1:1": "a value is no int",
    "!!timestamp abc": "could not determine a constructor",
    "!!binary x": "could not determine a constructor",
    "!!null [a]": "expected a scalar",
    "a: {<<: {b: 1}}": "could not determine a constructor",
    "? [1, 2]\n: x": "unhashable",
    "0b_": "invalid literal",
    '"\\UFFFFFFFF"': "too large",
    '"\\ud800"': "surrogates",
    "[" * 50_000: "nested too deeply",
    "%TAG !a! " + "b" * 9_000 + "\n---\n[!a!c x]": "%TAG",
    "!<%1b[2J> a": "tag '.x1b",
    "[a": "line 1",
}


def test_plain_values_are_what_they_were() -> None:
    text = "{a: 1, b: 0x1f, c: -2.5, d: 1.0e+3, e: yes, f: ~, g: [x, 'y'], h: 1_000, i: .inf, j: 010, k: '5', 7: off}"
    expected = {"a": 1, "b": 31, "c": -2.5, "d": 1000.0, "e": True, "f": None, "g": ["x", "y"], "h": 1000}
    assert yaml_of(text) == {**expected, "i": float("inf"), "j": 8, "k": "5", 7: False}
    assert yaml_of("") is None


def test_dates_and_times_are_texts() -> None:
    assert yaml_of("[2001-12-31, 2001-99-99, 12:30, 1:30.5]") == ["2001-12-31", "2001-99-99", "12:30", "1:30.5"]


def test_numbers_longer_than_any_need_are_texts_and_cost_no_time() -> None:
    start_s = time.monotonic()
    for number in ("1" + ":1" * 200_000, "9" * 100_000, "0x" + "f" * 100_000, "1" + ":00" * 200 + ":00.5"):
        assert yaml_of(f"a: {number}") == {"a": number}
    assert time.monotonic() - start_s < 5


@pytest.mark.parametrize("text", UNREADABLE)
def test_what_cannot_be_read_is_said_in_a_few_words(text: str) -> None:
    with pytest.raises(InputError, match=UNREADABLE[text]) as caught:
        yaml_of(text)
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()


def test_many_parts_and_long_texts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_yaml, "_MAX_PARTS", 1000)
    assert len(yaml_of("[" + "a," * 900 + "]")) == 900
    tracemalloc.start()
    with pytest.raises(InputError, match="more than 1000 parts"):
        yaml_of("[" + "a," * 100_000 + "]")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20
    with pytest.raises(InputError, match="longer than"):
        yaml_of(" " * (foreign_yaml.MAX_YAML_BYTES + 1))


def test_what_is_shown_of_a_value_is_short() -> None:
    assert len(shown(yaml_of(BOMB)["a9"])) < 100 and len(shown("r" * 300_000)) < 100
    assert shown(["a", True]) == "['a', True]" and shown("\x1b[2J") == r"'\x1b[2J'"


def test_a_file_is_read_like_its_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="no UTF-8"):
        read_yaml(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("a: ü", encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml") == {"a": "ü"}


@pytest.mark.parametrize("text", [*UNREADABLE, BOMB + "0: *a9\ntemplates: *a9\nnames: {}", "0: " + "r" * 300_000])
def test_each_reader_of_such_files_says_one_sentence(text: str, tmp_path: Path) -> None:
    from vltseg_core.model.text_encoder import Prompts

    path = tmp_path / "classes.yaml"
    path.write_text(text)
    sentences = []
    with pytest.raises(InputError) as refused:
        read_label_map(tmp_path)
    sentences.append(str(refused.value))
    for read in (lambda: Prompts.read(path, ("road",)), lambda: DomainWords.read(path), lambda: read_plan(path, None, ())):
        with pytest.raises(ConfigurationError) as caught:
            read()
        sentences.append(str(caught.value))
    assert all(str(path) in sentence and len(sentence) < 600 + len(str(path)) for sentence in sentences)


def test_a_prompt_file_of_aliases_of_aliases_is_said_in_short(tmp_path: Path) -> None:
    from vltseg_core.model.text_encoder import Prompts

    levels = "".join(f", &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(9))
    (tmp_path / "p.yaml").write_text(f"templates: [&a0 [x]{levels}]\nnames: {{road: [road]}}")
    with pytest.raises(ConfigurationError, match=r"must be a list of texts .* not \[\[\.\.\.\], \[\.\.\.\]") as caught:
        Prompts.read(tmp_path / "p.yaml", ("road",))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
