"""The name by which fastws is installed, and whether its folder is its own.

The package, the command and the variables are called fastws; on PyPI that name belongs to another project, so the
distribution has another one. pyproject.toml has to write it down a second time, and the Makefile, pages and requirement
files say it: `tests/repository/test_distribution.py` compares them with this file.
"""

from __future__ import annotations

import os
from typing import Final

from fastws.errors import ConfigError

DISTRIBUTION: Final = "fastws-server"

_OF_ANOTHER: Final = ("application.py", "asyncapi.py", "broker.py", "docs.py", "routing.py")
"""The files that PyPI's fastws 0.1.7 puts beside an `__init__.py` of its own, which it puts in the place of ours."""
_HOME: Final = os.path.dirname(__file__)


def requirement(extra: str) -> str:
    """What a requirements file says for an extra: ``fastws-server[reload]``."""
    return f"{DISTRIBUTION}[{extra}]"


def install_line(extra: str) -> str:
    """The command that installs an extra, quoted for shells in which brackets mean something."""
    return f"pip install '{requirement(extra)}'"


def check_own_folder(home: str = _HOME) -> None:
    """Raise ConfigError where another project's package was installed into the folder of this one.

    pip does not see that two distributions write the same files: the `__init__.py` is of whichever came last, and gone
    when either is uninstalled.
    """

    def has(name: str) -> bool:
        return os.path.exists(os.path.join(home, name))

    strange = [name for name in _OF_ANOTHER if has(name)]
    if strange:
        fault = f"has {strange[0]} of another project, PyPI's `fastws`, mixed in"
    elif has("distribution.py") and not has("__init__.py"):
        fault = "has no __init__.py: it went with another project, PyPI's `fastws`, that was uninstalled"
    else:
        return
    raise ConfigError(
        f"{home} {fault}; say `pip uninstall fastws {DISTRIBUTION}`, and install {DISTRIBUTION} again, alone"
    )
