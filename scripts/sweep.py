"""The same as the command `kerasref sweep`; see `python scripts/sweep.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
