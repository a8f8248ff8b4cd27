# SPDX-License-Identifier: Apache-2.0
"""Downloads against a local server that cuts, truncates, corrupts, refuses and forgets."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vltseg_core.checkpoints import receive
from vltseg_core.checkpoints.download import download
from vltseg_core.errors import CheckpointError


@pytest.fixture
def get(server: Any, tmp_path: Path, waits: list[float]) -> Callable[[], bytes]:
    """Downloads the server's file; gives its bytes."""

    def get() -> bytes:
        download(server.file, tmp_path / "f.pth", lambda done, total: None, pause=waits.append)
        return (tmp_path / "f.pth").read_bytes()

    return get


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    return tmp_path / "f.pth.part"


def test_a_whole_file_arrives_with_progress(server: Any, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download(server.file, tmp_path / "f.pth", lambda done, total: seen.append((done, total)))
    size = len(server.whole)
    assert (tmp_path / "f.pth").read_bytes() == server.whole
    assert seen[-1] == (size, size) and seen == sorted(seen)
    assert [p.name for p in tmp_path.iterdir()] == ["f.pth"]


def test_a_connection_that_breaks_again_and_again_is_gone_on_with(server: Any, get: Any, waits: list[float]) -> None:
    server.cut_after = len(server.whole) // 5
    assert get() == server.whole
    assert len(server.ranges) >= 5 and server.ranges[1] == f"bytes={len(server.whole) // 5}-"
    assert set(waits) == {1.0}


def test_an_earlier_broken_download_is_gone_on_with(server: Any, get: Any, partial: Path) -> None:
    partial.write_bytes(server.whole[:1_000_000])
    assert get() == server.whole and server.ranges == ["bytes=1000000-"]


def test_a_server_without_ranges_is_taken_from_the_start(server: Any, get: Any, partial: Path) -> None:
    server.knows_ranges = False
    partial.write_bytes(server.whole[:1_000_000])
    assert get() == server.whole


@pytest.mark.parametrize("cuts", [(300_000, 300_000), (300_000, 200_000)])
def test_a_server_without_ranges_that_always_cuts_is_given_up(
    server: Any, tmp_path: Path, waits: Any, cuts: tuple[int, int]
) -> None:
    server.knows_ranges = False
    server.cut_after = cuts[0]

    def wait(seconds: float) -> None:
        waits.append(seconds)
        server.cut_after = cuts[len(waits) % 2]
        assert len(waits) < 20

    with pytest.raises(CheckpointError, match=r"broke off at .*it goes on from there"):
        download(server.file, tmp_path / "f.pth", lambda done, total: None, pause=wait)


def test_a_server_that_sends_nothing_more_is_given_up(server: Any, get: Any, tmp_path: Path) -> None:
    server.content = server.whole[:500_000]
    with pytest.raises(CheckpointError, match=r"broke off at \d+ of \d+ bytes .*it goes on from there"):
        get()
    assert not (tmp_path / "f.pth").exists()


def test_a_range_that_the_server_refuses_is_dropped_and_the_file_begun_anew(server: Any, get: Any, partial: Path) -> None:
    partial.write_bytes(b"x" * 1_000_000)
    record = server.file
    server.refusals = [(416, {})]
    download(record, partial.with_name("f.pth"), lambda done, total: None, pause=lambda s: None)
    assert partial.with_name("f.pth").read_bytes() == server.whole and server.ranges == [""]


def test_a_server_that_refuses_every_range_leaves_nothing_that_jams_the_next_try(server: Any, get: Any, partial: Path) -> None:
    server.content = server.whole[:300_000]
    with pytest.raises(CheckpointError, match="broke off"):
        get()
    server.serve(server.whole)
    assert get() == server.whole


@pytest.mark.parametrize("breaks_by", ["reset", "hang", "close"])
def test_every_byte_that_arrived_is_kept_and_shown(
    server: Any, tmp_path: Path, partial: Path, monkeypatch: pytest.MonkeyPatch, breaks_by: str
) -> None:
    monkeypatch.setattr(receive, "_TIMEOUT_S", 0.5)
    server.cut_after, server.breaks_by = 300_000, breaks_by
    shown: list[int] = []
    kept: list[int] = []

    def stop_waiting(seconds: float) -> None:
        kept.append(partial.stat().st_size)
        server.cut_after = None

    download(server.file, tmp_path / "f.pth", lambda done, total: shown.append(done), pause=stop_waiting)
    assert kept == [300_000] and 300_000 in shown
    assert server.ranges == ["", "bytes=300000-"] and (tmp_path / "f.pth").read_bytes() == server.whole


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_after_longer_and_longer_waits(
    server: Any, tmp_path: Path, waits: list[float], status: int
) -> None:
    remote = server.file
    server.refusals = [(status, {})] * 3
    download(remote, tmp_path / "f.pth", lambda done, total: None, pause=waits.append)
    assert waits == [1, 2, 4] and (tmp_path / "f.pth").read_bytes() == server.whole


def test_the_server_s_own_wish_is_waited_for_up_to_a_minute(server: Any, tmp_path: Path, waits: list[float]) -> None:
    remote = server.file
    in_half_a_minute = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.refusals = [(429, {"Retry-After": wish}) for wish in ("7", "86400", in_half_a_minute)]
    download(remote, tmp_path / "f.pth", lambda done, total: None, pause=waits.append)
    assert waits[:2] == [7, 60] and 20 < waits[2] <= 30


def test_a_file_that_is_not_there_is_not_asked_for_again(server: Any, tmp_path: Path, waits: list[float]) -> None:
    remote = server.file
    server.refusals = [(404, {})]
    with pytest.raises(CheckpointError, match=r"the server answers 404, Not Found\): check the address"):
        download(remote, tmp_path / "f.pth", lambda done, total: None, pause=waits.append)
    assert waits == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/passwd", "the server answers 302, Found"),
        ("ftp://127.0.0.1/f", "leads to 'ftp://127.0.0.1/f', expected an https address"),
        ("http://[f", "Invalid IPv6 URL"),
    ],
)
def test_a_redirection_to_no_web_address_is_not_followed(server: Any, tmp_path: Path, target: str, words: str) -> None:
    remote = server.file
    server.refusals = [(302, {"Location": target})] * 4
    with pytest.raises(CheckpointError, match=words):
        download(remote, tmp_path / "f.pth", lambda done, total: None, pause=lambda s: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + b"x", lambda b: b + b"more"])
def test_damaged_content_is_deleted_and_never_gets_its_name(
    server: Any, get: Any, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    server.content = damage(server.whole)
    with pytest.raises(CheckpointError, match="deleted; run the command again"):
        get()
    assert list(tmp_path.iterdir()) == []
