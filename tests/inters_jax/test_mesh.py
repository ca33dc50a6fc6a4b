"""Mesh lines, refusals, and where parameters and batches are placed."""

from __future__ import annotations

import gin
import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec
from training_stand_ins import TINY

from inters_jax import mesh as meshes
from inters_jax.config import load
from inters_jax.models.splash import SplashBlocks
from inters_jax.settings.training import OptimizerSettings, StepSettings
from inters_jax.training.optimizer import build_optimizer
from inters_jax.training.program import build_program
from inters_jax.training.step import state_shardings


def abstract(**sizes):
    return AbstractMesh(tuple(sizes.get(name, 1) for name in meshes.AXES), meshes.AXES)


@pytest.mark.parametrize(
    ("line", "devices", "sizes"),
    [
        ("fsdp=-1", 8, {"fsdp": 8}),
        ("", 1, {}),
        ("data=2, fsdp=-1, tensor=2", 8, {"data": 2, "fsdp": 2, "tensor": 2}),
        ("data=2 tensor=4", 8, {"data": 2, "tensor": 4}),
        ("replica=2,sequence=-1", 4, {"replica": 2, "sequence": 2}),
    ],
)
def test_one_line_describes_the_mesh(line, devices, sizes):
    assert meshes.parse_mesh(line, devices) == dict.fromkeys(meshes.AXES, 1) | sizes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fdsp=-1", "no axis 'fdsp'"),
        ("fsdp=-1,data=-1", "only one axis may be -1"),
        ("fsdp=3", "needs 3 devices, 8 were found"),
        ("tensor=3,fsdp=-1", "8 devices are not divisible by 3"),
        ("fsdp=0", "positive number or -1"),
        ("fsdp", "must read fsdp=NUMBER"),
        ("fsdp=x", "must read fsdp=NUMBER"),
    ],
)
def test_a_line_that_does_not_fit_is_refused(line, message):
    with pytest.raises(meshes.MeshError, match=message):
        meshes.parse_mesh(line, 8)


def test_parameters_follow_the_rules():
    mesh = abstract(fsdp=4, tensor=2)
    assert meshes.partition_spec(mesh, ("layers", "embed", "mlp"), (2, 16, 64)) == PartitionSpec(
        None, "fsdp", "tensor"
    )
    assert meshes.partition_spec(mesh, ("vocab", "embed"), (100, 16)) == PartitionSpec("tensor", "fsdp")
    assert meshes.partition_spec(mesh, ("layers", "norm"), (2, 16)) == PartitionSpec(None, None)


def test_a_dimension_that_does_not_divide_stays_whole():
    mesh = abstract(fsdp=4, tensor=4)
    assert meshes.partition_spec(mesh, ("embed", "kv_heads", "head_dim"), (16, 2, 8)) == PartitionSpec(
        "fsdp", None, None
    )


def test_an_unknown_logical_axis_is_refused():
    with pytest.raises(meshes.MeshError, match="unknown logical axis 'experts'"):
        meshes.partition_spec(abstract(), ("experts",), (4,))


def test_batches_that_do_not_divide_are_refused_with_the_next_size():
    mesh = abstract(data=2, fsdp=4, tensor=2)
    meshes.check_batch(mesh, 16, microbatches=2)
    with pytest.raises(meshes.MeshError, match="use 16"):
        meshes.check_batch(mesh, 12)


def test_this_machine_gives_a_mesh():
    mesh = meshes.make_mesh("fsdp=-1")
    assert mesh.size == jax.device_count() and mesh.axis_names == meshes.AXES


@pytest.fixture
def gin_config():
    """An empty gin configuration, cleared afterwards."""
    with gin.unlock_config():
        gin.clear_config()
        yield
        gin.clear_config()


def test_single_rules_can_be_changed():
    mesh = abstract(data=2, fsdp=4, tensor=2)
    rules = meshes.AxisRules({"embed": ["data", "fsdp"], "mlp": None})
    spec = meshes.partition_spec(mesh, ("layers", "embed", "mlp"), (2, 16, 64), rules)
    assert spec == PartitionSpec(None, ("data", "fsdp"), None)
    assert meshes.partition_spec(mesh, ("embed", "heads"), (12, 4), rules) == PartitionSpec(None, "tensor")
    rules = meshes.AxisRules({"mlp": "fsdp"})  # a mesh axis shards only one dimension of an array
    assert meshes.partition_spec(mesh, ("embed", "mlp"), (16, 64), rules) == PartitionSpec("fsdp", None)


