"""The door for tests: a real server, `with serve(app) as server`, or `async with running(app) as server`.

Both listen on a free port of 127.0.0.1, or where the options say, serve as `fastws` does, and have ended when their
block is left. What the application's startup raises, the block raises. What it raises while it is served is in
`server.errors` and is raised at the end of the block, since it is a test that has failed; so is a `LeakError` for what
had to be cut. Pytest is not needed; its fixture is in `fastws.testing.pytest_plugin`. Clients are the test's choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastws.testing.server import LeakError, RunningServer, running, serve

__all__ = ["LeakError", "RunningServer", "running", "serve"]


def __getattr__(name: str) -> Any:
    """Import the server when it is asked for: pytest, which finds the plugin in this package, may never need it."""
    if name in __all__:
        from fastws.testing import server

        return getattr(server, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
