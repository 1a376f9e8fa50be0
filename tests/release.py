"""What must fit together before a tag is published: run by the workflow that releases, with TAG and REPOSITORY set.

The tag is the version, the changelog has a dated section for it, and the addresses of the project are those of the
repository that publishes: who copies this tree publishes under an address of their own, or not at all.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def problems(tag: str, repository: str, root: Path = ROOT) -> Iterator[str]:
    """What is wrong, line by line."""
    found = re.search(r'(?m)^__version__ = "(.+)"$', (root / "fastws" / "__init__.py").read_text())
    version = found[1] if found else "?"
    if tag != f"v{version}":
        yield f"the tag is {tag}, and fastws/__init__.py has {version}"
    if not re.search(rf"(?m)^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", (root / "CHANGELOG.md").read_text()):
        yield f"CHANGELOG.md has no section for {version} with a date"
    addresses = (root / "pyproject.toml").read_text().partition("\n[project.urls]\n")[2].partition("\n[")[0]
    for address in re.findall(r'"(https:[^"]+)"', addresses) or ["none"]:
        if address != repository and not address.startswith(f"{repository}/"):
            yield f"pyproject.toml names {address}, and this is {repository}"


if __name__ == "__main__":
    wrong = list(problems(os.environ["TAG"], os.environ["REPOSITORY"]))
    print(*wrong or ["it can be published"], sep="\n")
    sys.exit(1 if wrong else 0)
