"""Requests and WebSockets as gunicorn's logger and hooks know them: `req`, `resp` and `environ` made from ASGI.

`AccessLog` gives each to gunicorn's logger, which formats it as `--access-logformat` says: a line for a request, and a
line for a WebSocket when it ends, with status 101, the time that it was open and the bytes that it sent. `Hooked` calls
`pre_request` and `post_request`, and stands in the way of an application only where one of them is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from logging import DEBUG
from typing import TYPE_CHECKING, Any, Final

from fastws.asgi.loading import ASGIApplication, Message, Receive, Scope, Send
from fastws.asgi.observer import Observer, WebSocketEnd
from fastws.asgi.request_text import query
from fastws.http.escaped import escape, without_query_values
from fastws.observe.access_format import response_fields

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker

    from fastws.http.response_head import ResponseHead

NO_ADDRESS: Final = "-"
"""The REMOTE_ADDR of a client on a Unix socket."""


class Request:
    """A request as a hook gets it: text, with the names of header fields in upper case.

    Without `query_values` it is as a log may show it: see --no-log-query-values.
    """

    def __init__(self, scope: Mapping[str, Any], query_values: bool = True) -> None:
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
        self.query = query(scope, query_values)
        self.fragment = ""
        self.uri: str = raw_path.decode("latin-1") + (f"?{self.query}" if self.query else "")
        major, _, minor = scope["http_version"].partition(".")
        self.version = (int(major), int(minor or 0))
        self.scheme: str = "https" if scope["scheme"] in ("https", "wss") else "http"
        self.headers = [(name.decode("latin-1").upper(), value.decode("latin-1")) for name, value in scope["headers"]]
        if not query_values:
            self.headers = [
                (name, without_query_values(value) if name == "REFERER" else value) for name, value in self.headers
            ]
        client = scope.get("client")
        self.remote_addr: str = client[0] if client and client[0] and client[1] is not None else NO_ADDRESS
        self.peer_addr = self.remote_addr
        self.trailers: list[tuple[str, str]] = []
        self.scope = scope

    def environ(self) -> dict[str, str]:
        """What gunicorn's logger looks for in WSGI's environment."""
        environ = {
            "REQUEST_METHOD": escape(self.method),
            "RAW_URI": escape(self.uri),
            "PATH_INFO": escape(self.path),
            "QUERY_STRING": escape(self.query),
            "SERVER_PROTOCOL": f"HTTP/{self.version[0]}.{self.version[1]}",
            "REMOTE_ADDR": self.remote_addr,
            "wsgi.url_scheme": self.scheme,
        }
        for name, value in self.headers:
            key = "HTTP_" + name.replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


class Response:
    """What was answered: `status` is a number (101 for a WebSocket), `sent` the bytes of body or messages."""

    def __init__(self, status: int, sent: int = 0, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.sent = sent
        self.begin(status, headers)

    def begin(self, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """It has this status, and these header fields."""
        self.status_code = status
        self.status = str(status)
        self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


class Duration(timedelta):
    """A time of which gunicorn takes `seconds` for the whole, days included."""

    @property
    def seconds(self) -> int:
        """Whole seconds."""
        return self.days * 86400 + super().seconds


class AccessLog(Observer):
    """Tells gunicorn's logger of requests and WebSockets."""

    __slots__ = ("_log", "_query_values")

    def __init__(self, log: Any, query_values: bool) -> None:
        self._log = log
        self._query_values = query_values

    def request(
        self,
        scope: Mapping[str, Any],
        status: int,
        body_bytes: int,
        seconds: float,
        response: ResponseHead | None = None,
    ) -> None:
        """See `Observer.request`."""
        self._access(scope, Response(status, body_bytes, response_fields(response)), seconds)

    def websocket_opened(self, scope: Mapping[str, Any], status: int) -> None:
        """A WebSocket that was denied; of others there is more to say when they end."""
        if status != 101:
            self._access(scope, Response(status), 0.0)

    def websocket_closed(self, scope: Mapping[str, Any], end: WebSocketEnd) -> None:
        """See `Observer.websocket_closed`."""
        self._access(scope, Response(101, end.bytes_out), end.seconds)

    def _access(self, scope: Mapping[str, Any], response: Response, seconds: float) -> None:
        request = Request(scope, self._query_values)
        self._log.access(response, request, request.environ(), Duration(seconds=seconds))


def access_log(worker: Worker, query_values: bool) -> AccessLog | None:
    """The log of a worker, None where gunicorn's logger would do nothing; `query_values` is --log-query-values."""
    from gunicorn.glogging import Logger

    cfg, log = worker.cfg, worker.log
    syslog = cfg.syslog and not cfg.disable_redirect_access_to_syslog
    enabled = cfg.accesslog or cfg.logconfig or cfg.logconfig_dict or cfg.settings["logconfig_json"].get() or syslog
    # A class of its own, as that for StatsD, may do more than write a line.
    return AccessLog(log, query_values) if enabled or type(log).access is not Logger.access else None


def hooked(app: ASGIApplication, worker: Worker) -> ASGIApplication:
    """`app` with the hooks of the worker around it, where there are any."""
    hooks = {}
    for name in ("pre_request", "post_request"):
        hook = getattr(worker.cfg, name)
        hooks[name] = None if hook is worker.cfg.settings[name].default else hook
    if hooks["pre_request"] is None and worker.log.error_log.isEnabledFor(DEBUG):
        hooks["pre_request"] = worker.cfg.pre_request  # gunicorn's own, which logs the request
    return Hooked(app, worker, **hooks) if any(hooks.values()) else app


class Hooked:
    """An ASGI application that calls the hooks, for requests and for WebSockets."""

    def __init__(self, app: ASGIApplication, worker: Worker, pre_request: Any, post_request: Any) -> None:
        self._app = app
        self._worker = worker
        self._pre_request = pre_request
        self._post_request = post_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        request = Request(scope)
        if self._pre_request is not None:
            self._pre_request(self._worker, request)
        if self._post_request is None:
            return await self._app(scope, receive, send)
        response = Response(500)  # what the client gets where the application sends nothing

        async def observe(event: Message) -> None:
            _observe(event, response)
            await send(event)

        try:
            await self._app(scope, receive, observe)
        finally:
            try:
                self._post_request(self._worker, request, request.environ(), response)
            except Exception:
                self._worker.log.exception("Exception in post_request hook")


def _observe(event: Message, response: Response) -> None:
    """Keep in `response` what the application's event makes of it."""
    kind = event.get("type")
    if kind in ("http.response.start", "websocket.http.response.start"):
        response.begin(event["status"], event.get("headers", ()))
    elif kind in ("http.response.body", "websocket.http.response.body"):
        response.sent += len(event.get("body", b""))
    elif kind == "websocket.accept":
        response.begin(101, event.get("headers", ()))
    elif kind == "websocket.send":
        text = event.get("text")
        response.sent += len(text.encode()) if text is not None else len(event.get("bytes") or b"")
    elif kind == "websocket.close" and response.status_code == 500:
        response.begin(403)
