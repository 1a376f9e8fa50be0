"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, thing: str, things: str = "") -> str:
    """``1 connection``, ``2 connections``; `things` is the plural where it takes more than an s."""
    return f"{number} {thing if number == 1 else things or thing + 's'}"
