"""Measures how many images of digits a model classifies correctly: score_pictures.py MODEL [--seed 1]."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