def test_changed_rules_reach_the_state_and_the_activations():
    mesh = meshes.make_mesh("fsdp=-1")
    rules = meshes.AxisRules({"embed": None, "mlp": "fsdp"}, {"embed": "fsdp"})
    params = {"up": jax.ShapeDtypeStruct((16, 64), np.float32)}
    transformation, _ = build_optimizer(OptimizerSettings(), 10, {"up": ("embed", "mlp")})
    state = state_shardings(mesh, {"up": ("embed", "mlp")}, params, transformation, rules)
    assert state.params["up"].spec == PartitionSpec(None, "fsdp")
    assert {leaf.spec for leaf in jax.tree.leaves(state.opt_state) if leaf.spec} == {
        PartitionSpec(None, "fsdp")
    }
    constrain = jax.jit(lambda x: meshes.activation_constraint(mesh, rules)(x, ("length", "embed")))
    assert '[{"sequence"}, {"fsdp"}]' in constrain.lower(np.zeros((8, 16))).as_text()


def test_a_program_takes_rules_and_blocks():
    program = build_program(
        TINY, device_mesh=meshes.make_mesh("fsdp=-1"), optimizer=OptimizerSettings(), total_steps=1,
        batch_size=1, max_length=8, rules=meshes.AxisRules({"embed": None, "mlp": "fsdp"}),
        splash_blocks=SplashBlocks(queries=256),
    )  # fmt: skip
    kernel = program.shardings.params["layers"]["mlp"]["up"]["kernel"]
    assert kernel.spec == PartitionSpec(None, None, "fsdp")
    assert program.structure.bind(program.structure.abstract()).attend.blocks == SplashBlocks(queries=256)


def test_the_command_line_changes_single_rules():
    typed = [("", "MODEL", "m"), ("", "MODEL_DIR", "r"), ("", "AXIS_RULES", "{'mlp': None}")]
    step = next(group for group in load("train", [], typed, []) if isinstance(group, StepSettings))
    rules = meshes.AxisRules(step.axis_rules, step.activation_axis_rules)
    assert rules == meshes.AxisRules({"mlp": None}) != meshes.STANDARD_RULES


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"parameters": {"embd": "fsdp"}}, "AXIS_RULES: no logical axis 'embd'.*did you mean embed"),
        ({"parameters": {"embed": "fspd"}}, "'embed': no mesh axis 'fspd'; the axes are replica, data"),
        ({"parameters": {"embed": ("fsdp", "fsdp")}}, "twice"),
        ({"activations": {"batch": None}}, "ACTIVATION_AXIS_RULES: no logical axis 'batch' to change"),
    ],
)
def test_rules_that_name_nothing_are_refused(tables, message):
    with pytest.raises(meshes.MeshError, match=message):
        meshes.AxisRules(**tables)


@pytest.mark.parametrize(
    ("line", "slices", "between"),
    [
        ("replica=2,fsdp=-1", 2, (2, 1, 1, 1, 1)),
        ("data=2,fsdp=4", 2, (1, 2, 1, 1, 1)),
        ("fsdp=-1", 4, (1, 1, 4, 1, 1)),
        ("replica=2,fsdp=2,tensor=2", 4, (2, 1, 2, 1, 1)),
    ],
)
def test_slices_lie_along_the_outermost_row_axes(line, slices, between):
    assert meshes.slices_by_axis(meshes.parse_mesh(line, 8), slices) == between


def test_tensor_does_not_cross_slices():
    with pytest.raises(meshes.MeshError, match="stay within a slice; try replica=2"):
        meshes.slices_by_axis(meshes.parse_mesh("tensor=8", 8), 2, "tensor=8")


def test_a_host_makes_the_rows_of_its_devices():
    mesh = meshes.make_mesh("fsdp=-1")
    assert meshes.host_rows(mesh, 2 * mesh.size) == list(range(2 * mesh.size))
