import torch

torch.set_num_threads(1)  # OpenMP's threads spin while they wait: beside TensorFlow's, on two cores, twice the time
