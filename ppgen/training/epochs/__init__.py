"""The loop over epochs: metrics, the best epoch, callbacks, signals, divergence."""
