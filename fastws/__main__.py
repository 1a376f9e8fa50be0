"""``python -m fastws``, and the command `fastws`: what it is made of is `fastws.cli.main`."""

from __future__ import annotations

import sys

from fastws.distribution import check_own_folder
from fastws.errors import ConfigError


def main() -> None:
    """Run the command; first see that what is imported is of one project, where one could still say it in a line."""
    try:
        check_own_folder()
    except ConfigError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    try:
        from fastws.cli.main import main as command
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    command(prog_name="fastws")


if __name__ == "__main__":
    main()
