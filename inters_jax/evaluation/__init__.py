"""Judging a model: the bridge to seqio.Evaluator, and what is written about a run."""
