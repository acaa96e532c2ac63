"""Studies of the notes: their experiments, menu and edges, label errors, multi-task learning, gradient checking."""
