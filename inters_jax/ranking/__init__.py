"""Reranking: a test collection and its candidates in, an order of documents out."""
