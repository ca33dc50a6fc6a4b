"""How a decoder-only language model learns from search instructions and is judged by search metrics."""

__version__ = "0.1.0"
