"""Measures what writing TensorBoard files costs a training: measure_tensorboard.py [--recipe mnist_cnn]."""

from maintain.tensorboard_cost import main

from kerasref.command_line import run

if __name__ == "__main__":
    run(main)
