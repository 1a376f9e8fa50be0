"""Why OpenSSL refuses a file or a setting, in words.

Python's texts for its errors are of use where they name a reason. For a file that is no PEM at all there is none: from
OpenSSL 3 on a number, which only says in which part of the library it was noticed. So the file is looked at.
"""

from __future__ import annotations

import re
import ssl
from typing import Final

CERTIFICATE: Final = "CERTIFICATE"
PRIVATE_KEY: Final = "PRIVATE KEY"

_LABEL: Final = re.compile(r"^-----BEGIN ([A-Z0-9 ]+)-----", re.MULTILINE)
_MESSAGE: Final = re.compile(r"\[[^]]*\] (.+) \(\S+:\d+\)")


def reason_of(error: Exception) -> str:
    """The reason that an error of `ssl` gives, in small letters; never a number."""
    reason = str(getattr(error, "reason", None) or "")
    if reason and not reason.isdigit():
        return reason.replace("_", " ").lower()
    texts = [each for each in error.args if isinstance(each, str) and not each.isdigit()]
    if not texts:
        return "OpenSSL gives no reason"
    found = _MESSAGE.fullmatch(texts[0])
    return found[1] if found is not None else texts[0].rstrip(".")


def reason_of_file(error: Exception, text: str, wanted: str, decrypting: bool = False) -> str:
    """The same of an error that a file with this `text` led to, in which a PEM block that is `wanted` was looked for.

    `decrypting` says that OpenSSL asked for the password of a key that is encrypted, and was given one.
    """
    reason = reason_of(error)
    if isinstance(error, ssl.SSLError) and reason.lower().endswith(" lib"):
        labels = _LABEL.findall(text)
        if not text.strip():
            return "it is empty"
        if not any(label.endswith(wanted) for label in labels):
            there = f", but {' and '.join(dict.fromkeys(labels))}" if labels else ""
            return f"there is no {wanted} in it in the form of PEM{there}"
        if decrypting:
            return "the password is wrong, or the key is damaged"
        return f"the {wanted} in it is damaged"
    return reason
