"""``python -m fastws``: the command `fastws`."""

from fastws.cli.main import main

if __name__ == "__main__":
    main(prog_name="fastws")
