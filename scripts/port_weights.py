"""The same as the command `kerasref port-weights`; see `python scripts/port_weights.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
