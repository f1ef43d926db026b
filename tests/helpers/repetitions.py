"""How often a draw is made again on another device."""

import torch


def repeated(device: torch.device, count: int, again: int) -> int:
    """So many draws, where what is tested is their law; fewer where they are those of the CPU once more."""
    return again if device.type == "sim" else count
