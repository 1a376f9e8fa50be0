"""A WSGI application, by a2wsgi."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from a2wsgi import WSGIMiddleware
from flask import Flask, Response, request

flask = Flask(__name__)


@flask.get("/")
def hello() -> dict[str, Any]:
    return {"hello": "world", "args": request.args, "scheme": request.scheme}


@flask.post("/echo")
def echo() -> bytes:
    return request.get_data()


@flask.get("/stream")
def stream() -> Response:
    def parts() -> Iterator[str]:
        for i in range(3):
            yield f"{i}\n"

    return Response(parts())


app = WSGIMiddleware(flask)
