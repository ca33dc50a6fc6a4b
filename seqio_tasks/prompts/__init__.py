"""Rows become prompts (`render`, `ranking`, `filling`), and prompts become token ids (`encoding`, `chat`)."""
