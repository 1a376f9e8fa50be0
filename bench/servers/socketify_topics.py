"""Topics of socketify (uWebSockets), by its own interface: what a message to all costs without ASGI.

    python bench/servers/socketify_topics.py PORT

It has compression by one shared compressor, as fastws has.
"""

from __future__ import annotations

import sys
from typing import Any

from socketify import App, AppListenOptions, CompressOptions


def main() -> None:
    """Serve on the port."""
    app = App()

    def on_open(ws: Any) -> None:
        ws.subscribe("all")

    def on_message(ws: Any, message: Any, opcode: Any) -> None:
        app.publish("all", message, opcode, True)

    behaviour = {
        "compression": CompressOptions.SHARED_COMPRESSOR,
        "max_payload_length": 16 * 1024 * 1024,
        "max_backpressure": 64 * 1024 * 1024,
        "idle_timeout": 120,
        "open": on_open,
        "message": on_message,
    }
    app.ws("/*", behaviour)
    app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda config: None)
    app.run()


if __name__ == "__main__":
    main()
