"""Options by variables of the environment: FASTWS_WS_MAX_SIZE for `ws_max_size`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastws.config import OPTIONS


def read_environment(environ: Mapping[str, str], skip: Iterable[str] = ()) -> dict[str, Any]:
    """The options that `environ` sets by variables FASTWS_*, without those named in `skip`. An empty variable is unset.

    Raises ConfigError, naming the variable, for a value that is wrong.
    """
    skipped = set(skip)
    if environ.get("FASTWS_PORT", "").startswith("tcp://"):
        skipped.add("port")  # Kubernetes sets it, in every pod beside a service that is called fastws
    return {
        each.name: each.parse(environ[each.env], each.env)
        for each in OPTIONS
        if each.name not in skipped and environ.get(each.env)
    }
