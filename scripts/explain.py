"""The same as the command `kerasref explain`; see `python scripts/explain.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
