"""The same as the command `kerasref compare`; see `python scripts/compare.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
