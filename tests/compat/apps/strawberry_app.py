"""GraphQL subscriptions with Strawberry, by both of the protocols that clients speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import strawberry
from strawberry.asgi import GraphQL

cancelled: list[bool] = []


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "world"

    @strawberry.field
    def cancelled(self) -> int:
        return len(cancelled)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for i in range(to):
            yield i

    @strawberry.subscription
    async def endless(self) -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0.01)
        finally:
            cancelled.append(True)


app = GraphQL(strawberry.Schema(query=Query, subscription=Subscription))
