"""GraphQL subscriptions with Ariadne, by graphql-transport-ws."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from ariadne import QueryType, SubscriptionType, make_executable_schema
from ariadne.asgi import GraphQL
from ariadne.asgi.handlers import GraphQLTransportWSHandler

query = QueryType()
subscription = SubscriptionType()


@query.field("hello")
def hello(*_: Any) -> str:
    return "world"


@subscription.source("count")
async def generate(_: Any, info: Any, to: int) -> AsyncIterator[int]:
    for i in range(to):
        yield i


@subscription.field("count")
def count(value: int, info: Any, to: int) -> int:
    return value


schema = make_executable_schema(
    "type Query { hello: String! } type Subscription { count(to: Int!): Int! }", query, subscription
)
app = GraphQL(schema, websocket_handler=GraphQLTransportWSHandler())
