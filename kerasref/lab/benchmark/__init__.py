"""kerasref against PyTorch on one machine: processes that measure in turns, a JSON file, the tables made from it."""
