"""The same as the command `kerasref estimate`; with --table alone it generates the table in docs/scale.md."""

import sys

from kerasref.cli.main import run_door
from kerasref.command_line import run

if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        from maintain.memory_table import main

        run(main)
    else:
        run_door(__file__)
