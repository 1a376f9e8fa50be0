"""What a peer sent, as a line of a log shows it: nothing in it can forge a line or move a terminal's cursor."""

from __future__ import annotations


def escape(text: str) -> str:
    """The text with everything outside printable ASCII, quotes and backslashes written as an escape."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')


def without_values(query: str) -> str:
    """A query string with an asterisk for each value: ``token=*&room=*``. What has no name is a value."""
    return "&".join(_without_value(part) for part in query.split("&"))


def without_query_values(url: str) -> str:
    """A reference to a URL, as of a Referer, with its query and its fragment as `without_values` has them."""
    rest, hash_sign, fragment = url.partition("#")
    path, question_mark, query = rest.partition("?")
    return f"{path}{question_mark}{without_values(query)}{hash_sign}{without_values(fragment)}"


def _without_value(part: str) -> str:
    name, equals, _ = part.partition("=")
    if equals:
        return f"{name}=*"
    return "*" if part else ""
