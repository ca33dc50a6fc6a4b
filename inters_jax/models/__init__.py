"""One decoder-only language model for every supported family, in Flax NNX.

`DecoderConfig` says what a model looks like, `Decoder` computes it, `families` maps names and weights to and
from Hugging Face folders, and `load_model` opens a folder, a hub name, one of our runs or a random start.
"""
