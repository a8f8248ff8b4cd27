# SPDX-License-Identifier: Apache-2.0
"""An mcap file that is cut, flipped or hostile gives its messages up to the damage, behind it where it can, never others."""

from __future__ import annotations

import struct
import time
import tracemalloc
from binascii import crc32

import lz4.frame
import numpy as np
import pytest

from vltseg_core.errors import InputError
from vltseg_ros import bag_messages, bags
from vltseg_ros.bag_storage import MAX_MESSAGE_BYTES
from vltseg_ros.mcap_records import FOOTER_BYTES, MAGIC, Damage, Opcode, inflated, record_in, zstd
from vltseg_ros.mcap_storage import McapStorage

TOPICS = ("/camera/image", "/note")
NUM_FRAMES = 12


@pytest.fixture(params=[False, True], ids=["plain", "zstd"])
def sound(request, tmp_path):
    """A bag's file of several chunks, each with its checksum, and the messages in it."""
    return sound_file(tmp_path, request.param)


def sound_file(folder, compressed):
    rng = np.random.default_rng(0)
    with bags.BagWriter(folder / "bag", compressed=compressed) as writer:
        for index in range(NUM_FRAMES):
            image = bag_messages.image_message(rng.integers(0, 256, (300, 400, 3)).astype(np.uint8), index, "front")
            writer.write("/camera/image", bag_messages.IMAGE_TYPE, index, image)
            writer.write("/note", bag_messages.STRING_TYPE, index, bag_messages.string_message(f"note {index}"))
    path = folder / "bag" / "bag.mcap"
    path.write_bytes(with_checksums(path))
    messages, losses = read(path)
    assert len(messages) == 2 * NUM_FRAMES and losses == []
    return path, messages


def records(path):
    """Place and record of everything at the top of the file."""
    with path.open("rb") as file:
        size, position = path.stat().st_size, len(MAGIC)
        while position < size - len(MAGIC):
            record = record_in(file, position, size)
            yield position, record
            position = record.end


def with_checksums(path):
    """rosbags writes none: put each chunk's in."""
    content = bytearray(path.read_bytes())
    for _, record in records(path):
        if record.opcode == Opcode.CHUNK:
            (name_bytes,) = struct.unpack_from("<I", content, record.content + 28)
            packed = bytes(content[record.content + 40 + name_bytes : record.end])
            struct.pack_into("<I", content, record.content + 24, crc32(zstd.decompress(packed) if name_bytes else packed))
    return content


def read(path):
    storage = McapStorage(path)
    try:
        messages = list(storage.messages(TOPICS))
        assert sum(topic.num_messages for topic in storage.topics) >= len(messages)
        return messages, list(storage.losses)
    finally:
        storage.close()


def test_a_file_cut_anywhere_gives_a_prefix_of_its_messages(sound):
    path, whole = sound
    content = path.read_bytes()
    lengths = []
    for place in np.random.default_rng(1).integers(len(MAGIC), len(content), 40):
        path.write_bytes(content[:place])
        messages, losses = read(path)
        assert messages == whole[: len(messages)] and losses
        lengths.append((int(place), len(messages)))
    lengths.sort()
    assert [n for _, n in lengths] == sorted(n for _, n in lengths) and len({n for _, n in lengths}) > 4
    path.write_bytes(content[:-FOOTER_BYTES])
    assert read(path)[0] == whole


