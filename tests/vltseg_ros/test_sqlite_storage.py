# SPDX-License-Identifier: Apache-2.0
"""A damaged sqlite3 bag gives the rows that can be read, and no others."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.sqlite_storage import SqliteStorage

TOPICS = ("/camera/image", "/note")
NUM_FRAMES = 40


@pytest.fixture
def sound(tmp_path):
    """A bag's file and the messages in it; images take many pages, notes share one."""
    rng = np.random.default_rng(0)
    with bags.BagWriter(tmp_path / "bag", storage="sqlite3") as writer:
        writer.describe({"vltseg.drawn": "true"})
        for index in range(NUM_FRAMES):
            image = bag_messages.image_message(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8), index, "front")
            writer.write("/camera/image", bag_messages.IMAGE_TYPE, index, image)
            writer.write("/note", bag_messages.STRING_TYPE, index, bag_messages.string_message(f"note {index}"))
    path = tmp_path / "bag" / "bag.db3"
    messages, losses = read(path)
    assert len(messages) == 2 * NUM_FRAMES and losses == []
    return path, messages


def read(path):
    storage = SqliteStorage(path)
    try:
        return list(storage.messages(TOPICS)), list(storage.losses)
    finally:
        storage.close()


def test_the_file_itself_tells_the_metadata(sound):
    storage = SqliteStorage(sound[0])
    assert storage.entries == {"vltseg.drawn": "true"} and (storage.start_ns, storage.end_ns) == (0, NUM_FRAMES - 1)
    storage.close()


def test_a_file_cut_anywhere_gives_the_rows_that_are_left(sound):
    path, whole = sound
    content = path.read_bytes()
    shares = {}
    for share in (0.95, 0.8, 0.6, 0.4, 0.2):
        path.write_bytes(content[: int(len(content) * share)])
        messages, losses = read(path)
        assert [message for message in messages if message not in whole] == [] and losses
        assert messages == sorted(messages, key=lambda message: message.time_ns)
        shares[share] = len(messages) / len(whole)
    assert shares[0.95] > 0.8 and shares[0.6] > 0.4 and shares[0.2] > 0.05


def test_pages_of_zeros_cost_only_the_rows_on_them(sound):
    path, whole = sound
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    num_read = []
    for page in rng.integers(8, len(content) // 4096, 30):
        damaged = bytearray(content)
        damaged[page * 4096 : (page + 1) * 4096] = bytes(4096)
        path.write_bytes(damaged)
        try:
            messages, losses = read(path)
        except InputError:
            continue
        assert len(messages) == len(set(messages))
        num_read.append(len(messages))
        assert losses or len(messages) == len(whole)
    assert len(num_read) > 20 and np.median(num_read) > 0.8 * len(whole)


def test_a_missing_index_of_times_or_metadata_is_done_without(sound):
    path, whole = sound
    with sqlite3.connect(path) as database:
        database.execute("DROP INDEX timestamp_idx")
        database.execute("DROP TABLE metadata")
    database.close()
    assert read(path)[0] == whole


def test_a_view_in_the_place_of_the_messages_is_no_bag(tmp_path):
    path = tmp_path / "hostile.db3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)")
        database.execute("CREATE VIEW messages AS SELECT 1 AS id, 1 AS topic_id, 1 AS timestamp, randomblob(1000000000) AS data")
    database.close()
    with pytest.raises(InputError, match="no tables of topics and messages"):
        SqliteStorage(path)


def test_rows_that_are_no_messages_are_left_out(sound):
    path, whole = sound
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, 'noon', x'00')")
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (1, 5, 'text')")
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (99, 5, x'00')")
    database.close()
    assert read(path)[0] == whole
