# SPDX-License-Identifier: Apache-2.0
"""A page without a browser: whether its tags close, what it embeds, and whether it needs anything from elsewhere."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

from PIL import Image

_VOID = {"meta", "img", "br", "link", "input", "hr"}
_SVG_ITEMS = {"line", "rect", "polyline", "circle"}


class Page(HTMLParser):
    """Tags and text of a page; raises AssertionError where a tag is closed that is not the innermost open one."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _SVG_ITEMS, f"<{tag}/> closes itself outside of SVG"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> at {self.getpos()} closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def require_self_contained(page: Page) -> int:
    """Every picture is a data URI that decodes, nothing is asked of elsewhere; gives the number of pictures."""
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed"}
    sources = [attributes["src"] or "" for _, attributes in page.tags if "src" in attributes]
    for source in sources:
        kind, _, encoded = source.partition(";base64,")
        assert kind == "data:image/jpeg"
        with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
            image.load()
    assert page.html.count("data:") == len(sources)
    rest = re.sub(r"base64,[^\"]+", "", page.html)
    assert not re.search(r"(https?:)?//[a-z]", rest) and "url(" not in rest and "@import" not in rest
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    assert not re.search(r"[\"= (,:](nan|inf)\b", rest, re.IGNORECASE)
    return len(sources)
