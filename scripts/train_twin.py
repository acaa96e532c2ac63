"""The same as the command `kerasref train-twin`; see `python scripts/train_twin.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
