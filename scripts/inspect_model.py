"""The same as the command `kerasref inspect-model`; see `python scripts/inspect_model.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
