"""The contenders of bench_train.py written in JAX, each in an environment of its own.

    tunix      google-tunix: the compiled step of its PeftTrainer on its Llama, with a loss over given targets
    maxtext    MaxText: its model, optimiser and compiled train step, as its pre-training loop sets them up

They start from the weights that ours has and train on its packed rows, so losses can be compared. The module
imports none of our packages: bench_train.py starts it with the interpreter of the contender.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from bench_train_worker import (
    NORM_EPSILON,
    ROPE_THETA,
    SIZES,
    add_options,
    real_tokens,
    serve_steps,
    shared_batches,
)

LEARNING_RATE, WEIGHT_DECAY, BETAS, CLIP = 1e-4, 0.1, (0.9, 0.95), 1.0


def adamw() -> optax.GradientTransformation:
    """The optimiser of all contenders that let theirs be chosen."""
    rule = optax.adamw(LEARNING_RATE, *BETAS, weight_decay=WEIGHT_DECAY)
    return optax.chain(optax.clip_by_global_norm(CLIP), rule)


def work_tunix(options: argparse.Namespace) -> None:
    from tunix.models.llama3 import model as llama
    from tunix.models.llama3 import params as llama_weights
    from tunix.sft import peft_trainer

    size = SIZES[options.size]
    config = llama.ModelConfig(
        num_layers=size.layers,
        vocab_size=size.vocabulary,
        embed_dim=size.hidden,
        hidden_dim=size.mlp,
        num_heads=size.heads,
        head_dim=size.hidden // size.heads,
        num_kv_heads=size.key_heads,
        rope_theta=int(ROPE_THETA),
        norm_eps=NORM_EPSILON,
        weight_tying=size.tied,
        remat_config=llama.RematConfig.DECODER if options.remat == "full" else llama.RematConfig.NONE,
    )
    # It computes in the type of its parameters.
    dtype = jnp.dtype(options.dtype)
    model = llama_weights.create_model_from_safe_tensors(str(options.folder / "model"), config, dtype=dtype)

    def inputs_of(batch: dict[str, Any]) -> dict[str, Any]:
        segments = batch["decoder_segment_ids"]
        places = jnp.arange(segments.shape[1])
        own = (segments[:, :, None] == segments[:, None, :]) & (places[:, None] >= places)
        return {
            "tokens": batch["decoder_input_tokens"],
            "targets": batch["decoder_target_tokens"],
            "weights": batch["decoder_loss_weights"],
            "positions": batch["decoder_positions"],
            "mask": own,
        }

    def loss(model: Any, tokens: Any, targets: Any, weights: Any, positions: Any, mask: Any) -> Any:
        """The trainer's own loss, but for targets that are not the next input: rows are packed."""
        logits, _ = model(tokens, positions, None, mask)
        wanted = jax.nn.one_hot(targets, logits.shape[-1]) * weights[..., None]
        return -jnp.sum(jax.nn.log_softmax(logits) * wanted) / (jnp.sum(weights) + 1e-8)

    training = peft_trainer.TrainingConfig(eval_every_n_steps=1_000_000)
    trainer = peft_trainer.PeftTrainer(model, adamw(), training)
    trainer = trainer.with_gen_model_input_fn(inputs_of).with_loss_fn(loss)
    train_step, _ = trainer.jit_train_and_eval_step(cache_nnx_graph=True)
    batches = shared_batches(options.folder)

    def step() -> tuple[int, float]:
        batch = next(batches)
        found, _, _ = train_step(batch)
        jax.block_until_ready(train_step.args)
        return real_tokens(batch), float(np.asarray(found))

    serve_steps(step)


def work_maxtext(options: argparse.Namespace) -> None:
    from flax import nnx
    from flax.core.spmd import logical_axis_rules
    from maxtext.trainers.pre_train import train
    from maxtext.utils import sharding, train_utils

    config, recorder = train.initialize(["train", *maxtext_settings(options)])
    made = train_utils.setup_train_loop(config, recorder)
    shardings, mesh, whole = made[2], made[4], made[-1]
    graph, state = nnx.split(whole)
    fill_maxtext(state, options)
    parameters, shardings = sharding.maybe_update_params_sharding_with_opt(config, shardings)
    train_step, _ = train_utils.jit_train_and_eval_step(
        config, graph, mesh, state, shardings, train.train_step, params_shardings=parameters
    )
    batches = shared_batches(options.folder)

    def step() -> tuple[int, float]:
        nonlocal state
        batch = next(batches)
        given = {
            "inputs": batch["decoder_input_tokens"],
            "inputs_position": batch["decoder_positions"],
            "inputs_segmentation": batch["decoder_segment_ids"],
            "targets": batch["decoder_target_tokens"],
            "targets_position": batch["decoder_positions"],
            "targets_segmentation": batch["decoder_loss_weights"].astype(np.int32),  # where the loss counts
        }
        with jax.set_mesh(mesh), logical_axis_rules(config.logical_axis_rules):
            state, metrics = train_step(state, given)
        jax.block_until_ready(state)
        return real_tokens(batch), float(np.asarray(metrics["scalar"]["learning/loss"]))

    serve_steps(step)


