"""Studies of the notes: their experiments, label errors, multi-task learning, gradient checking."""
