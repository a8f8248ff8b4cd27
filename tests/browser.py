# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium for tests that look at a page, driven over a pipe by its DevTools protocol: nothing to install but it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
WITHOUT_CHROMIUM = "no Chromium on this machine: install chromium (apt-get install chromium)"
_TIMEOUT_S = 60
_READ_END, _WRITE_END = 3, 4  # where Chromium expects its pipe
_LOOK = """(async () => {
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
  const shown = [...document.querySelectorAll("body *")].filter(e => e.getClientRects().length);
  const hasText = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  const right = e => e.getBoundingClientRect().right;
  const window_px = document.documentElement.clientWidth;
  const scrolls = e => e.closest(".scroll") !== null;
  return {
    width: document.documentElement.scrollWidth,
    broken: [...document.images].filter(image => !image.naturalWidth).map(image => image.alt),
    images: document.images.length,
    beyond: shown.filter(e => !scrolls(e) && right(e) > window_px + 0.5).map(e => e.outerHTML.slice(0, 120)),
    smallest: Math.min(...shown.filter(hasText).map(e => parseFloat(getComputedStyle(e).fontSize)).filter(size => size > 0)),
    text: document.body.innerText,
  };
})()"""


class Look(NamedTuple):
    """What a page is at one width. beyond: elements that reach out of the window. smallest_px: the smallest letters."""

    width_px: int
    num_images: int
    broken_images: list[str]
    beyond: list[str]
    smallest_px: float
    text: str
    complaints: list[str]
    """Errors and warnings of the console, and of the network."""
    screenshot: bytes
    """PNG of the whole page."""


class Browser:
    """Chromium as a context manager; raises RuntimeError where it says nothing for a minute or ends."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None, WITHOUT_CHROMIUM
        here_reads, it_writes = os.pipe()
        it_reads, here_writes = os.pipe()

        def at_its_places() -> None:
            first = os.dup(it_reads)  # the pipes' own numbers may be 3 or 4
            second = os.dup(it_writes)
            os.dup2(first, _READ_END)
            os.dup2(second, _WRITE_END)

        flags = (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
        )
        command = [CHROMIUM, *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, preexec_fn=at_its_places, close_fds=False, stdin=quiet, stdout=quiet, stderr=quiet
        )
        os.close(it_reads)
        os.close(it_writes)
        self._from, self._to = os.fdopen(here_reads, "rb"), os.fdopen(here_writes, "wb")
        self._number, self._session, self._rest = 0, "", b""
        self._events: list[dict[str, Any]] = []

    def __enter__(self) -> Browser:
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._from.close()
        self._to.close()

    def look(self, page: Path, width_px: int, *, dark: bool = False) -> Look:
        """Open a file in a window so wide, wait until it and its pictures are there, and tell what is to be seen."""
        self._call("Emulation.setDeviceMetricsOverride", width=width_px, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self._call("Page.navigate", url=page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._receive()
        seen = self._call("Runtime.evaluate", expression=_LOOK, awaitPromise=True, returnByValue=True)["result"]["value"]
        picture = self._call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        return Look(
            width_px=seen["width"],
            num_images=seen["images"],
            broken_images=seen["broken"],
            beyond=seen["beyond"],
            smallest_px=seen["smallest"],
            text=seen["text"],
            complaints=[complaint for event in self._events if (complaint := _complaint(event))],
            screenshot=base64.b64decode(picture),
        )

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._receive()).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        """The next message; events are kept too."""
        alarm = threading.Timer(_TIMEOUT_S, self._process.kill)
        alarm.start()
        try:
            while b"\0" not in self._rest:
                part = os.read(self._from.fileno(), 1 << 20)
                if not part:
                    raise RuntimeError("Chromium has ended")
                self._rest += part
        finally:
            alarm.cancel()
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self._events.append(message)
        return message


def _complaint(event: dict[str, Any]) -> str:
    """What an event complains of, or nothing."""
    method, said = event["method"], event.get("params", {})
    if method == "Runtime.exceptionThrown":
        return str(said["exceptionDetails"]["text"])
    if method == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
        return str(said["args"])
    if method == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
        return str(said["entry"]["text"])
    if method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(("data:", "file:", "about:")):
        return f"asks for {said['request']['url']}"
    return ""