def maxtext_settings(options: argparse.Namespace) -> list[str]:
    """Settings of its base.yml, beside those that already are as they should be."""
    import maxtext

    size = SIZES[options.size]
    settings = {
        "run_name": "bench",
        "base_output_directory": str(options.folder / "maxtext"),
        "hardware": options.device,
        "dataset_type": "synthetic",
        "enable_checkpointing": False,
        "skip_jax_distributed_system": True,
        "base_emb_dim": size.hidden,
        "base_mlp_dim": size.mlp,
        "base_num_decoder_layers": size.layers,
        "base_num_query_heads": size.heads,
        "base_num_kv_heads": size.key_heads,
        "head_dim": size.hidden // size.heads,
        "vocab_size": size.vocabulary,
        "logits_via_embedding": size.tied,
        "normalize_embedding_logits": False,
        "normalization_layer_epsilon": NORM_EPSILON,
        "rope_max_timescale": int(ROPE_THETA),
        "dtype": options.dtype,
        "attention": "dot_product",
        "remat_policy": options.remat,
        "per_device_batch_size": options.rows,
        "max_target_length": options.length,
        "steps": 1000,
        "learning_rate": LEARNING_RATE,
        "warmup_steps_fraction": 0.0,
        "learning_rate_final_fraction": 1.0,
        "adam_b1": BETAS[0],
        "adam_b2": BETAS[1],
        "adam_weight_decay": WEIGHT_DECAY,
        "gradient_clipping_threshold": CLIP,
    }
    base = Path(maxtext.__file__).parent / "configs" / "base.yml"
    return [str(base), *(f"{name}={value}" for name, value in settings.items())]


def fill_maxtext(state: Any, options: argparse.Namespace) -> None:
    """Put our weights into its train state.

    It scales queries by their kernel and not in attention, and stacks layers along the second axis.

    Raises:
      ValueError: a parameter that has no weight here, or a weight of another shape.
    """
    from flax import nnx
    from safetensors.numpy import load_file

    size = SIZES[options.size]
    weights: dict[str, np.ndarray] = {}
    for part in sorted((options.folder / "model").glob("*.safetensors")):
        weights |= load_file(part)

    def layers(name: str, scale: float = 1.0) -> np.ndarray:
        names = [f"model.layers.{layer}.{name}.weight" for layer in range(size.layers)]
        return np.stack([weights[name].T * np.float32(scale) for name in names], axis=1)

    scale = (size.hidden // size.heads) ** -0.5
    sources = {
        "token_embedder.embedding": lambda: weights["model.embed_tokens.weight"],
        "decoder.decoder_norm.scale": lambda: weights["model.norm.weight"],
        "decoder.logits_dense.kernel": lambda: weights["lm_head.weight"].T,
        "decoder.layers.pre_self_attention_layer_norm.scale": lambda: layers("input_layernorm"),
        "decoder.layers.post_self_attention_layer_norm.scale": lambda: layers("post_attention_layernorm"),
        "decoder.layers.self_attention.query.kernel": lambda: layers("self_attn.q_proj", scale),
        "decoder.layers.self_attention.key.kernel": lambda: layers("self_attn.k_proj"),
        "decoder.layers.self_attention.value.kernel": lambda: layers("self_attn.v_proj"),
        "decoder.layers.self_attention.out.kernel": lambda: layers("self_attn.o_proj"),
        "decoder.layers.mlp.wi_0.kernel": lambda: layers("mlp.gate_proj"),
        "decoder.layers.mlp.wi_1.kernel": lambda: layers("mlp.up_proj"),
        "decoder.layers.mlp.wo.kernel": lambda: layers("mlp.down_proj"),
    }
    for path, variable in nnx.to_flat_state(nnx.filter_state(state.model, nnx.Param)):
        name = ".".join(map(str, path))
        if name not in sources:
            raise ValueError(f"parameter {name} of MaxText has no weight here")
        array, old = sources[name](), variable.get_value()
        if name.endswith("out.kernel"):
            # From [heads * head_dim, layers, hidden] to [heads, layers, head_dim, hidden].
            array = array.reshape(size.heads, -1, *array.shape[1:]).swapaxes(1, 2)
        array = array.reshape(old.shape)
        variable.set_value(jax.device_put(array.astype(old.dtype), old.sharding))


WORKS = {"tunix": work_tunix, "maxtext": work_maxtext}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu" if options.device == "cpu" else "cuda")
    WORKS[options.worker](options)


if __name__ == "__main__":
    main()
