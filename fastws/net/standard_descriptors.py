"""Descriptors 0 to 2, which belong to standard input, output and error, open or not.

A process may be started with some of them closed. The next socket would get such a number: libuv aborts where it closes
one, and whatever writes to "standard error" writes to a client. So they are opened first of all.
"""

from __future__ import annotations

import os


def open_standard_descriptors() -> None:
    """Let those of the three that are closed lead to the null device, for child processes too. Idempotent."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:  # a lower one was closed meanwhile
                os.dup2(opened, descriptor)
                os.close(opened)
            else:
                os.set_inheritable(descriptor, True)
