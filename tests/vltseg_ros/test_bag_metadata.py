# SPDX-License-Identifier: Apache-2.0
"""Hostile metadata of a bag costs neither time nor memory."""

from __future__ import annotations

import pytest

from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_storage import entries_of, metadata_of


@pytest.mark.parametrize("place", ["custom_data", "compression_mode", "topic", "merge"])
def test_metadata_whose_aliases_multiply_is_read_at_once(tmp_path, place):
    levels = "".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(12))
    if place == "merge":
        levels = levels.replace("[", "{<<: [").replace("]", "]}").replace("{<<: [1, 2]}", "{x: 1}")
    bomb = ("a0: &a0 {x: 1}\n" if place == "merge" else "a0: &a0 [1, 2]\n") + levels
    inside = {
        "custom_data": "custom_data: {note: kept, bomb: *a12}\n",
        "compression_mode": "compression_mode: *a12\n",
        "topic": "topics_with_message_count: [{message_count: 1, topic_metadata: {name: *a12}}]\n",
        "merge": "custom_data: *a12\n",
    }[place]
    metadata = metadata_of(bomb + inside)
    assert entries_of(metadata) == ({"note": "kept"} if place == "custom_data" else {})
    with bags.BagWriter(tmp_path / "bag") as writer:
        writer.write("/note", bag_messages.STRING_TYPE, 1, bag_messages.string_message("hello"))
    (tmp_path / "bag" / "metadata.yaml").write_text(
        f"{bomb}relative_file_paths: [bag.mcap]\n" + ("" if place == "topic" else "topics_with_message_count: []\n") + inside
    )
    with bags.BagReader(tmp_path / "bag") as reader:
        assert len(list(reader.messages(["/note"]))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a: !!bool x",
        "a: !!int ''",
        "a: !!float ''",
        "a: !!timestamp abc",
        "a: 1" + ":00" * 200 + ":00.5",
        "a: 1" + ":1" * 200_000,
        "a: " + "[" * 50_000,
        "relative_file_paths: [bag.mcap]\ntopics_with_message_count: [{topic_metadata: {name: /note}, message_count: .inf}]",
    ],
)
def test_metadata_that_cannot_be_read_is_done_without(tmp_path, text):
    with bags.BagWriter(tmp_path / "bag") as writer:
        writer.write("/note", bag_messages.STRING_TYPE, 1, bag_messages.string_message("hello"))
    (tmp_path / "bag" / "metadata.yaml").write_text(text)
    with bags.BagReader(tmp_path / "bag") as reader:
        assert len(list(reader.messages(["/note"]))) == 1
        assert reader.losses == ["metadata.yaml cannot be read: topics and times were taken from the files themselves"]


def test_entries_are_the_scalars_alone():
    values = {"text": "a", "number": 1, "share": 0.5, "yes": True, "list": [1], "map": {}, "nothing": None, "huge": 10**5000}
    expected = {"text": "a", "number": "1", "share": "0.5", "yes": "True"}
    assert entries_of({"custom_data": values}) == expected
