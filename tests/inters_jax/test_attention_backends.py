"""Every implementation of attention against the definition, and compiled for the hardware it is meant for."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from attention_stand_ins import BLOCKS, cudnn_stand_in, difference, rows

from inters_jax.mesh import make_mesh
from inters_jax.models import attention_backends, cudnn
from inters_jax.models.attention import attention, reference_attention
from inters_jax.models.attention_backends import choose
from inters_jax.models.config import DecoderConfig, ModelError
from inters_jax.models.splash import SplashBlocks

LENGTHS = ((70, 5, 90), (120, 60))
CASES: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    "grouped heads": ({"groups": 2}, {}),
    "one key head, window and soft-cap": ({"groups": 1}, {"window": 37, "softcap": 5.0}),
    "own key heads, a wide window, scale": ({"groups": 4, "size": 24}, {"window": 500, "scale": 0.3}),
}


@pytest.mark.slow  # the interpreter runs the kernel's grid step by step
@pytest.mark.parametrize("case", CASES)
def test_splash_equals_the_definition(case: str) -> None:
    shape, options = CASES[case]
    splash = choose("splash", blocks=BLOCKS, interpret=True)
    assert difference(splash, rows(LENGTHS, 200, **shape), **options) < 1e-5


@pytest.mark.slow
def test_layers_of_one_splash_program_take_the_window_or_not() -> None:
    data = rows(LENGTHS, 256)
    splash = choose("splash", blocks=SplashBlocks(*[128] * 6, fused_backward=True), interpret=True)
    for sliding in (True, False):
        assert difference(splash, data, window=37, sliding=jnp.array(sliding)) < 1e-5


@pytest.mark.slow
def test_kernels_divided_over_devices_equal_the_definition() -> None:
    here = Path(__file__).parent
    environment = os.environ | {
        "JAX_NUM_CPU_DEVICES": "8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here)]),
    }
    command = [sys.executable, str(here / "attention_stand_ins.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 4
    assert {name: value for name, value in found.items() if not value < 1e-5} == {}


@pytest.mark.parametrize(
    ("options", "groups"),
    [({"window": 11, "scale": 0.3}, 2), ({"window": 11, "sliding": jnp.array(False)}, 1)],
)
def test_cudnn_is_given_every_segment_as_a_sequence(
    options: dict[str, Any], groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN itself is a stand-in that does what its documentation says, and leaves NaN everywhere else."""
    monkeypatch.setattr(cudnn.wrapper, "dot_product_attention", cudnn_stand_in)
    data = rows(((9, 15, 8), (37,)), 37, groups=groups)
    assert difference(cudnn.cudnn_attention, data, **options) < 1e-5


def test_a_row_with_too_many_segments_uses_xla(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cudnn.wrapper, "dot_product_attention", cudnn_stand_in)
    monkeypatch.setattr(cudnn, "SEGMENTS", 3)
    assert difference(cudnn.cudnn_attention, rows(((9, 15, 8), (37,)), 37), window=5) < 1e-5


