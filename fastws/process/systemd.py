"""What a service tells systemd of how it does: sd_notify(3), in the few lines that it takes.

Whom to tell is in environment variables, which are taken out of the environment when they are read, since they are not
for child processes. The sockets that systemd opens are `fastws.net.activation`'s.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping
from typing import Final

ALIVE: Final = "WATCHDOG=1"
PATIENCE_SECONDS: Final = 5.0
"""How long systemd may be too busy to be told of a change."""


class Notifier:
    """Tells systemd how the service does, where it asked for it (Type=notify, WatchdogSec=); else it does nothing.

    `watchdog_seconds` is how often `alive()` should be called, None where nobody waits for it.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ) -> None:
        path = environ.pop("NOTIFY_SOCKET", "")
        micros, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_seconds: float | None = None
        if path and micros.isdigit() and int(micros) and pid in ("", str(os.getpid())):
            self.watchdog_seconds = int(micros) / 2e6
        self._last = ""

    def ready(self, status: str = "") -> None:
        """The service accepts connections; also after `reloading`."""
        self._send("READY=1", status)

    def reloading(self) -> None:
        """The service reads its configuration anew, until it is `ready` again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", "Restarting the workers")

    def stopping(self) -> None:
        """The service ends."""
        self._send("STOPPING=1", "Waiting for connections to close")

    def status(self, text: str) -> None:
        """What `systemctl status` shows."""
        self._send("", text)

    def alive(self) -> None:
        """The service is not stuck."""
        if self.watchdog_seconds is not None:
            self._send(ALIVE, "")

    def _send(self, state: str, status: str) -> None:
        lines = [state] if state else []
        if status and status != self._last:
            self._last = status
            lines.append(f"STATUS={status}")
        if not self._address or not lines:
            return
        # Nobody may hang, or end, because systemd does not listen. But its queue has ten places: what would be said
        # again is dropped where that is full, and what is said once, without which systemd ends the service, waits.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0.0 if state in ("", ALIVE) else PATIENCE_SECONDS)
            sock.sendto("\n".join(lines).encode(), self._address)
