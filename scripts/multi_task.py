"""The same as the command `kerasref multi-task`; see `python scripts/multi_task.py --help`."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
