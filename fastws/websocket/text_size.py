"""How many bytes a text has as UTF-8. Compiled modules take `_text.pxd` instead, which makes no bytes."""

from __future__ import annotations


def text_size(text: str) -> int:
    """Bytes of `text` as UTF-8; a lone surrogate has three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
