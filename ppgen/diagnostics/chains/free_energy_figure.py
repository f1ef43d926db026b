"""Free energies of data and chains as a figure."""

from typing import Any

import numpy as np

COLOURS = {"train": "#1f4e79", "valid": "#c8552b", "chains": "#3a7d44"}
LABELS = {"train": "training data", "valid": "held-out data", "chains": "chains of the model"}


def free_energy_histogram(found: Any) -> Any:
    """Return a figure of free energies: one outline each for training data, held-out data and chains.

    Held-out data to the right of the training data tell of overfitting, chains far from both of chains that do not mix.

    Args:
        found: What `ppgen.diagnostics.free_energies` returned.

    Example:
        >>> import torch
        >>> from ppgen import diagnostics, models
        >>> rbm = models.RBM(visible=4, hidden=3)
        >>> found = diagnostics.free_energies(rbm, torch.eye(4), num_samples=100, sweeps=5, warmup_steps=10)
        >>> diagnostics.figures.free_energy_histogram(found).axes[0].get_xlabel()
        'free energy, nats (log Z is common to all)'
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    everything = np.concatenate([values.values for values in found.values.values()])
    bins = np.histogram_bin_edges(everything, bins=min(60, max(10, int(np.sqrt(len(everything))))))
    for name, values in found.values.items():
        label = f"{LABELS[name]}, mean {found.means[name]:.2f}"
        axes.hist(
            values.values, list(bins), density=True, histtype="step", linewidth=1.6, color=COLOURS[name], label=label
        )
        axes.axvline(found.means[name], color=COLOURS[name], linewidth=0.8, linestyle="--")
    chains = "" if found.rhat is None else f"\nR-hat of the chains {found.rhat:.3f}"
    axes.set_title(f"free energies{chains}", loc="left", fontsize=10)
    axes.set_xlabel("free energy, nats (log Z is common to all)")
    axes.set_ylabel("density")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return figure
