"""Makes the pages of docs/ a site: what lies outside of docs/ and is linked to becomes a page of it.

The pages are written to be read where they lie, in the repository, so they link to sources, tests, SECURITY.md and
CHANGELOG.md by relative paths. mkdocs knows docs/ alone: those two become pages of their own, any other source a page
that shows it, and the links lead there. What Python's Markdown reads in another way than a reader of the source would,
a list or a table without the blank line before it, is a warning, and so is what a page would load from elsewhere; `make
docs` makes errors of warnings.

mkdocs calls the functions `on_*`; a page's path is written as mkdocs does, from docs/ and with slashes.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "SECURITY.md": "SECURITY.md", "CHANGELOG.md": "CHANGELOG.md"}
"""Files outside of docs/ and the pages that stand for them."""

LOGO = "site/logo.svg"
"""The demo's icon, as mkdocs.yml names it."""
FIRST_IN_SEARCH = {"options.md": 4}
"""Pages whose headings are what most searches are for, and how much more they count."""

_LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)")
_LANGUAGES = {".py": "python", ".pyx": "cython", ".h": "c", ".json": "json", ".sh": "bash", ".js": "javascript"}
_UNREAD = re.compile(r"<p>```|<p>[^<]*(?:<(?!/p>)[^<]*)*?\n(?:[-*] |1\. |\| |```)")
_CELL = re.compile(r"<td\b.*?</td>", re.DOTALL)
_INLINE_CODE = re.compile(r"<code>[^<]*</code>")
_OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z0-9-]*")
_LOADED = re.compile(r'<(?:script|img|link(?! rel="canonical"))\b[^>]*(?:src|href)="(https?:[^"]+)')
_FOR_TESTS = re.compile(r'^(```.*) requires="[^"]*"', re.MULTILINE)

logger = logging.getLogger("mkdocs.hooks.fastws")


def on_files(files: Files, config: Any) -> Files:
    """Add what the pages link to outside of docs/."""
    files.append(File.generated(config, LOGO, content=(ROOT / "fastws" / "demo" / "static" / "icon.svg").read_text()))
    for name in ("SECURITY.md", "CHANGELOG.md"):
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    wanted = set()
    for file in files.documentation_pages():
        for link in _LINK.findall(file.content_string):
            wanted.add(_target(file.src_uri, link))
    for target in sorted(wanted):
        if not target.startswith("docs/") and target not in PAGES and (ROOT / target).exists():
            page = _source_page(ROOT / target, target)
            shown = File.generated(config, _shown_as(target), content=page, inclusion=InclusionLevel.NOT_IN_NAV)
            files.append(shown)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links out of docs/ lead to the pages that stand for what is there, and drop what only the tests read."""
    here = page.file.src_uri
    if here in FIRST_IN_SEARCH:
        page.meta["search"] = {"boost": FIRST_IN_SEARCH[here]}
    if here.startswith("source/"):
        return markdown

    def lead(found: re.Match[str]) -> str:
        target = _target(here, found[1])
        inside = target.startswith("docs/")
        page = target.removeprefix("docs/") if inside else PAGES.get(target) or _shown_as(target)
        return posixpath.relpath(page, posixpath.dirname(here) or ".")

    return _LINK.sub(lead, _FOR_TESTS.sub(r"\1", markdown))


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Warn of what was meant as a list, a table or code and became text; in tables, show `\\|` as GitHub does.

    Names of options become elements of their own, which a style keeps from a break at a hyphen.
    """
    if not page.file.src_uri.startswith("source/"):
        for found in _UNREAD.findall(html):
            logger.warning("%s: a blank line is missing before: %s", page.file.src_uri, found[-80:])
    html = _CELL.sub(lambda cell: cell[0].replace(r"\|", "|"), html)
    option = r'<span class="option">\g<0></span>'
    return _INLINE_CODE.sub(lambda code: _OPTION.sub(option, code[0]), html)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Warn of what a browser would load from elsewhere when the page is opened."""
    for found in _LOADED.findall(output):
        logger.warning("%s: is loaded from elsewhere: %s", page.file.src_uri, found)
    return output


def _target(page: str, link: str) -> str:
    """Where a link of a page leads, from the root of the repository."""
    place = "" if page in ("SECURITY.md", "CHANGELOG.md") else posixpath.join("docs", posixpath.dirname(page))
    return posixpath.normpath(posixpath.join(place, link))


def _shown_as(target: str) -> str:
    return f"source/{target}.md"


def _source_page(path: Path, name: str) -> str:
    """A page with the text of a file, or with the names in a directory."""
    head = f"---\nsearch:\n  exclude: true\nhide:\n  - toc\n---\n# {name}\n\n"
    if path.is_dir():
        names = sorted(each.name for each in path.iterdir() if not each.name.startswith((".", "__pycache__")))
        return head + "".join(f"- `{name}`\n" for name in names)
    fence = "`" * 6
    return f"{head}{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}\n{fence}\n"
