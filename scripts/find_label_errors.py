"""The same as the command `kerasref find-label-errors`; see `python scripts/find_label_errors.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
