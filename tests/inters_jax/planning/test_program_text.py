"""Reading compiled programs: loops, products, collectives; against programs whose work is known."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from inters_jax.planning import hlo


def compiled(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return hlo.Program(jax.jit(function).lower(*arguments).compile().as_text())


def test_products_of_a_loop_count_as_often_as_it_runs():
    def layers(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]

    program = compiled(layers, (8, 16), (5, 16, 16))
    assert program.flops == 5 * 2 * 8 * 16 * 16


def test_nested_loops_multiply():
    def twice(x, weights):
        def inner(x, w):
            return jax.lax.fori_loop(0, 7, lambda _, x: jnp.tanh(x @ w), x), None

        return jax.lax.scan(inner, x, weights)[0]

    assert compiled(twice, (8, 16), (5, 16, 16)).flops == 5 * 7 * 2 * 8 * 16 * 16


def test_products_with_batch_axes():
    program = compiled(lambda x, y: jnp.einsum("bij,bjk->bik", x, y), (3, 4, 5), (3, 5, 6))
    assert program.flops == 2 * 3 * 4 * 5 * 6


# As TPUs write it: a stride of two in the counter, a product as a convolution over a batch that is spread
# over a spatial axis, a kernel whose configuration breaks the line, a fused reduce-scatter, and one gather
# that the compiler cut into two pieces.
TPU_TEXT = """HloModule jit_step

%all-reduce-scatter.1 (input.1: bf16[64,8]) -> bf16[16,8] {
  %input.1 = bf16[64,8]{1,0} parameter(0)
  ROOT %all-reduce.1 = bf16[64,8]{1,0} all-reduce(%input.1), channel_id=3, replica_groups={{0,1,2,3}}, to_apply=%sum
}

%piece (p.1: bf16[4,8]) -> bf16[16,8] {
  %p.1 = bf16[4,8]{1,0} parameter(0)
  ROOT %all-gather.2 = bf16[16,8]{1,0} all-gather(%p.1), channel_id=4, replica_groups=[1,4]<=[4], dimensions={0}
}

%last_piece (p.2: bf16[4,8]) -> bf16[16,8] {
  %p.2 = bf16[4,8]{1,0} parameter(0)
  ROOT %all-gather.3 = bf16[16,8]{1,0} all-gather(%p.2), channel_id=4, replica_groups=[1,4]<=[4], dimensions={0}
}

%cond (c: (u32[], bf16[4,8])) -> pred[] {
  %c = (u32[], bf16[4,8]{1,0:T(8,128)(2,1)}) parameter(0)
  %bound = u32[]{:T(128)} constant(8)
  %at = u32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %less = pred[] compare(%at, %bound), direction=LT
}

%body (b: (u32[], bf16[4,8])) -> (u32[], bf16[4,8]) {
  %b = (u32[], bf16[4,8]{1,0:T(8,128)(2,1)}) parameter(0)
  %two = u32[]{:T(128)} constant(2)
  %count = u32[]{:T(128)} get-tuple-element(%b), index=0
  %next = u32[]{:T(128)} add(%count, %two)
  %x = bf16[4,8]{1,0} get-tuple-element(%b), index=1
  %kernel = bf16[4,8]{1,0} custom-call(%x), custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block\\": 512}"
}}, metadata={op_name="kernel"}
  %more = bf16[16,8]{1,0} fusion(%kernel), kind=kOutput, calls=%piece, backend_config={"estimated_cycles":"100"}
  %left = bf16[3,6,4]{2,1,0} parameter(1)
  %right = bf16[3,4,5]{2,1,0} parameter(2)
  %product = bf16[3,6,5]{2,1,0} convolution(%left, %right), window={size=3 stride=2 lhs_dilate=3}, dim_labels=0bf_0io->0bf
  ROOT %out = (u32[], bf16[4,8]{1,0}) tuple(%next, %kernel)
}

ENTRY %main (a: bf16[4,8]) -> bf16[16,8] {
  %a = bf16[4,8]{1,0} parameter(0)
  %zero = u32[] constant(0)
  %start = (u32[], bf16[4,8]{1,0}) tuple(%zero, %a)
  %loop = (u32[], bf16[4,8]{1,0}) while(%start), condition=%cond, body=%body
  %last = bf16[16,8]{1,0} fusion(%a), kind=kOutput, calls=%last_piece
  ROOT %sum.1 = bf16[16,8]{1,0} fusion(%last), kind=kCustom, calls=%all-reduce-scatter.1
}
"""  # noqa: E501


def test_a_program_of_a_tpu():
    program = hlo.Program(TPU_TEXT)
    assert program.times["body"] == 4  # 0, 2, 4, 6
    assert program.flops == 4 * 2 * 3 * 6 * 4 * 5
    assert program.cycles == 4 * 100
    assert program.custom_calls("tpu_custom_call") == 4
    gather, scatter = sorted(program.collectives(), key=lambda one: one.kind)
    assert (gather.kind, gather.count, gather.group, gather.sent) == ("all-gather", 1, 4, 16 * 8 * 2 * 3 / 4)
    assert (scatter.kind, scatter.group, scatter.sent) == ("reduce-scatter", 4, 64 * 8 * 2 * 3 / 4)
