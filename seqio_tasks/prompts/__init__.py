"""Rows become prompts (`render`, `ranking`), prompts become token ids (`encoding`, `chat`)."""
