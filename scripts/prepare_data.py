"""The same as the command `kerasref prepare-data`; see `python scripts/prepare_data.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
