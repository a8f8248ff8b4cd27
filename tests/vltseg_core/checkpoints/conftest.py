# SPDX-License-Identifier: Apache-2.0
"""A server of one record and one repository on this machine that misbehaves as it is told to."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vltseg_core.checkpoints.remote_files import RemoteFile, record_file

MINI = (Path(__file__).parents[2] / "parity" / "mini.pth").read_bytes()
HUB_NAME = "open_clip_model.safetensors"
NAME = "vltseg_checkpoint_cityscapes_1.pth"


class Server:
    """Serves one record with one file, as badly as it is told to.

    cut_after: bytes of each answer after which the connection breaks, by "close", "reset" or "hang". knows_ranges: whether it
    goes on where asked. content: what it sends; the record always describes the real file, but for what `described` replaces.
    refusals: what it answers first, status and headers, each once.
    """

    def __init__(self) -> None:
        self.content = self.whole = MINI
        self.name = NAME
        self.cut_after: int | None = None
        self.breaks_by = "close"
        self.knows_ranges = True
        self.record: bytes | None = None
        self.record_is_cut = False
        self.described: dict[str, Any] = {}
        self.licence = "mit"
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.ranges: list[str] = []
        self.ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if server.refusals:
                    status, headers = server.refusals.pop(0)
                    self._send(status, b"", headers=headers)
                elif self.path == "/record":
                    self._send(200, server.record or server.describe(), 20 if server.record_is_cut else None)
                elif self.path.startswith("/api/models/"):
                    self._send(200, server.record or server.describe_repository())
                else:
                    self._send_file()

            def _send_file(self) -> None:
                wanted = self.headers.get("Range", "")
                server.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.knows_ranges else 0
                if start >= len(server.content):
                    self._send(416, b"")
                else:
                    self._send(206 if start else 200, server.content[start:], server.cut_after)

            def _send(self, status: int, body: bytes, cut_after: int | None = None, headers: Any = None) -> None:
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[:cut_after])
                if cut_after is not None and server.breaks_by == "hang":
                    server.ended.wait()
                elif cut_after is not None and server.breaks_by == "reset":
                    server.ended.wait(0.2)  # so that the client has what was sent
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.rfile.close()
                    self.wfile.close()
                    self.connection.close()

            def log_message(self, *arguments: object) -> None:
                pass

        class QuietServer(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a connection that was broken on purpose, or a client that was ended

        self.httpd = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"
        self.record_url = f"{self.url}/record"
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    def describe(self) -> bytes:
        checksum = f"md5:{hashlib.md5(self.whole).hexdigest()}"
        described = {"key": self.name, "size": len(self.whole), "checksum": checksum, "links": {"self": f"{self.url}/file"}}
        return json.dumps({"files": [{**described, **self.described}]}).encode()

    def describe_repository(self) -> bytes:
        lfs = {"size": len(self.whole), "sha256": hashlib.sha256(self.whole).hexdigest()}
        siblings = [{"rfilename": "README.md"}, {"rfilename": HUB_NAME, "lfs": lfs}]
        return json.dumps({"cardData": {"license": self.licence}, "siblings": siblings}).encode()

    def serve(self, whole: bytes) -> None:
        """Another file than the mini checkpoint, and its true description."""
        self.content = self.whole = whole

    @property
    def file(self) -> RemoteFile:
        return record_file(self.record_url, self.name)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.ended.set()
    server.httpd.shutdown()


@pytest.fixture
def waits() -> list[float]:
    """Seconds that were waited, if `waits.append` is what waits."""
    return []
