"""What PyInstaller must know of fastws: it asks for this directory by the entry point `pyinstaller40`.

It finds modules by reading Python code, and so neither those that a compiled module imports nor those that are imported
by a name in a text. The hook beside this file names them.
"""

from __future__ import annotations

import os


def hook_directories() -> list[str]:
    """Where PyInstaller finds the hook."""
    return [os.path.dirname(__file__)]
