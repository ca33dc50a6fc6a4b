"""LoRA: adapted linear maps (`layers`), the frozen base (`base`), PEFT folders (`peft`)."""
