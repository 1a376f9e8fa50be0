"""`Config`: the values of all options, each checked alone and together. The one place of an option at run time.

What the options are is `fastws.config.table`, how one is checked `fastws.config.option`, and what does not go together
`fastws.config.pairs`. It imports no application, opens no file, and knows neither asyncio nor click.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastws.config.pairs import check_together
from fastws.config.table import OPTION, OPTIONS, Fields
from fastws.config.uvicorn_options import NONE_IS_DEFAULT, no_such_option
from fastws.distribution import check_own_folder
from fastws.errors import ConfigError


@dataclass(frozen=True)
class Config(Fields):
    """The options of one server.

    Raises ConfigError, one line, for an unknown name, and for a value that is wrong or does not fit another.
    """

    if not TYPE_CHECKING:  # which sees the names by itself, where `__init__` alone has them

        def __new__(cls, *args, **options):
            """Say what may have been meant, before Python says that there is no such argument."""
            for name in options:
                if name != "app" and name not in OPTION:
                    raise ConfigError(no_such_option(name, OPTION))
            return super().__new__(cls)

    def __post_init__(self) -> None:
        check_own_folder()
        if not isinstance(self.app, str) and not callable(self.app):
            raise ConfigError(f"APP: must be module:attribute or an ASGI application, not {self.app!r:.100}")
        if isinstance(self.app, str) and not all(self.app.partition(":")):
            raise ConfigError(f"APP: must be module:attribute, as in main:app, not {self.app!r:.100}")
        for each in OPTIONS:
            given = getattr(self, each.name)
            value = each.default if given is None and each.name in NONE_IS_DEFAULT else given
            object.__setattr__(self, each.name, each.check(value))
        if self.forwarded_allow_ips is None:  # an empty one trusts nobody
            trusted = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
            object.__setattr__(self, "forwarded_allow_ips", OPTION["forwarded_allow_ips"].check(trusted))
        if self.workers is None:
            workers = os.environ.get("WEB_CONCURRENCY") or "1"
            object.__setattr__(self, "workers", OPTION["workers"].parse(workers, "WEB_CONCURRENCY") or 1)
        object.__setattr__(self, "root_path", self.root_path.rstrip("/"))
        if self.host.startswith("[") and self.host.endswith("]"):  # as in a URL
            object.__setattr__(self, "host", self.host[1:-1])
        if self.uds is not None:
            object.__setattr__(self, "uds", os.fspath(self.uds).removeprefix("unix:"))
        check_together(self)

    @property
    def is_ssl(self) -> bool:
        """Whether the server speaks TLS."""
        return bool(self.ssl_certfile)

    @property
    def default_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """`headers` as they are sent: names in lower case."""
        return tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers)
