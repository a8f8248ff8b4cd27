# SPDX-License-Identifier: Apache-2.0
"""Downloads against a local server that cuts, truncates, corrupts and forgets; what arrives is converted."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vltseg_core.checkpoints import native
from vltseg_core.checkpoints.cache import accept_licence
from vltseg_core.checkpoints.download import RemoteFile, download, record_file
from vltseg_core.checkpoints.fetch import fetch
from vltseg_core.checkpoints.pretrained_files import (
    PretrainedWeights,
    fetch_pretrained,
    pretrained_path,
    pretrained_weights,
)
from vltseg_core.checkpoints.published_models import LICENCE
from vltseg_core.config import PRESETS
from vltseg_core.errors import CheckpointError, ConfigurationError
from vltseg_core.model.image_encoder import pretrained_file

MINI = (Path(__file__).parents[2] / "parity" / "mini.pth").read_bytes()
HUB_NAME = "open_clip_model.safetensors"
NAME = "vltseg_checkpoint_cityscapes_1.pth"


class Server:
    """Serves one record with one file, as badly as it is told to.

    cut_after: bytes of each answer after which the connection breaks. knows_ranges: whether it goes on where asked.
    content: what it sends; the record always describes the real file.
    """

    def __init__(self) -> None:
        self.cut_after: int | None = None
        self.knows_ranges = True
        self.content = MINI
        self.record: bytes | None = None
        self.licence = "mit"
        self.ranges: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/record":
                    self._send(200, server.record or server.describe())
                    return
                if self.path.startswith("/api/models/"):
                    self._send(200, server.record or server.describe_repository())
                    return
                wanted = self.headers.get("Range", "")
                server.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.knows_ranges else 0
                if start >= len(server.content):
                    self._send(416, b"")
                    return
                self._send(206 if start else 200, server.content[start:], server.cut_after)

            def _send(self, status: int, body: bytes, cut_after: int | None = None) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:cut_after])

            def log_message(self, *arguments: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def describe(self) -> bytes:
        checksum = f"md5:{hashlib.md5(MINI).hexdigest()}"
        described = {"key": NAME, "size": len(MINI), "checksum": checksum, "links": {"self": f"{self.url}/file"}}
        return json.dumps({"files": [described]}).encode()

    def describe_repository(self) -> bytes:
        large = {"rfilename": HUB_NAME, "size": len(MINI), "lfs": {"size": len(MINI), "sha256": hashlib.sha256(MINI).hexdigest()}}
        return json.dumps({"cardData": {"license": self.licence}, "siblings": [{"rfilename": "README.md"}, large]}).encode()

    @property
    def file(self) -> RemoteFile:
        return record_file(f"{self.url}/record", NAME)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.httpd.shutdown()


def test_a_whole_file_arrives_with_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download(server.file, tmp_path / "f.pth", lambda done, total: seen.append((done, total)))
    assert (tmp_path / "f.pth").read_bytes() == MINI
    assert seen[-1] == (len(MINI), len(MINI)) and seen == sorted(seen)
    assert [p.name for p in tmp_path.iterdir()] == ["f.pth"]


def test_a_connection_that_breaks_again_and_again_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.cut_after = len(MINI) // 5
    download(server.file, tmp_path / "f.pth", lambda done, total: None)
    assert (tmp_path / "f.pth").read_bytes() == MINI
    assert len(server.ranges) >= 5 and server.ranges[1] == f"bytes={len(MINI) // 5}-"


def test_an_earlier_broken_download_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "f.pth.part").write_bytes(MINI[:1_000_000])
    download(server.file, tmp_path / "f.pth", lambda done, total: None)
    assert (tmp_path / "f.pth").read_bytes() == MINI and server.ranges == ["bytes=1000000-"]


def test_a_server_without_ranges_is_taken_from_the_start(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    (tmp_path / "f.pth.part").write_bytes(MINI[:1_000_000])
    download(server.file, tmp_path / "f.pth", lambda done, total: None)
    assert (tmp_path / "f.pth").read_bytes() == MINI


def test_a_server_that_sends_nothing_more_is_given_up_and_what_came_is_kept(server: Server, tmp_path: Path) -> None:
    server.content = MINI[:500_000]
    with pytest.raises(CheckpointError, match=r"broke off at \d+ of \d+ bytes .*it goes on from there"):
        download(server.file, tmp_path / "f.pth", lambda done, total: None)
    assert not (tmp_path / "f.pth").exists()


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + b"x", lambda b: b + b"more"])
def test_damaged_content_is_deleted_and_never_gets_its_name(
    server: Server, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    server.content = damage(MINI)
    with pytest.raises(CheckpointError, match="deleted; run the command again"):
        download(server.file, tmp_path / "f.pth", lambda done, total: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("record", [b"<html>", b"{}", b'{"files": [{"key": 1}]}', b"[]"])
def test_a_record_that_makes_no_sense_is_said(server: Server, record: bytes) -> None:
    server.record = record
    with pytest.raises(CheckpointError, match="gives no list of files"):
        record_file(f"{server.url}/record", NAME)


def test_a_file_that_the_record_lacks_is_said(server: Server) -> None:
    with pytest.raises(CheckpointError, match=f"has no file 'other.pth', it has {NAME}"):
        record_file(f"{server.url}/record", "other.pth")


def test_a_fetched_checkpoint_is_converted_once(server: Server, tmp_path: Path) -> None:
    accept_licence(tmp_path, LICENCE)
    weights = fetch("cityscapes_1", tmp_path, lambda done, total: None, record_url=f"{server.url}/record")
    restored = native.load(weights)
    assert "Cityscapes, 20,000 iterations" in restored.trained_on and "CC BY-NC 4.0" in restored.trained_on
    assert not (tmp_path / NAME).exists()
    again = fetch("cityscapes_1", tmp_path, lambda done, total: None, record_url="http://127.0.0.1:9/none")
    assert again == weights and len(server.ranges) == 1


def test_the_licence_comes_first(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"CC BY-NC 4.0 .*--accept-license"):
        fetch("cityscapes_1", tmp_path, lambda done, total: None, record_url=f"{server.url}/record")
    assert server.ranges == []


def test_without_a_connection_the_sentence_names_the_file_and_the_folder(tmp_path: Path) -> None:
    accept_licence(tmp_path, LICENCE)
    with pytest.raises(CheckpointError, match=f"cannot be reached.*put {NAME} into '{tmp_path}'"):
        fetch("cityscapes_1", tmp_path, lambda done, total: None, record_url="http://127.0.0.1:9/none")
    (tmp_path / NAME).write_bytes(MINI)
    assert native.load(fetch("cityscapes_1", tmp_path, lambda done, total: None, record_url="http://127.0.0.1:9/none"))
    assert (tmp_path / NAME).read_bytes() == MINI


def test_an_unknown_name_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'adcd_1': did you mean 'acdc_1'\?"):
        fetch("adcd_1", tmp_path, lambda done, total: None)


EVA = PretrainedWeights("EVA02-B-16", "merged2b_s8b_b131k")


def test_clip_weights_come_from_the_hub_by_its_own_checksum(server: Server, tmp_path: Path) -> None:
    server.cut_after = len(MINI) // 3
    path, licence = fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)
    assert (path.read_bytes(), licence) == (MINI, "mit")
    assert path == pretrained_path(*EVA, tmp_path)
    num_requests = len(server.ranges)
    assert fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url="http://127.0.0.1:9")[0] == path
    assert len(server.ranges) == num_requests


def test_damaged_clip_weights_never_get_their_name(server: Server, tmp_path: Path) -> None:
    server.content = MINI[:-1] + b"x"
    with pytest.raises(CheckpointError, match=r"deleted; run the command again.*put open_clip_model.safetensors of https://"):
        fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)
    assert list(tmp_path.iterdir()) == []


def test_a_licence_that_restricts_use_is_asked_for_once(server: Server, tmp_path: Path) -> None:
    server.licence = "apple-amlr"
    with pytest.raises(ConfigurationError, match=r"licensed 'apple-amlr' .*--accept-license"):
        fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)
    assert server.ranges == []
    fetch_pretrained(EVA, tmp_path, lambda done, total: None, accept_license=True, hub_url=server.url)
    other = PretrainedWeights("EVA02-L-14", "merged2b_s4b_b131k")
    assert fetch_pretrained(other, tmp_path, lambda done, total: None, hub_url=server.url)[0].is_file()


def test_names_of_presets_and_of_open_clip_are_understood() -> None:
    assert pretrained_weights("eva02_clip_b") == EVA
    assert pretrained_weights("ViT-L-14/laion2b_s32b_b82k") == ("ViT-L-14", "laion2b_s32b_b82k")
    assert pretrained_weights("cityscapes_1") is None


def test_every_preset_of_a_clip_has_weights_on_the_hub() -> None:
    for name, config in PRESETS.items():
        if name != "tiny":
            weights = pretrained_weights(name)
            assert weights is not None and weights.model == config.image_encoder.model
            assert pretrained_file(*weights).repository.startswith("timm/")


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}", b'{"siblings": [3]}', b'{"siblings": [{"lfs": {"size": 1}}]}'])
def test_a_hub_that_makes_no_sense_is_said(server: Server, answer: bytes, tmp_path: Path) -> None:
    server.record = answer
    with pytest.raises(CheckpointError, match=r"gives no list of files.*put open_clip_model.safetensors of https://"):
        fetch_pretrained(EVA, tmp_path, lambda done, total: None, hub_url=server.url)
