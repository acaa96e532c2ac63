"""The same as the command `kerasref show-data`; see `python scripts/show_data.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
