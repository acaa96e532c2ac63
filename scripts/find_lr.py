"""The same as the command `kerasref find-lr`; see `python scripts/find_lr.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
