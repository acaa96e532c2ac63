"""The same as the command `kerasref compare-pytorch`; see `python scripts/compare_pytorch.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
