"""Who may speak to the console, how much, and how often: before anything else sees a request.

A page of another site that is open in the same browser can send requests to this computer, too (cross-site WebSocket
hijacking, DNS rebinding). So the name under which the console is addressed must be its own, and the origin of what
changes something must be that very name.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

__all__ = ["MOST_MESSAGE", "Access", "Bucket", "Guard"]

Scope: TypeAlias = "MutableMapping[str, Any]"
Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
App: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"

MOST_BODY = 2**16  # bytes of a request over HTTP: pictures come, only words go
MOST_MESSAGE = 2**17  # bytes of one WebSocket message
REQUESTS = 60.0  # a second of one address for each page that may be open, pictures included
REFUSALS = 10.0  # requests a second of one address that are refused with a reason
MESSAGES = 60.0  # a second of one WebSocket
BURST = 5.0  # s of these rates that may come at once
MOST_PEERS = 256  # addresses whose rates are known
RETRY = 2  # s until a browser that found the console full asks again
TOO_MANY = (429, "Too many requests.")
FULL = (503, "As many pages are open as max_browsers allows. Close one: this page tries again by itself.")
TOO_MUCH, FORBIDDEN = 1009, 1008  # codes that close a WebSocket (RFC 6455, 7.4.1)


@dataclass(frozen=True)
class Access:
    """Who may come in.

    Attributes:
        hosts: Names with ports under which the console may be addressed, e.g. "localhost:8088"; empty: any, because
            a token is required.
        token: What a browser must know; empty: nothing.
        cookie: Name of the cookie that keeps the token. All ports of a host share their cookies.
    """

    hosts: frozenset[str] = frozenset()
    token: str = ""
    cookie: str = "sam_console"


class Bucket:
    """Allow so many a second, and a burst of some seconds' worth (token bucket).

    Args:
        rate: Per second.
        clock: Monotonic seconds; tests pass their own.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._left = rate * BURST
        self._filled = clock()

    def take(self) -> bool:
        """Take one, if there is one."""
        now = self._clock()
        self._left = min(self._rate * BURST, self._left + (now - self._filled) * self._rate)
        self._filled = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Guard:
    """Refuse what is not allowed in (ASGI middleware).

    Args:
        app: What is guarded.
        access: Who may come in.
        pages: Most pages that are open at once; behind one address there may be all of them.
        is_full: Whether no further page may be opened.
        clock: Monotonic seconds; tests pass their own.
    """

    def __init__(
        self,
        app: App,
        access: Access,
        pages: int = 1,
        is_full: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self._access = access
        self._requests = REQUESTS * pages
        self._is_full = is_full
        self._clock = clock
        self._peers: OrderedDict[str, tuple[Bucket, Bucket]] = OrderedDict()  # of what is served, and refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, *refusal)
        elif scope["type"] == "websocket":
            await self.app(scope, _limited(receive), send)
        else:
            await self.app(scope, _bounded(receive), self._remembering(scope, send))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason where a request is refused.

        What may not come in does not use up the requests of those at the same address who may, e.g. behind one proxy.
        """
        served, refused = self._buckets(scope)
        foreign = self._foreign(scope, headers)
        if foreign is not None:
            return foreign if refused.take() else TOO_MANY
        return self._excess(scope, headers) if served.take() else TOO_MANY

    def _foreign(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason where a request may not come in."""
        host = headers.get("host", "").lower()
        if self._access.hosts and host not in self._access.hosts:
            return 421, f"This console is not called {host[:80]!r}. Name it in the parameter hosts."
        if scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin", "")
            if origin and _host_of(origin) != host:
                return 403, f"Pages of {origin[:80]!r} may not speak to this console."
            if not origin and scope["type"] == "websocket":
                return 403, "A WebSocket needs an origin."
        site, kind = headers.get("sec-fetch-site", ""), headers.get("sec-fetch-dest", "")
        if site in ("cross-site", "same-site") and kind != "document":  # e.g. an image of another page; a link may be
            return 403, "Other pages may not use what belongs to this console."
        if not self._knows_token(scope, headers):
            return 401, "Open the console by the address that it printed: it ends in ?token=…"
        return None

    def _excess(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return status and reason where a request asks for more than there is."""
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY:
            return 413, f"A request has at most {MOST_BODY} bytes."
        if scope["type"] == "http" and "transport=polling" in scope["query_string"].decode("latin-1"):
            return 400, "The console speaks over a WebSocket only; a proxy must let it pass."
        if scope["type"] == "http" and scope.get("path") == "/" and self._is_full():
            return FULL
        return None

    def _knows_token(self, scope: Scope, headers: dict[str, str]) -> bool:
        token = self._access.token
        if not token:
            return True
        given = [_cookie(headers.get("cookie", ""), self._access.cookie), _query_token(scope)]
        return any(hmac.compare_digest(candidate.encode(), token.encode()) for candidate in given if candidate)

    def _buckets(self, scope: Scope) -> tuple[Bucket, Bucket]:
        peer = (scope.get("client") or ("", 0))[0]
        known = self._peers.pop(peer, None)
        buckets = known or (Bucket(self._requests, self._clock), Bucket(REFUSALS, self._clock))
        self._peers[peer] = buckets
        while len(self._peers) > MOST_PEERS:
            self._peers.popitem(last=False)
        return buckets

    def _remembering(self, scope: Scope, send: Send) -> Send:
        """Let the browser keep the token of the address, so that pictures and WebSocket bring it along."""
        token = self._access.token

        async def remember(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [
                    (b"x-content-type-options", b"nosniff"),
                    (b"x-frame-options", b"DENY"),
                    (b"referrer-policy", b"no-referrer"),
                ]
                if token and _query_token(scope):
                    cookie = f"{self._access.cookie}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800"
                    extra.append((b"set-cookie", cookie.encode("latin-1")))
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        return remember


def _host_of(origin: str) -> str | None:
    """Return the host and port of an origin; None where it is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _cookie(header: str, name: str) -> str:
    try:
        morsel = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def _query_token(scope: Scope) -> str:
    query = parse_qs(scope["query_string"].decode("latin-1")[:2000])
    return query.get("token", [""])[0]


def _bounded(receive: Receive) -> Receive:
    """End a body that is larger than its header may have said."""
    total = 0

    async def bounded() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        return {"type": "http.disconnect"} if total > MOST_BODY else message

    return bounded


def _limited(receive: Receive) -> Receive:
    """End a WebSocket whose messages are too large or too many."""
    bucket = Bucket(MESSAGES)

    async def limited() -> Message:
        message = await receive()
        if message["type"] != "websocket.receive":
            return message
        size = len(message.get("bytes") or b"") + len(message.get("text") or "")
        if size > MOST_MESSAGE:
            return {"type": "websocket.disconnect", "code": TOO_MUCH}
        return message if bucket.take() else {"type": "websocket.disconnect", "code": FORBIDDEN}

    return limited


async def _refuse(scope: Scope, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": FORBIDDEN, "reason": reason[:100]})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    if status == FULL[0]:  # a page that is loaded anew: the console still knows the one before for a moment
        headers.append((b"refresh", str(RETRY).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": reason.encode()})