def test_a_chunk_cut_in_the_middle_gives_the_messages_before_the_cut(sound):
    path, whole = sound
    last = [record for _, record in records(path) if record.opcode == Opcode.CHUNK][-1]
    path.write_bytes(path.read_bytes()[: last.content + last.length * 3 // 4])
    messages, losses = read(path)
    assert messages == whole[: len(messages)] and len(messages) > NUM_FRAMES
    assert any("the file is cut off here" in loss for loss in losses)


def test_flipped_bytes_never_give_other_messages(sound):
    path, whole = sound
    content = path.read_bytes()
    rng = np.random.default_rng(2)
    num_read = []
    for place in rng.integers(len(MAGIC), len(content), 60):
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        messages, losses = read(path)
        assert [message for message in messages if message not in whole] == []
        assert messages == [message for message in whole if message in messages]  # in their order
        assert losses or messages == whole
        num_read.append(len(messages))
    assert min(num_read) < len(whole) and np.median(num_read) > len(whole) / 2


def test_behind_a_damaged_chunk_reading_goes_on(sound):
    path, whole = sound
    content = bytearray(path.read_bytes())
    chunks = [record for _, record in records(path) if record.opcode == Opcode.CHUNK]
    content[chunks[1].content + chunks[1].length // 2] ^= 255
    path.write_bytes(content)
    messages, losses = read(path)
    assert messages[0] == whole[0] and messages[-1] == whole[-1] and 0 < len(messages) < len(whole)
    assert len(losses) == 1 and "is damaged at byte" in losses[0]


def test_behind_a_length_that_is_wrong_the_index_says_where_to_go_on(sound):
    path, whole = sound
    content = bytearray(path.read_bytes())
    place, _ = [pair for pair in records(path) if pair[1].opcode == Opcode.CHUNK][1]
    struct.pack_into("<Q", content, place + 1, 2**60)
    path.write_bytes(content)
    messages, losses = read(path)
    assert messages[0] == whole[0] and messages[-1] == whole[-1] and len(messages) < len(whole)
    assert any("reading went on at byte" in loss for loss in losses)


def test_a_sound_file_is_opened_by_its_index_alone(sound, monkeypatch):
    monkeypatch.setattr(McapStorage, "_scan", lambda self: pytest.fail("all of it was read"))
    storage = McapStorage(sound[0])
    assert [(topic.name, topic.num_messages) for topic in storage.topics] == [(topic, NUM_FRAMES) for topic in TOPICS]
    assert (storage.start_ns, storage.end_ns) == (0, NUM_FRAMES - 1)
    storage.close()


def test_the_same_loss_is_said_once_however_often_the_file_is_read(sound):
    path, _ = sound
    path.write_bytes(path.read_bytes()[:-200])
    storage = McapStorage(path)
    for _ in range(3):
        list(storage.messages(TOPICS))
    assert len(storage.losses) == len(set(storage.losses)) <= 2
    storage.close()


def chunk(payload, size, compression=b"", start_ns=0, end_ns=2**63):
    body = struct.pack("<QQQII", start_ns, end_ns, size, 0, len(compression)) + compression
    body += struct.pack("<Q", len(payload)) + payload
    return struct.pack("<BQ", Opcode.CHUNK, len(body)) + body


def test_a_hostile_file_cannot_fill_the_memory(tmp_path):
    bomb = zstd.compress(bytes(64 * 2**20))
    lz4_bomb = lz4.frame.compress(bytes(64 * 2**20))
    hostile = {
        "little said, much in it": chunk(bomb, 1000, b"zstd") + chunk(lz4_bomb, 1000, b"lz4"),
        "much said, little in it": chunk(b"", MAX_MESSAGE_BYTES, b"zstd"),
        "more than a chunk may have": chunk(b"", 2**62),
        "a long record": struct.pack("<BQ", Opcode.MESSAGE, 2**62),
        "a long schema": struct.pack("<BQ", Opcode.SCHEMA, 2**40),
        "a long name": struct.pack("<BQHI", Opcode.SCHEMA, 6, 1, 2**32 - 1),
        "a footer that points anywhere": struct.pack("<BQQQI", Opcode.FOOTER, 20, 2**62, 0, 0),
    }
    for name, content in hostile.items():
        path = tmp_path / "hostile.mcap"
        path.write_bytes(MAGIC + content + MAGIC)
        tracemalloc.start()
        messages, losses = read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert messages == [] and losses, name
        assert peak < 8 * 2**20, name


def large_chunk(num_bytes, time_ns):
    """A zstd chunk of one message of zeros on a known channel."""
    body = struct.pack("<HIQQ", 1, 0, time_ns, time_ns) + bytes(num_bytes)
    records = b"".join(
        struct.pack("<BQ", opcode, len(content)) + content
        for opcode, content in (
            (Opcode.SCHEMA, struct.pack("<H", 1) + text(b"std_msgs/msg/String") + text(b"ros2msg") + text(b"")),
            (Opcode.CHANNEL, struct.pack("<HH", 1, 1) + text(b"/note") + text(b"cdr") + text(b"")),
            (Opcode.MESSAGE, body),
        )
    )
    return chunk(zstd.compress(records), len(records), b"zstd", start_ns=time_ns, end_ns=time_ns)


def text(value):
    return struct.pack("<I", len(value)) + value


def test_chunks_that_unpack_to_much_are_in_memory_about_one_at_a_time(tmp_path, monkeypatch):
    limit = 8 * 2**20
    for module in ("mcap_records", "mcap_storage"):
        monkeypatch.setattr(f"vltseg_ros.{module}.MAX_MESSAGE_BYTES", limit)
    path = tmp_path / "large.mcap"
    content = large_chunk(limit - 1000, 1) * 6
    path.write_bytes(MAGIC + content + MAGIC)
    assert len(content) < 64_000
    storage = McapStorage(path)
    tracemalloc.start()
    assert sum(len(message.cdr) for message in storage.messages(TOPICS)) == 6 * (limit - 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    storage.close()
    assert peak < 3.5 * limit, "a chunk, its message, and the one before where it is used"
    path.write_bytes(MAGIC + large_chunk(limit, 1) + MAGIC)
    messages, losses = read(path)
    assert messages == [] and any("a chunk says that it has" in loss for loss in losses)


def record(opcode, content):
    return struct.pack("<BQ", opcode, len(content)) + content


@pytest.mark.parametrize("opcode", [Opcode.SCHEMA, Opcode.CHANNEL])
def test_names_of_topics_and_types_cannot_fill_the_memory(tmp_path, monkeypatch, opcode):
    monkeypatch.setattr("vltseg_ros.mcap_storage.MAX_METADATA_BYTES", 2**20)
    name = "\U0001f600".encode() + b"a" * 400_000  # one wide letter makes all of them wide
    chunks = []
    for number in range(1, 20):
        body = struct.pack("<H", number) + (b"" if opcode == Opcode.SCHEMA else struct.pack("<H", 1))
        records = record(opcode, body + text(name) + text(b"cdr") + text(b""))
        chunks.append(chunk(zstd.compress(records), len(records), b"zstd"))
    path = tmp_path / "names.mcap"
    path.write_bytes(MAGIC + chunks[0] * 20 + MAGIC)
    read(path)  # the same record again and again tells nothing new
    path.write_bytes(MAGIC + b"".join(chunks) + MAGIC)
    assert path.stat().st_size < 20_000
    tracemalloc.start()
    with pytest.raises(InputError, match="names topics and types in more than 1048576 bytes, which no recorder does"):
        McapStorage(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_names_that_only_a_chunk_behind_the_index_tells_are_bounded_too(sound, monkeypatch):
    path, _ = sound
    storage = McapStorage(path)
    monkeypatch.setattr("vltseg_ros.mcap_storage.MAX_METADATA_BYTES", 10)
    storage._channels.clear()
    with pytest.raises(InputError, match="which no recorder does"):
        list(storage.messages(TOPICS))
    storage.close()


def test_a_file_of_damaged_places_alone_is_done_with_soon(tmp_path):
    damaged = chunk(b"", 1, b"zstd")
    places = [len(MAGIC) + i * len(damaged) for i in range(20_000)]
    index = b"".join(record(Opcode.CHUNK_INDEX, struct.pack("<QQQ", 0, 0, place)) for place in places)
    start = len(MAGIC) + len(damaged) * len(places)
    statistics = record(Opcode.STATISTICS, bytes(42) + struct.pack("<I", 0))
    footer = record(Opcode.FOOTER, struct.pack("<QQI", start, 0, 0))
    path = tmp_path / "damaged.mcap"
    path.write_bytes(MAGIC + damaged * len(places) + index + statistics + footer + MAGIC)
    start_s = time.monotonic()
    messages, losses = read(path)
    assert messages == [] and time.monotonic() - start_s < 5
    assert len(losses) == 101 and losses[-1] == "there is more that could not be read than these 100"


def test_one_record_of_metadata_is_not_read_as_often_as_the_index_says(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr("vltseg_ros.mcap_storage.metadata_of", lambda told: reads.append(told) or {})
    metadata = record(Opcode.METADATA, text(b"rosbag2") + text(text(b"serialized_metadata") + text(b"a: 1")))
    index = record(Opcode.METADATA_INDEX, struct.pack("<QQ", len(MAGIC), len(metadata)) + text(b"rosbag2"))
    statistics = record(Opcode.STATISTICS, bytes(42) + struct.pack("<I", 0))
    footer = record(Opcode.FOOTER, struct.pack("<QQI", len(MAGIC) + len(metadata), 0, 0))
    path = tmp_path / "metadata.mcap"
    path.write_bytes(MAGIC + metadata + index * 1000 + statistics + footer + MAGIC)
    McapStorage(path).close()
    assert 1 <= len(reads) <= 4


@pytest.mark.parametrize("num_missing", [1, 4, 20])
def test_compressed_bytes_that_do_not_end_are_damage(num_missing):
    packed = zstd.compress(bytes(range(256)) * 40)
    assert inflated([packed[:7], packed[7:]], zstd.ZstdDecompressor(), 10_240) == bytes(range(256)) * 40
    with pytest.raises(Damage, match="cut off"):
        inflated([packed[:-num_missing]], zstd.ZstdDecompressor(), 10_240)
    with pytest.raises(Damage, match="more than 10239"):
        inflated([packed], zstd.ZstdDecompressor(), 10_239)
    inflated([packed[:-num_missing]], zstd.ZstdDecompressor(), 10_240, cut=True)


def test_overlapping_chunks_play_in_the_order_of_time(tmp_path):
    def message(time_ns):
        body = struct.pack("<HIQQ", 1, 0, time_ns, time_ns) + bag_messages.string_message("hello")
        return struct.pack("<BQ", Opcode.MESSAGE, len(body)) + body

    schema = struct.pack("<H", 1) + text(b"std_msgs/msg/String") + text(b"ros2msg") + text(b"string data")
    channel = struct.pack("<HH", 1, 1) + text(b"/note") + text(b"cdr") + text(b"")
    head = b"".join(struct.pack("<BQ", op, len(body)) + body for op, body in ((3, schema), (4, channel)))
    packed = [b"".join(map(message, times)) for times in ((5, 1, 9), (4, 7, 12))]
    path = tmp_path / "a.mcap"
    chunks = chunk(packed[0], len(packed[0]), start_ns=1, end_ns=9) + chunk(
        lz4.frame.compress(packed[1]), len(packed[1]), b"lz4", start_ns=4, end_ns=12
    )
    path.write_bytes(MAGIC + head + chunks + message(13) + struct.pack("<BQI", Opcode.DATA_END, 4, 0) + MAGIC)
    assert [entry.time_ns for entry in read(path)[0]] == [1, 4, 5, 7, 9, 12, 13]


def test_what_does_not_begin_as_an_mcap_file_is_refused(tmp_path):
    (tmp_path / "a.mcap").write_bytes(b"MCAP")
    with pytest.raises(InputError, match="does not begin as one"):
        McapStorage(tmp_path / "a.mcap")
