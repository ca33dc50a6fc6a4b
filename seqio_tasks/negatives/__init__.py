"""Hard negatives for training, mined from any run and filtered by a teacher's scores (docs/negatives.md)."""
