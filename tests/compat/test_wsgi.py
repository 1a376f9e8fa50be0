"""Flask by a2wsgi."""

from __future__ import annotations

import httpx
from served import Served

APP = "flask_app"


def test_requests(served: Served) -> None:
    answer = httpx.get(served.http + "/?a=ü").json()
    assert answer == {"hello": "world", "args": {"a": "ü"}, "scheme": "http"}


def test_request_body(served: Served) -> None:
    assert httpx.post(served.http + "/echo", content=b"x" * 500_000).content == b"x" * 500_000


def test_streaming(served: Served) -> None:
    assert httpx.get(served.http + "/stream").text == "0\n1\n2\n"
