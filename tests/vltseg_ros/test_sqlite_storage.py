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


PLAIN = {
    "topics": "id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT",
    "messages": "id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB",
    "metadata": "id INTEGER PRIMARY KEY, metadata_version INTEGER, metadata TEXT",
}


def made(path, *statements, **tables):
    """A bag's file whose tables have these columns, with a topic of number 1 where topics are plain."""
    with sqlite3.connect(path) as database:
        for table, columns in {**PLAIN, **tables}.items():
            database.execute(f"CREATE TABLE {table}({columns})")
        if "topics" not in tables:
            database.execute("INSERT INTO topics VALUES (1, '/note', 'std_msgs/msg/String', 'cdr')")
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


GENERATED = "GENERATED ALWAYS AS (hex(zeroblob(50000000)))"


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("topics", f"id INTEGER PRIMARY KEY, name TEXT {GENERATED} VIRTUAL, type TEXT, serialization_format TEXT"),
        ("messages", f"id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB {GENERATED} VIRTUAL"),
        ("messages", f"id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB, other TEXT {GENERATED} STORED"),
        ("messages", "id INTEGER, topic_id INTEGER, timestamp INTEGER, data BLOB"),
    ],
)
def test_tables_that_make_up_what_they_hold_are_no_bag(tmp_path, table, columns):
    path = made(tmp_path / "generated.db3", **{table: columns})
    with pytest.raises(InputError, match="no tables of topics and messages as rosbag2 makes them"):
        SqliteStorage(path)


def test_metadata_that_is_made_up_is_left_unread(tmp_path):
    columns = "id INTEGER PRIMARY KEY, metadata_version INTEGER, metadata TEXT AS ('custom_data: {a: b}')"
    path = made(tmp_path / "a.db3", "INSERT INTO metadata(id, metadata_version) VALUES (1, 1)", metadata=columns)
    storage = SqliteStorage(path)
    assert storage.entries == {} and [topic.name for topic in storage.topics] == ["/note"]
    storage.close()


def test_a_view_that_the_file_calls_a_table_is_no_bag(tmp_path):
    path = made(tmp_path / "view.db3")
    view = "CREATE VIEW messages AS SELECT 1 AS id, 1 AS topic_id, 1 AS timestamp, randomblob(1000000000) AS data"
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE messages")
        database.execute(view)
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET type = 'table' WHERE name = 'messages'")
        database.execute("UPDATE sqlite_master SET name = 'other' WHERE name = 'messages'")
    database.close()
    with pytest.raises(InputError, match="no tables of topics and messages"):
        SqliteStorage(path)


@pytest.mark.parametrize("number", ["NULL", "'x'", "9e999", "1.5", "x'00'"])
def test_topics_and_messages_without_a_whole_number_are_left_out(tmp_path, number):
    values = f"({number}, '/other', 'std_msgs/msg/String', 'cdr')"
    path = made(
        tmp_path / "a.db3",
        f"INSERT INTO topics VALUES {values}",
        "INSERT INTO topics VALUES (1, '/note', 'std_msgs/msg/String', 'cdr')",
        f"INSERT INTO messages(topic_id, timestamp, data) VALUES ({number}, 1, x'00'), (1, 2, x'00')",
        topics="id PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT",
    )
    storage = SqliteStorage(path)
    assert [(topic.name, topic.num_messages) for topic in storage.topics] == [("/note", 1)]
    assert [message.time_ns for message in storage.messages(("/note", "/other"))] == [2]
    storage.close()


def test_a_topic_whose_name_is_endless_or_no_text_is_left_out(tmp_path):
    path = made(
        tmp_path / "a.db3",
        f"INSERT INTO topics VALUES (2, '{'a' * 5000}', 't', 'cdr'), (3, x'00', 't', 'cdr'), (4, '/b', NULL, 'cdr')",
    )
    storage = SqliteStorage(path)
    assert [topic.name for topic in storage.topics] == ["/note"]
    storage.close()


def test_messages_are_sorted_without_their_data(tmp_path):
    rows = ", ".join(f"(1, {time_ns}, zeroblob({time_ns}))" for time_ns in range(20, 0, -1))
    storage = SqliteStorage(made(tmp_path / "a.db3", f"INSERT INTO messages(topic_id, timestamp, data) VALUES {rows}"))
    statements = []
    storage._database.set_trace_callback(statements.append)
    messages = [(message.time_ns, len(message.cdr)) for message in storage.messages(("/note",))]
    storage.close()
    assert messages == [(time_ns, time_ns) for time_ns in range(1, 21)]
    (sorting,) = [statement for statement in statements if "ORDER BY timestamp" in statement]
    assert "data" not in sorting.partition("FROM")[0]  # sqlite would keep all of it in memory or in temporary files


def test_a_message_over_the_limit_is_left_out(tmp_path, monkeypatch):
    rows = "(1, 1, x'00'), (1, 2, zeroblob(135000000)), (1, 3, x'00')"
    path = made(tmp_path / "a.db3", f"INSERT INTO messages(topic_id, timestamp, data) VALUES {rows}")
    assert [message.time_ns for message in read(path)[0]] == [1, 3]
