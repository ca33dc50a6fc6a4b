"""Looking at a token store: a sample of its examples, its numbers, and one HTML page that shows both."""
