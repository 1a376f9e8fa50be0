"""What somebody meant who mistyped a name: the one nearest to it among those that there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MIN_PART = 3
"""A part of a name this short is in too many names to mean one."""


def nearest(wrong: str, right: Iterable[str], likeness: float = 0.6) -> str | None:
    """The name nearest to `wrong`, whatever its case and its separators; None where none is near.

    Of names that are equally near the first counts. `likeness` is difflib's, from 0 to 1; a name that has the wrong one
    in it is near too.
    """
    plain: dict[str, str] = {}
    for name in right:
        plain.setdefault(_plain(name), name)
    wanted = _plain(wrong)
    close = difflib.get_close_matches(wanted, plain, 1, likeness)
    if close:
        return plain[close[0]]
    if len(wanted) >= MIN_PART:
        return next((name for text, name in plain.items() if wanted in text), None)
    return None


def did_you_mean(wrong: str, right: Iterable[str]) -> str:
    """The end of an error: ``: did you mean 'name'?``, or nothing."""
    found = nearest(wrong, right)
    return f": did you mean {found!r}?" if found is not None else ""


def _plain(name: str) -> str:
    return name.strip("-_ ").lower().replace("_", "-")