@pytest.mark.parametrize(("variant", "call"), [("packed", "fmhaSoftmax"), ("bias", "fmhaScaleBiasSoftmax")])
def test_cudnn_calls_are_lowered_for_cuda(variant: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward reach cuDNN's custom calls with the window; nothing here runs them."""
    wrapper = cudnn.wrapper
    monkeypatch.setattr(wrapper, "check_cudnn_version", lambda: 91000)
    monkeypatch.setattr(wrapper, "check_compute_capability", lambda capability: True)
    monkeypatch.setattr(wrapper, "is_cuda_compute_capability_equal", lambda capability: False)

    def loss(
        q: jax.Array, k: jax.Array, v: jax.Array, segments: jax.Array, positions: jax.Array
    ) -> jax.Array:
        out = cudnn.cudnn_attention(
            q, k, v, segment_ids=segments, positions=positions, window=64, variant=variant
        )
        return out.astype(jnp.float32).sum()

    def array(*shape: int, dtype: Any = jnp.bfloat16) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    ids = array(2, 256, dtype=jnp.int32)
    traced = jax.jit(jax.grad(loss, argnums=(0, 1, 2))).trace(
        array(2, 256, 4, 64), array(2, 256, 2, 64), array(2, 256, 2, 64), ids, ids
    )
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    assert f"__cudnn${call}(" in text and f"__cudnn${call}Backward(" in text
    # The variant with a bias has the window in it.
    assert ("sliding_window_length\\22: 64" in text) == (variant == "packed")
    assert "CAUSAL" in text


def test_no_array_of_length_by_length_in_the_compiled_program() -> None:
    """The blockwise version, forward and backward; the definition shows that the test would see one."""
    length = 640

    def largest(attend: Any, **options: Any) -> int:
        def loss(q: jax.Array, k: jax.Array, v: jax.Array, ids: jax.Array, sliding: jax.Array) -> jax.Array:
            kind = {"sliding": sliding} if "window" in options else {}
            return attend(q, k, v, segment_ids=ids, positions=ids, **kind, **options).sum()

        array = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32)
        ids = jax.ShapeDtypeStruct((1, length), jnp.int32)
        step = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
        lowered = step.lower(array, array, array, ids, jax.ShapeDtypeStruct((), bool))
        # The machine code is not optimised, which takes long; the arrays are those of the optimised program.
        text = lowered.compile({"xla_backend_optimization_level": 0}).as_text()
        sizes = [[int(n) for n in shape.split(",")] for shape in re.findall(r"\b[a-z]\w*\[([\d,]+)\]", text)]
        assert any(length in shape for shape in sizes)
        # Dimensions may be merged: count every dimension that holds at least one row's worth of positions.
        return max(sum(n >= length // 2 and n % (length // 2) == 0 for n in shape) for shape in sizes)

    assert largest(reference_attention) == 2
    assert largest(attention) == 1
    assert largest(attention, window=300) == 1


@pytest.mark.slow  # libtpu compiles a whole train step
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")
def test_splash_compiles_for_tpus_inside_the_train_step() -> None:
    """Forward and backward, windowed and full layers, soft-cap, over rows, heads and positions of v5e-8."""
    from inters_jax.planning.topologies import resolve
    from inters_jax.settings.training import OptimizerSettings
    from inters_jax.training.program import build_program

    config = DecoderConfig(
        vocab_size=256, hidden_size=128, intermediate_size=256, num_layers=2, num_heads=4, num_kv_heads=2,
        head_dim=64, sliding_window=256, sliding_layers=(True, False), attention_softcap=30.0,
    )  # fmt: skip
    program = build_program(
        config, device_mesh=make_mesh("fsdp=2,tensor=2,sequence=2", resolve("v5e-8").devices()),
        optimizer=OptimizerSettings(), total_steps=10, batch_size=4, max_length=1024,
    )  # fmt: skip
    text = program.lower(loss_positions=64).compile().as_text()
    for kernel in ("fwd_segmented", "dq_segmented", "dkv_segmented"):
        assert re.search(rf"splash_m[hq]a_{kernel}", text), kernel
    assert "1024,1024]" not in text


def test_auto_takes_the_best_of_the_platform() -> None:
    assert [choose("auto", platform=name).backend for name in ("tpu", "gpu", "cpu")] == [
        "splash", "cudnn", "xla",
    ]  # fmt: skip
    assert choose("auto").backend == {"tpu": "splash", "gpu": "cudnn"}.get(jax.default_backend(), "xla")
    assert choose("auto", platform="tpu").unsupported(length=64, head_dim=128) is not None


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        ("flash", {"platform": "tpu"}, "ATTENTION='flash' is not known; choose one of auto, xla, splash"),
        ("splash", {"platform": "cpu"}, "needs a TPU, this is cpu"),
        ("cudnn", {"platform": "tpu"}, "needs an NVIDIA GPU, this is tpu"),
    ],
)
def test_what_a_machine_does_not_have_is_refused(backend: str, options: Any, message: str) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        choose(backend, **options)


@pytest.mark.parametrize(
    ("platform", "sizes", "reason"),
    [
        ("tpu", {"branches": True}, "branches"),
        ("tpu", {"slopes": True}, "ALiBi"),
        ("tpu", {"length": 100}, "too small"),
        ("tpu", {"softcap": True, "dtype": "float32"}, None),
        ("gpu", {"softcap": True}, "no soft-cap"),
        ("gpu", {"dtype": "float32"}, "bfloat16 or float16, not float32"),
        ("gpu", {"head_dim": 256}, "heads of at most 128"),
        ("gpu", {"length": 8192}, "before Hopper"),
        ("cpu", {"branches": True, "slopes": True, "length": 3}, None),
    ],
)
def test_why_a_kernel_is_not_used(platform: str, sizes: dict[str, Any], reason: str | None) -> None:
    found = choose("auto", platform=platform).unsupported(**{"length": 2048, "head_dim": 128} | sizes)
    assert (found is None) if reason is None else (reason in (found or ""))


def test_hopper_takes_long_rows_and_large_heads() -> None:
    hopper = choose("auto", platform="gpu", capability=(9, 0))
    assert hopper.unsupported(length=32768, head_dim=256) is None


def test_a_fallback_gives_the_result_and_its_reason_once(caplog: pytest.LogCaptureFixture) -> None:
    attention_backends._warn_once.cache_clear()
    data = rows(((9, 15, 8), (37,)), 37)
    with caplog.at_level(logging.WARNING):
        for softcap in (None, 3.0):
            got = choose("auto", platform="gpu")(**data, softcap=softcap)
            assert jnp.array_equal(got, attention(**data, softcap=softcap))
    said = [record.message for record in caplog.records if "attention" in record.name]
    assert said == [
        "attention: xla instead of cudnn: 37 positions with heads of 16 are too small; "
        "it needs 128 positions and heads of 64"
    ]


@pytest.mark.parametrize("name", ["queries", "backward_keys_compute"])
def test_blocks_are_multiples_of_the_lanes(name: str) -> None:
    with pytest.raises(ModelError, match=f"SplashBlocks.{name}=100: must be a positive multiple of 128"):
        SplashBlocks(**{name: 100})


@pytest.mark.parametrize("length", [1, 128, 200, 640, 1000, 2048, 4096])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_blocks_fit_every_length(length: int, parts: int) -> None:
    blocks = SplashBlocks(queries=512, keys=1024, keys_compute=256, backward_keys_compute=384)
    padded = blocks.padded(length, parts)
    assert length <= padded and padded % (128 * parts) == 0
    fitted = blocks.fitted(padded, parts)
    assert padded // parts % fitted.block_q == 0 and padded // parts % fitted.block_q_dkv == 0
    assert padded % fitted.block_kv == 0 and fitted.block_kv % fitted.block_kv_compute == 0
    assert padded % fitted.block_kv_dkv == 0 and fitted.block_kv_dkv % fitted.block_kv_dkv_compute == 0
