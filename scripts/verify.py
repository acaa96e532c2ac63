"""The same as the command `kerasref verify`; see `python scripts/verify.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
