"""An auction in GraphQL: a query for the lots, a mutation to bid, a subscription to what changes.

Strawberry serves HTTP and WebSockets (the graphql-transport-ws protocol) at `/graphql`. A subscriber waits for a state
of its lot that is newer than the one it was sent last: bids that come while its connection is busy do not pile up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import strawberry
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from strawberry.asgi import GraphQL
from strawberry.extensions import MaxAliasesLimiter, MaxTokensLimiter, QueryDepthLimiter
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

HERE = Path(__file__).parent
LARGEST = 1_000_000  # a bid


@strawberry.type
class Lot:
    """A thing for sale, with the highest bid until now. It is not changed: each bid makes a new one."""

    id: strawberry.ID
    title: str
    price: int
    bidder: str
    bids: int


class Auction:
    """The lots, and a way to wait for a change."""

    def __init__(self, *titles: str) -> None:
        ids = [strawberry.ID(str(number)) for number in range(len(titles))]
        lots = zip(ids, titles, strict=True)
        self.lots = {id: Lot(id=id, title=title, price=0, bidder="", bids=0) for id, title in lots}
        self._changed = asyncio.Event()

    def lot(self, id: strawberry.ID) -> Lot:
        if id not in self.lots:
            raise ValueError("there is no such lot")
        return self.lots[id]

    def bid(self, id: strawberry.ID, amount: int, bidder: str) -> Lot:
        lot, bidder = self.lot(id), bidder.strip()
        if not 0 < len(bidder) <= 30:
            raise ValueError("a bidder has a name of 1 to 30 characters")
        if not lot.price < amount <= LARGEST:
            raise ValueError(f"a bid is more than {lot.price} and at most {LARGEST}")
        self.lots[id] = Lot(id=id, title=lot.title, price=amount, bidder=bidder, bids=lot.bids + 1)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return self.lots[id]

    async def watch(self, id: strawberry.ID) -> AsyncGenerator[Lot, None]:
        """The lot as it is, and then whenever it has changed."""
        shown = None
        while True:
            while (lot := self.lot(id)) is shown:
                await self._changed.wait()
            yield (shown := lot)


auction = Auction("A brass telescope", "An orrery", "A barometer")


@strawberry.type
class Query:
    @strawberry.field
    def lots(self) -> list[Lot]:
        return list(auction.lots.values())


@strawberry.type
class Mutation:
    @strawberry.mutation
    def bid(self, lot: strawberry.ID, amount: int, bidder: str) -> Lot:
        return auction.bid(lot, amount, bidder)


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def lot(self, id: strawberry.ID) -> AsyncGenerator[Lot, None]:
        async for lot in auction.watch(id):
            yield lot


schema = strawberry.Schema(
    Query,
    Mutation,
    Subscription,
    extensions=[
        lambda: QueryDepthLimiter(max_depth=5),
        lambda: MaxTokensLimiter(max_token_count=500),
        lambda: MaxAliasesLimiter(max_alias_count=10),
    ],
)
graphql = GraphQL[None, None](
    schema,
    graphql_ide=None,  # its page takes scripts from elsewhere
    allow_queries_via_get=False,
    subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
    connection_init_wait_timeout=timedelta(seconds=10),
    max_subscriptions_per_connection=20,
)

app = Starlette(
    routes=[
        Route("/graphql", graphql),
        WebSocketRoute("/graphql", graphql),
        Route("/{path:path}", StaticFiles(directory=HERE / "page", html=True, follow_symlink=True)),
    ]
)
