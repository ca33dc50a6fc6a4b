"""What the page about a token store shows: its numbers and a sample of its examples, token by token."""
