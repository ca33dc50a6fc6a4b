"""The Hugging Face layout: config.json by family, tensors by name, model folders in and out."""
