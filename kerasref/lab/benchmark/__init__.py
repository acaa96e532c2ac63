"""kerasref against PyTorch on one machine: processes that measure in turns; estimates of memory and time."""
