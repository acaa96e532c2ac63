"""Measures how many images of digits a model classifies correctly: score_pictures.py MODEL [--seed 1]."""

from maintain.score_images import main

from kerasref.command_line import run

if __name__ == "__main__":
    run(main)
