# SPDX-License-Identifier: Apache-2.0
"""What a record says is checked before anything is downloaded; a server that is busy is asked again."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from vltseg_core.checkpoints.receive import RequestError, check_url
from vltseg_core.checkpoints.remote_files import record_file
from vltseg_core.errors import CheckpointError

NOBODY = "http://127.0.0.1:9/none"


@pytest.mark.parametrize("record", [b"<html>", b"{}", b'{"files": [{"key": 1}]}', b"[]", b"\xff\xfe\x80", b"[" * 100_000])
def test_a_record_that_makes_no_sense_is_said(server: Any, record: bytes) -> None:
    server.record = record
    with pytest.raises(CheckpointError, match="gives no list of files"):
        record_file(server.record_url, server.name)


def test_a_file_that_the_record_lacks_is_said(server: Any) -> None:
    with pytest.raises(CheckpointError, match=f"has no file 'other.pth', it has {server.name}"):
        record_file(server.record_url, "other.pth")


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"links": {"self": "nonsense"}}, "leads to 'nonsense', expected an https address"),
        ({"links": {"self": "file:///etc/passwd"}}, "leads to 'file:///etc/passwd', expected an https address"),
        ({"links": {"self": "http://a b/f"}}, "expected an https address"),
        ({"links": {"self": "http://[f"}}, "expected an https address"),
        ({"links": {"self": "http://host:99999/f"}}, "expected an https address"),
        ({"links": {"self": None}}, "leads to 'None', expected an https address"),
        ({"size": 0}, "0 bytes, expected a number above 0"),
        ({"size": -1}, "-1 bytes, expected a number above 0"),
        ({"size": None}, "None bytes, expected a number above 0"),
        ({"checksum": ""}, "checksum of unknown kind ''"),
        ({"checksum": None}, "checksum of unknown kind 'none'"),
        ({"checksum": "crc32:ab"}, "checksum of unknown kind 'crc32'"),
        ({"checksum": "shake_128:ab"}, "checksum of unknown kind 'shake_128'"),
        ({"checksum": "md5:zz"}, "the md5 'zz', expected 32 hexadecimal digits"),
    ],
)
def test_a_value_that_cannot_be_is_said_in_one_sentence(server: Any, described: dict[str, Any], words: str) -> None:
    server.described = described
    with pytest.raises(CheckpointError) as raised:
        record_file(server.record_url, server.name)
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_an_upper_case_checksum_is_the_same(server: Any) -> None:
    expected = server.file
    server.described = {"checksum": f"MD5:{expected.digest.upper()}"}
    assert server.file == expected


def test_plain_http_is_followed_only_from_plain_http() -> None:
    assert check_url("https://there/f", "https://here/r") == "https://there/f"
    assert check_url("http://mirror/f", "http://mirror/r") == "http://mirror/f"
    with pytest.raises(CheckpointError, match="leads to 'http://there/f', expected an https address"):
        check_url("http://there/f", "https://here/r")


@pytest.mark.parametrize("url", ["", "nonsense", "file:///etc/passwd"])
def test_a_record_s_own_address_must_be_one(url: str) -> None:
    with pytest.raises(CheckpointError, match=r"is no https address: check VLTSEG_RECORD_URL"):
        record_file(url, "f.pth")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_for_its_record_again(server: Any, waits: list[float], status: int) -> None:
    server.refusals = [(status, {}), (status, {"Retry-After": "9"})]
    assert record_file(server.record_url, server.name, pause=waits.append) == server.file
    assert waits == [1, 9]


def test_a_server_that_stays_busy_is_given_up_without_blaming_the_connection(server: Any, waits: list[float]) -> None:
    server.refusals = [(503, {})] * 4
    with pytest.raises(RequestError, match=r"cannot be read \(the server answers 503, Service Unavailable\)") as raised:
        record_file(server.record_url, server.name, pause=waits.append)
    assert waits == [1, 2, 4] and not raised.value.offline


def test_nobody_there_is_asked_again_and_counts_as_offline(waits: list[float]) -> None:
    with pytest.raises(RequestError, match=f"'{NOBODY}' cannot be reached") as raised:
        record_file(NOBODY, "f.pth", pause=waits.append)
    assert waits == [1, 2, 4] and raised.value.offline


def test_a_record_that_is_cut_off_is_asked_for_again_and_said_as_such(server: Any, waits: list[float]) -> None:
    server.record_is_cut = True

    def recover(seconds: float) -> None:
        server.record_is_cut = False

    assert record_file(server.record_url, server.name, pause=recover).name == server.name
    server.record_is_cut = True
    with pytest.raises(RequestError, match=r"cannot be read \(the server closed the connection\)"):
        record_file(server.record_url, server.name, pause=waits.append)
    assert waits == [1, 2, 4]


def test_an_answer_that_is_no_http_is_said_in_one_line(waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(4):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"garbage\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(RequestError, match=r"cannot be read \(garbage\)$"):
            record_file(f"http://127.0.0.1:{listener.getsockname()[1]}/record", "f.pth", pause=waits.append)
