"""Modules of programs that are no package (bench/, an example), for tests: imported, and forgotten at the end.

A program has the path of its folder and short names: `client`, `app`, `servers`. Left in `sys.modules`, such a module
would be the one that the next test gets which asks for another program's of the same name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def modules_of(folder: Path, *names: str) -> Iterator[list[ModuleType]]:
    """The modules `names` of the program in `folder`, which may import others of it as long as the block runs."""
    own = {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in own}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] in own]:
            del sys.modules[name]
        sys.modules.update(hidden)
