"""Runs an experiment of the notes and updates docs/experiments.md: experiment.py NAME [options]."""

from maintain.experiments import main

from kerasref.command_line import run

if __name__ == "__main__":
    run(main)
