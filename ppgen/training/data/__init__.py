"""Where batches come from: in memory, read ahead from disk, or gathered in the step."""
