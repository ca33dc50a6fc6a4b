"""One decoder-only language model for every supported family, in Flax NNX.

config, decoder, layers, norms, rope, remat, cache    the model
attention, attention_backends, splash, cudnn          attention, by hardware
hf/                                                   Hugging Face folders: configurations and weights
lora/                                                 adapters, quantised bases, PEFT folders
loading, prompt_record, fingerprint                   a model from any source, and how it was prompted
"""
