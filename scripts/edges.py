"""The same as the command `kerasref edges`; see `python scripts/edges.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
