"""Runs the code that is its argument, as the main module."""

import sys

exec(compile(sys.argv[1], "<code>", "exec"), {"__name__": "__main__"})
