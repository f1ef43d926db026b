"""How good codes and features of stacks of layers are."""
