"""The folder of a run: checkpoint files, the lock, shards."""
