"""Training: the jitted step, the loss at target positions, the optimiser, checkpoints and the loop."""
