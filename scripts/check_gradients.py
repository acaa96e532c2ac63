"""The same as the command `kerasref check-gradients`; see `python scripts/check_gradients.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
