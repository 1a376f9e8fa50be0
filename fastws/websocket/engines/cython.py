"""The compiled engine, the default: all of it is in `fastws/_codec.pyx`. Without that, this import fails."""

from __future__ import annotations

from fastws._codec import CythonEngine

__all__ = ["CythonEngine"]
