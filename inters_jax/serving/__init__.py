"""A reranker behind HTTP: requests of many clients share the batches of one model."""
