"""Measures what writing TensorBoard files costs a training: measure_tensorboard.py [--recipe mnist_cnn]."""

from kerasref.cli.main import run_door

if __name__ == "__main__":
    run_door(__file__)
