"""A WebSocket for people who have logged in, by cookie or by ticket, for as long as their session lasts.

- `POST /login` sets a signed cookie, which the browser sends with each handshake from then on. Since it does so for a
  page of any site, a handshake with a cookie must come from a page of this one: its Origin is checked.
- `POST /ticket` prolongs the session, and gives a signed ticket to be used within 30 seconds. A client without cookies
  (a program, another site's page) offers it among its subprotocols: `["example.v1", "ticket.<ticket>"]`. In the URL it
  would be in every log on the way.
- Who has neither gets 401 in answer to the handshake, and a page of another site 403.
- A connection ends when its session is over or logged out, with 4401. `ticket.<ticket>` as a message prolongs it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

HERE = Path(__file__).parent
SECRET = os.environ.get("SECRET_KEY") or secrets.token_hex(32)  # without one, a restart logs everybody out
SESSION = int(os.environ.get("SESSION_SECONDS", "900"))
TICKET = 30  # seconds
PROTOCOL = "example.v1"
COOKIE = {"key": "session", "httponly": True, "samesite": "strict"}

cookies = URLSafeTimedSerializer(SECRET, salt="cookie")
tickets = URLSafeTimedSerializer(SECRET, salt="ticket")
over: dict[str, float] = {}  # sessions that were logged out, and when they would have ended
sockets: dict[str, set[WebSocket]] = {}  # what is open, by session


class Session(NamedTuple):
    """Who it is, until when (Unix time), and what tells this session from others of the same user."""

    user: str
    ends: float
    id: str

    @property
    def goes_on(self) -> bool:
        return self.ends > time.time() and self.id not in over


def read(text: str, by: URLSafeTimedSerializer, seconds: int) -> Session | None:
    """The session in a text that was signed at most `seconds` ago, if it goes on."""
    try:
        session = Session(*by.loads(text, max_age=seconds))
    except BadData:
        return None
    return session if session.goes_on else None


def is_from_here(connection: HTTPConnection) -> bool:
    """Whether it comes from a page of this site, or from no page."""
    origin = connection.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == connection.headers.get("host")


def session_of(connection: HTTPConnection) -> Session | None:
    """The session of the cookie, where a page of this site sent it."""
    return read(connection.cookies.get("session", ""), cookies, SESSION) if is_from_here(connection) else None


# ------------------------------------------------------------------------------------------------ logging in


def hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(errors="replace"), salt=salt, n=2**14, r=8, p=1)


SALT = secrets.token_bytes(16)
USERS = {"ada": hashed("lovelace", SALT)}  # yours are in a database, each with a salt of its own
hashing = asyncio.Semaphore(2)  # it is slow on purpose: guessing in bulk must not take all cores


async def is_password(user: str, password: str) -> bool:
    """Takes as long for a user that there is not."""
    async with hashing:
        found = await asyncio.to_thread(hashed, password, SALT)
    return hmac.compare_digest(found, USERS.get(user, b""))


def begin(request: Request, session: Session, **more: str) -> Response:
    response = JSONResponse({"user": session.user, "ends": session.ends, **more})
    secure = request.url.scheme == "https"
    response.set_cookie(value=str(cookies.dumps(session)), max_age=SESSION, secure=secure, **COOKIE)  # type: ignore[arg-type]
    return response


async def log_in(request: Request) -> Response:
    form = parse_qs((await request.body()).decode(errors="replace"))
    user, password = (form.get(name, [""])[0] for name in ("user", "password"))
    if not is_from_here(request) or not await is_password(user, password):
        return PlainTextResponse("There is no such user with this password.", 403)
    return begin(request, Session(user, time.time() + SESSION, secrets.token_hex(8)))


async def make_ticket(request: Request) -> Response:
    session = session_of(request)
    if session is None:
        return PlainTextResponse("Log in first.", 401)
    session = session._replace(ends=time.time() + SESSION)
    return begin(request, session, ticket=str(tickets.dumps(session)))


async def log_out(request: Request) -> Response:
    """End the session, with all its connections."""
    if not is_from_here(request):
        return PlainTextResponse("This page may not.", 403)
    session = session_of(request)
    if session is not None:
        for id in [id for id, ends in over.items() if ends < time.time()]:
            del over[id]
        over[session.id] = time.time() + SESSION  # until no ticket prolongs it any more
        await asyncio.gather(*(each.close(4401, "logged out") for each in sockets.get(session.id, ())))
    response = Response(status_code=204)
    response.delete_cookie(**COOKIE)  # type: ignore[arg-type]
    return response


async def who(request: Request) -> Response:
    session = session_of(request)
    return JSONResponse({"user": session.user, "ends": session.ends} if session is not None else {})


# --------------------------------------------------------------------------------------------- the WebSocket


def admit(websocket: WebSocket) -> Session | Response:
    """Whose connection this is, or why it is none."""
    offered = [each for each in websocket.scope["subprotocols"] if each.startswith("ticket.")]
    if offered:  # no browser adds this by itself: pages of other sites may
        session = read(offered[0].removeprefix("ticket."), tickets, TICKET)
        return session or PlainTextResponse("This ticket is none, or too old.", 401)
    if not is_from_here(websocket):
        return PlainTextResponse("This page may not.", 403)
    return session_of(websocket) or PlainTextResponse("Log in first.", 401)


async def talk(websocket: WebSocket) -> None:
    """One connection, for as long as its session goes on: an echo."""
    session = admit(websocket)
    if isinstance(session, Response):
        await websocket.send_denial_response(session)
        return
    # The ticket is never the answer: a client would not know it for a protocol, and proxies log it.
    await websocket.accept(PROTOCOL if PROTOCOL in websocket.scope["subprotocols"] else None)
    siblings = sockets.setdefault(session.id, set())
    siblings.add(websocket)
    try:
        await websocket.send_text(json.dumps({"user": session.user, "ends": session.ends}))
        while session.goes_on:
            event = await asyncio.wait_for(websocket.receive(), session.ends - time.time())
            if event["type"] == "websocket.disconnect":
                return
            text = event.get("text") or ""
            renewed = read(text.removeprefix("ticket."), tickets, TICKET)
            if renewed is not None and renewed.id == session.id:
                session = renewed
                await websocket.send_text(json.dumps({"ends": session.ends}))
            else:
                await websocket.send_text(json.dumps({"said": text}))
        await websocket.close(4401, "logged out")
    except asyncio.TimeoutError:
        await websocket.close(4401, "the session is over")
    except WebSocketDisconnect:
        pass  # it left while something was sent
    finally:
        siblings.discard(websocket)
        if not siblings:
            sockets.pop(session.id, None)


app = Starlette(
    routes=[
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
        Route("/ticket", make_ticket, methods=["POST"]),
        Route("/who", who),
        WebSocketRoute("/ws", talk),
        Route("/{path:path}", StaticFiles(directory=HERE / "page", html=True, follow_symlink=True)),
    ]
)
