"""Names and parameters of T5X that docs/t5x_inters.gin sets; what is called keeps its arguments."""
