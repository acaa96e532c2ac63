"""Runs an experiment of the notes and updates docs/experiments.md: experiment.py NAME [options]."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
