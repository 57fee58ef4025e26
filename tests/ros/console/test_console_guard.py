"""Who is let in: origins, hosts, tokens, sizes and rates. Each test is an attempt to get around the guard."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("nicegui")

from sam_ros.console.console import token_of
from sam_ros.console.parameters import ConsoleParameters
from sam_ros.console.web.guard import (
    BURST,
    MESSAGES,
    MOST_BODY,
    MOST_MESSAGE,
    REFUSALS,
    REQUESTS,
    Access,
    Bucket,
    Guard,
)

TOKEN = "correct-horse-battery"
LOCAL = Access(frozenset({"localhost:8088", "127.0.0.1:8088"}))
REMOTE = Access(frozenset(), TOKEN)


class Inner:
    """What is guarded: it reads everything and says yes."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            self.received.append(message)
            if scope["type"] == "http" and not message.get("more_body"):
                break
            if message["type"].endswith("disconnect"):
                return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})


def ask(
    guard: Guard,
    *,
    kind: str = "http",
    method: str = "GET",
    query: str = "",
    host: str = "localhost:8088",
    peer: str = "127.0.0.1",
    path: str = "/",
    messages: list[Any] | None = None,
    **headers: str,
) -> list[Any]:
    """Send a request through the guard and return what comes back."""
    sent: list[Any] = []
    waiting = list(messages or [{"type": "http.request", "body": b""}])

    async def receive() -> Any:
        return waiting.pop(0) if waiting else {"type": f"{kind}.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "client": (peer, 1),
        "headers": [(name.encode(), value.encode()) for name, value in pairs.items()],
    }
    asyncio.run(guard(scope, receive, send))
    return sent


def status(sent: list[Any]) -> int:
    return int(sent[0]["status"])


def closed(sent: list[Any]) -> bool:
    return bool(sent) and sent[0]["type"] == "websocket.close"


def test_this_computer_needs_no_token() -> None:
    assert status(ask(Guard(Inner(), LOCAL))) == 200


@pytest.mark.parametrize("host", ["evil.example:8088", "localhost:9999", "localhost", "", "x" * 10_000])
def test_another_name_is_refused(host: str) -> None:
    """DNS rebinding: a name of somebody else that leads to this computer."""
    assert status(ask(Guard(Inner(), LOCAL), host=host)) == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:9999", "null", "http://localhost",
                                    "http://[", "http://[::1", "http://a]b", ""])  # fmt: skip
def test_a_websocket_of_another_origin_is_closed(origin: str) -> None:
    inner = Inner()
    headers = {"origin": origin} if origin else {}
    assert closed(ask(Guard(inner, LOCAL), kind="websocket", **headers))
    assert inner.received == []


def test_a_websocket_of_the_own_page_is_let_in() -> None:
    inner = Inner()
    sent = ask(
        Guard(inner, LOCAL), kind="websocket", origin="http://localhost:8088", messages=[{"type": "websocket.connect"}]
    )
    assert not closed(sent)
    assert inner.received[0]["type"] == "websocket.connect"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://["])
def test_a_form_of_another_page_is_refused(origin: str) -> None:
    for access in (LOCAL, REMOTE):
        assert status(ask(Guard(Inner(), access), method="POST", query=f"token={TOKEN}", origin=origin)) == 403


@pytest.mark.parametrize(
    ("query", "cookie"),
    [("", ""), ("token=wrong", ""), ("", "sam_console=wrong"), ("token=", "sam_console="), ("", "\x00;;=\xff"),
     ("token=" + "x" * 100_000, ""), (f"token={TOKEN[:-1]}", ""), (f"Token={TOKEN}", "")],
)  # fmt: skip
def test_without_the_token_nobody_gets_in(query: str, cookie: str) -> None:
    inner = Inner()
    headers = {"cookie": cookie} if cookie else {}
    assert status(ask(Guard(inner, REMOTE), query=query, **headers)) == 401
    assert closed(ask(Guard(inner, REMOTE), kind="websocket", query=query, origin="http://localhost:8088", **headers))
    assert inner.received == []


def test_the_token_comes_with_the_address_and_stays_as_a_cookie() -> None:
    guard = Guard(Inner(), REMOTE)
    sent = ask(guard, query=f"token={TOKEN}", host="robot.local:8088")
    headers = dict(sent[0]["headers"])

    assert status(sent) == 200
    assert b"HttpOnly" in headers[b"set-cookie"]
    assert b"SameSite=Strict" in headers[b"set-cookie"]
    cookie = headers[b"set-cookie"].decode().split(";")[0]
    assert status(ask(guard, host="robot.local:8088", cookie=cookie)) == 200
    assert headers[b"x-frame-options"] == b"DENY", "no other page may put it into a frame"


def test_a_proxy_does_not_open_the_console_to_everybody() -> None:
    """The console listens at 127.0.0.1, and a proxy passes on what comes to its own name."""
    settings = ConsoleParameters(hosts=("Robot.Example",))
    token = token_of(settings)
    assert len(token) > 16
    access = Access(settings.allowed_hosts(8088), token)
    assert status(ask(Guard(Inner(), access), host="robot.example")) == 401
    assert status(ask(Guard(Inner(), access), host="robot.example", query=f"token={token}")) == 200
    assert status(ask(Guard(Inner(), access), host="evil.example", query=f"token={token}")) == 421
    assert token_of(ConsoleParameters()) == ""
    assert token_of(ConsoleParameters(token=TOKEN)) == TOKEN
    assert len(token_of(ConsoleParameters(host="0.0.0.0"))) > 16
    assert ConsoleParameters(host="0.0.0.0").allowed_hosts(8088) == frozenset(), "any, with the token"


