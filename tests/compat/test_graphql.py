"""GraphQL subscriptions: Strawberry and Ariadne, over graphql-transport-ws and the older graphql-ws."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from polling import eventually
from served import Serve
from websockets.sync.client import ClientConnection, connect


def ask(websocket: ClientConnection, **message: Any) -> None:
    websocket.send(json.dumps(message))


def answer(websocket: ClientConnection) -> Any:
    while True:
        message = json.loads(websocket.recv(timeout=15))
        if message["type"] not in ("ping", "ka"):
            return message


def subscribe(url: str, query: str) -> list[Any]:
    """The values of a subscription to its end, by graphql-transport-ws."""
    with connect(url, subprotocols=["graphql-transport-ws"]) as websocket:  # type: ignore[list-item]
        assert websocket.subprotocol == "graphql-transport-ws"
        ask(websocket, type="connection_init")
        assert answer(websocket)["type"] == "connection_ack"
        ask(websocket, id="1", type="subscribe", payload={"query": query})
        values = []
        while (message := answer(websocket))["type"] == "next":
            values.append(message["payload"]["data"])
        assert message["type"] == "complete"
        return values


@pytest.mark.parametrize("name", ["strawberry_app", "ariadne_app"])
def test_subscription_by_graphql_transport_ws(serve: Serve, name: str) -> None:
    served = serve(name)
    values = subscribe(served.ws + "/", "subscription { count(to: 5) }")
    assert values == [{"count": i} for i in range(5)]


def test_subscription_by_graphql_ws(serve: Serve) -> None:
    with connect(serve("strawberry_app").ws + "/", subprotocols=["graphql-ws"]) as websocket:  # type: ignore[list-item]
        assert websocket.subprotocol == "graphql-ws"
        ask(websocket, type="connection_init", payload={})
        assert answer(websocket)["type"] == "connection_ack"
        ask(websocket, id="1", type="start", payload={"query": "subscription { count(to: 2) }"})
        assert [answer(websocket)["payload"] for _ in range(2)] == [{"data": {"count": 0}}, {"data": {"count": 1}}]
        assert answer(websocket)["type"] == "complete"


def test_subscription_ends_with_its_client(serve: Serve) -> None:
    served = serve("strawberry_app")
    with connect(served.ws + "/", subprotocols=["graphql-transport-ws"]) as websocket:  # type: ignore[list-item]
        ask(websocket, type="connection_init")
        ask(websocket, id="1", type="subscribe", payload={"query": "subscription { endless }"})
        assert [answer(websocket)["type"] for _ in range(3)] == ["connection_ack", "next", "next"]

    def cancelled() -> bool:
        response = httpx.post(served.http + "/", json={"query": "{ cancelled }"})
        return bool(response.json()["data"]["cancelled"])

    eventually(cancelled)


@pytest.mark.parametrize("name", ["strawberry_app", "ariadne_app"])
def test_queries(serve: Serve, name: str) -> None:
    response = httpx.post(serve(name).http + "/", json={"query": "{ hello }"})
    assert response.json()["data"] == {"hello": "world"}
