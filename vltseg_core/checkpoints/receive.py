# SPDX-License-Identifier: Apache-2.0
"""One request over HTTPS: which addresses are followed, every byte that arrives, what failed in words, how long to wait."""

from __future__ import annotations

import email.utils
import http.client
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from vltseg_core.errors import CheckpointError

Pause = Callable[[float], None]
"""Waits for that many seconds."""

WAITS_S = (1.0, 2.0, 4.0)
"""Waits before the second, third and fourth try."""

_MAX_WAIT_S = 60.0
_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 20
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, HTTPStatus.TOO_MANY_REQUESTS)


class RequestError(CheckpointError):
    """A request without a whole answer, in words.

    status: the HTTP status where the server refused. offline: whether no server was reached. retry_after_s: the wait that
    the server asks for.
    """

    def __init__(
        self, problem: str, *, status: int | None = None, offline: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.offline = offline
        self.retry_after_s = retry_after_s

    @property
    def passing(self) -> bool:
        """Whether another try may succeed."""
        return self.status is None or self.status in _PASSING or self.status >= HTTPStatus.INTERNAL_SERVER_ERROR

    def wait_s(self, num_failures: int) -> float:
        """Seconds to wait after so many failures in a row; the server's own wish, up to a minute, comes first."""
        return WAITS_S[num_failures - 1] if self.retry_after_s is None else min(self.retry_after_s, _MAX_WAIT_S)


def with_way_out(error: CheckpointError, way_out: str) -> CheckpointError:
    """The error with what helps instead; that there is no connection is said only where that is so."""
    offline = isinstance(error, RequestError) and error.offline
    return CheckpointError(f"{error}{'. Without a connection,' if offline else '; or'} {way_out}")


def check_url(url: object, named_by: str) -> str:
    """The address, which must be https; http is followed only where `named_by`, what named it, is http itself.

    Raises CheckpointError otherwise.
    """
    if isinstance(url, str) and _is_usable(url, plain_allowed=named_by.lower().startswith("http:")):
        return url
    if url == named_by:
        raise CheckpointError(f"'{url}' is no https address: check VLTSEG_RECORD_URL and VLTSEG_HUB_URL")
    raise CheckpointError(f"'{named_by}' leads to '{url}', expected an https address: it is not followed")


def _is_usable(url: str, *, plain_allowed: bool) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return (
        has_host
        and url.isascii()
        and url.isprintable()
        and " " not in url
        and parts.scheme in ("https", *["http"] * plain_allowed)
    )


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        check_url(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def received(url: str, *, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """What a server sends of a file from byte `start` on, as it arrives, each piece with its place in the file.

    The first place is 0 where the server knows no ranges. Raises RequestError where the answer does not come, or not whole.
    """
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.build_opener(_CheckedRedirects).open(request, timeout=_TIMEOUT_S) as response:
            place = start if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            end = None if response.length is None else place + response.length
            while place != end and (piece := response.read1(_CHUNK_BYTES)):  # read would lose what came before a break
                yield place, piece
                place += len(piece)
    except urllib.error.HTTPError as error:
        error.close()
        phrase = http.client.responses.get(error.code, "unknown")
        raise RequestError(
            f"the server answers {error.code}, {phrase}", status=error.code, retry_after_s=_retry_after_s(error.headers)
        ) from error
    except urllib.error.URLError as error:
        raise RequestError(str(error.reason), offline=True) from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise RequestError(" ".join(str(error).split()) or type(error).__name__) from error
    if end is not None and place < end:
        raise RequestError("the server closed the connection")


def _retry_after_s(headers: Any) -> float | None:
    """The header's seconds, or seconds to its date; None where there is none that can be read."""
    wish = headers.get("Retry-After", "").strip()
    if wish.isdecimal():
        return float(wish)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(wish).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
