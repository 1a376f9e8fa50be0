"""The hook: all modules of fastws, but for doors that a program does not use, and what its compiled modules import."""

from __future__ import annotations

import importlib.util

from PyInstaller.utils.hooks import collect_submodules, copy_metadata

DOORS = ("fastws.gunicorn", "fastws.workers", "fastws.testing", "fastws.process.freezing")

hiddenimports = collect_submodules("fastws", filter=lambda name: not name.startswith(DOORS))
for package in ("asyncio", "click", "httptools", "isal", "redis", "uvloop", "watchfiles", "websockets", "wsproto"):
    if importlib.util.find_spec(package) is not None:
        hiddenimports += collect_submodules(package)
datas = copy_metadata("fastws")
