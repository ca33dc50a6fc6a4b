"""LoRA and QLoRA: adapted linear maps, quantised kernels, the trained part, the base, and PEFT folders."""
