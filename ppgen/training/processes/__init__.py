"""Many processes: the world under torchrun, meetings, sums in shared memory."""
