"""The same as the command `kerasref optimize`; see `python scripts/optimize.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
