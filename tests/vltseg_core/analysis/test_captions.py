# SPDX-License-Identifier: Apache-2.0
"""Captions labelled by hand, intervals against known values, and files as they come."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from vltseg_core.analysis.caption_files import CaptionFile
from vltseg_core.analysis.captions import DomainWords, count_captions, wilson
from vltseg_core.errors import ConfigurationError, InputError

WORDS = DomainWords.read()

BY_HAND = [
    ("A car drives through heavy rain at night", "weather light"),
    ("Snow White and the seven dwarfs", ""),
    ("snow-covered mountains under a blue sky", "weather place"),
    ("Rainbow over a waterfall", ""),
    ("light blue dress with dark hair", ""),
    ("Dark Knight poster, 2008", ""),
    ("a foggy morning on the highway", "weather light place"),
    ("Brainstorming session template", ""),
    ("Sunset over the city", "light place"),
    ("Good morning everybody!", ""),
    ("Night stand with two drawers", ""),
    ("Two dogs playing indoors", "place"),
    ("Wall Street falls again", ""),
    ("An empty street in Tokyo", "place"),
    ("cloud computing services", ""),
    ("Cloudy skies over Berlin", "weather"),
    ("Men's winter jacket, black", ""),
    ("WINTER SALE", "weather"),
    ("It's raining cats and dogs", "weather"),
    ("a drainpipe on the train", ""),
    ("Driving after dark", "light"),
    ("a frosty Friday's parking lot", "weather place"),
    ("mist on the meadow at dawn", "weather light place"),
    ("Face mist with rose water", ""),
    ("Оригинал - Rainy été in Zürich", "weather"),
]


@pytest.mark.parametrize(("caption", "categories"), BY_HAND)
def test_captions_labelled_by_hand(caption: str, categories: str) -> None:
    assert {hit.category for hit in WORDS.find(caption)} == set(categories.split())


def test_a_word_counts_once_a_caption_by_its_key() -> None:
    counts = count_captions(["rain, rain and rainy roads", "rainy", " ", "a cup"], WORDS)
    words = {hit.word: n for hit, n in counts.by_word.items()}
    assert words == {"rain": 2, "road": 1}
    assert counts.num_captions == 3 and counts.num_empty == 1
    shares = counts.shares
    assert (
        shares["weather"].num_captions == 2 and shares["light"].num_captions == 0 and shares["any"].share == pytest.approx(2 / 3)
    )


def test_the_longest_form_wins_over_the_words_within_it(tmp_path: Path) -> None:
    lists = tmp_path / "words.yaml"
    lists.write_text("place:\n  town: [old town, town]\n  hall: [town hall]\nexceptions: [old town road]\n")
    words = DomainWords.read(lists)
    assert {hit.word for hit in words.find("the town hall in the old-town")} == {"hall", "town"}
    assert words.find("Old Town Road, remix") == set()


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [  # Newcombe, 1998, table I, method 3; and R's prop.test(correct=FALSE)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_intervals_are_the_published_ones(count: int, total: int, low: float, high: float) -> None:
    share = wilson(count, total)
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)


def test_nothing_counted_is_nothing_known() -> None:
    assert wilson(0, 0)[2:] == (0.0, 1.0)


def test_every_caption_is_as_likely_an_example() -> None:
    captions = [f"rain {i}" for i in range(50)]
    early = sum(
        int(example.split()[1]) < 25
        for seed in range(200)
        for example in count_captions(captions, WORDS, seed=seed).examples["weather"]
    )
    assert 430 < early < 570  # of 1000


def read(path: Path, column: str = "") -> tuple[list[str], int, int]:
    file = CaptionFile(path, column)
    return list(file), file.num_undecodable, file.num_unreadable


def test_text_with_bad_bytes_empty_lines_and_a_mark_at_its_start(tmp_path: Path) -> None:
    path = tmp_path / "captions.txt"
    path.write_bytes(b"\xef\xbb\xbfa street\r\n\nrain \xff here\nlast")
    assert read(path) == (["a street", "", "rain \ufffd here", "last"], 1, 0)


def test_tables_by_a_guessed_a_named_and_a_numbered_column(tmp_path: Path) -> None:
    path = tmp_path / "captions.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["url", "TEXT"], ["u1", 'a "wet, cold" day'], ["u2", "two\nlines"], ["u3"]])
    assert read(path) == (['a "wet, cold" day', "two\nlines"], 0, 1)
    assert read(path, "URL")[0] == ["u1", "u2", "u3"]
    with pytest.raises(ConfigurationError, match="has no column 'alt': it has 'url', 'TEXT'; name one with --column"):
        read(path, "alt")
    tsv = tmp_path / "captions.tsv.gz"
    tsv.write_bytes(gzip.compress(b'a 6" snow\thttp://a\nfog\thttp://b\n'))
    assert read(tsv, "0") == (['a 6" snow', "fog"], 0, 0)


def test_json_lines_and_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    rows = [json.dumps({"id": 1, "caption": "fog"}), "{torn", json.dumps("plain"), json.dumps({"id": 2}), "", json.dumps([1])]
    path.write_text("\n".join(rows) + "\n")
    assert read(path) == (["fog", "plain", ""], 0, 3)


def test_files_that_cannot_be_read_are_said_in_a_sentence(tmp_path: Path) -> None:
    torn = tmp_path / "captions.txt.gz"
    torn.write_bytes(gzip.compress(b"rain\n" * 10000)[:-20])
    with pytest.raises(InputError, match="is no whole gzip file"):
        read(torn)
    with pytest.raises(InputError, match="'.*missing.txt' not found"):
        CaptionFile(tmp_path / "missing.txt")
    (tmp_path / "captions.docx").touch()
    with pytest.raises(InputError, match="is '.docx': give .txt"):
        CaptionFile(tmp_path / "captions.docx")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path) -> None:
    path = tmp_path / "captions.parquet"
    path.touch()
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="needs pyarrow to be read: pip install pyarrow"):
            read(path)
    else:
        pytest.skip("pyarrow is installed, so that nothing is missing")


@pytest.mark.parametrize("text", ["[1, 2]", "weather: [rain]", "weather: {rain: [rain, rain]}", "exceptions: [x]", "{"])
def test_word_lists_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="word list"):
        DomainWords.read(tmp_path / "words.yaml")
