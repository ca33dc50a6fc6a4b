"""Generation and scoring: the key/value cache, batching by length, greedy decoding, log-likelihoods."""
