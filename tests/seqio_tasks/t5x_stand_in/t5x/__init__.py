"""Names and parameters of T5X that gin/t5x/inters.gin sets; what is called keeps its arguments."""