def test_consoles_on_several_ports_of_a_host_have_their_own_cookies() -> None:
    one, two = Access(token=TOKEN, cookie="sam_console_1"), Access(token="another-token", cookie="sam_console_2")
    both = f"sam_console_1={TOKEN}; sam_console_2=another-token"
    for access in (one, two):
        assert status(ask(Guard(Inner(), access), cookie=both)) == 200
    assert status(ask(Guard(Inner(), two), cookie="sam_console_1=another-token")) == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_and_scripts_of_other_pages_reach_nothing(site: str) -> None:
    """`<img src="http://127.0.0.1:8088/">` in another page would take the operator's places and requests."""
    guard = Guard(Inner(), LOCAL, clock=lambda: 0.0)
    for kind in ("image", "script", "iframe", "empty", ""):
        assert status(ask(guard, sec_fetch_site=site, sec_fetch_dest=kind)) == 403
    for _ in range(1000):
        assert status(ask(guard, sec_fetch_site=site, sec_fetch_dest="image")) in (403, 429)
    assert status(ask(guard, sec_fetch_site=site, sec_fetch_dest="document")) == 200, "a link, and nothing is used up"
    assert status(ask(guard, sec_fetch_site="same-origin", sec_fetch_dest="script")) == 200
    assert status(ask(guard, sec_fetch_site="none", sec_fetch_dest="document")) == 200


def test_no_page_is_made_when_as_many_as_may_be_are_open() -> None:
    inner = Inner()
    guard = Guard(inner, LOCAL, is_full=lambda: True)
    sent = ask(guard)
    assert status(sent) == 503
    assert int(dict(sent[0]["headers"])[b"refresh"]) > 0, "a page that is loaded anew comes back by itself"
    assert inner.received == []
    assert status(ask(guard, path="/frame")) == 200, "those that are open go on"


def test_a_request_has_a_bounded_body_whatever_it_says_of_itself() -> None:
    guard, inner = Guard(Inner(), LOCAL), Inner()
    assert status(ask(guard, method="POST", content_length=str(MOST_BODY + 1))) == 413
    assert status(ask(guard, method="POST", content_length="-1")) == 413
    assert status(ask(guard, method="POST", content_length="many")) == 413
    chunk = {"type": "http.request", "body": b"x" * (MOST_BODY // 2), "more_body": True}
    ask(Guard(inner, LOCAL), method="POST", messages=[chunk] * 5)
    assert sum(len(message.get("body", b"")) for message in inner.received) <= MOST_BODY
    assert inner.received[-1]["type"] == "http.disconnect"


def test_a_flood_of_requests_is_refused_and_others_are_served() -> None:
    guard = Guard(Inner(), LOCAL, 2, clock=lambda: 0.0)
    answers = [status(ask(guard)) for _ in range(int(2 * REQUESTS * BURST) + 10)]
    assert answers.count(429) == 10
    assert status(ask(guard, peer="127.0.0.2")) == 200
    for i in range(300):
        ask(guard, peer=f"10.0.{i // 256}.{i % 256}")
    assert len(guard._peers) <= 256


@pytest.mark.parametrize(
    ("access", "wrong", "why"),
    [(REMOTE, {"query": "token=guess"}, 401), (LOCAL, {"host": "evil.example"}, 421),
     (LOCAL, {"method": "POST", "origin": "http://evil.example"}, 403)],
)  # fmt: skip
def test_a_flood_of_what_is_refused_is_refused_and_the_pages_of_that_address_are_served(
    access: Access, wrong: dict[str, str], why: int
) -> None:
    guard = Guard(Inner(), access, clock=lambda: 0.0)
    answers = [status(ask(guard, **wrong)) for _ in range(int(REFUSALS * BURST) + 10)]
    assert (answers.count(why), answers.count(429)) == (REFUSALS * BURST, 10)
    assert status(ask(guard, query=f"token={TOKEN}")) == 200


def test_all_pages_may_come_from_one_address() -> None:
    """As through a proxy that does not name its visitors: 16 pages with 30 pictures a second."""
    now = [0.0]
    guard = Guard(Inner(), LOCAL, 16, clock=lambda: now[0])
    for number in range(10 * 16 * 30):
        now[0] = number / (16 * 30)
        assert status(ask(guard, path="/frame")) == 200


def test_a_flood_over_the_websocket_ends_it() -> None:
    inner = Inner()
    flood = [{"type": "websocket.receive", "text": "x"}] * 2000
    ask(Guard(inner, LOCAL), kind="websocket", origin="http://localhost:8088", messages=flood)
    assert inner.received[-1]["type"] == "websocket.disconnect"
    assert len(inner.received) <= MESSAGES * 5 + 10


def test_a_giant_message_over_the_websocket_ends_it() -> None:
    for giant in ({"text": "x" * (MOST_MESSAGE + 1)}, {"bytes": b"x" * (MOST_MESSAGE + 1)}):
        inner = Inner()
        flood = [{"type": "websocket.receive", **giant}]
        ask(Guard(inner, LOCAL), kind="websocket", origin="http://localhost:8088", messages=flood)
        assert [message["type"] for message in inner.received] == ["websocket.disconnect"]


def test_polling_is_no_way_around_the_websocket() -> None:
    assert status(ask(Guard(Inner(), LOCAL), query="EIO=4&transport=polling")) == 400


def test_a_bucket_refills() -> None:
    now = [0.0]
    bucket = Bucket(2.0, lambda: now[0])
    assert sum(bucket.take() for _ in range(100)) == 10, "a burst of five seconds"
    now[0] = 1.0
    assert sum(bucket.take() for _ in range(100)) == 2
