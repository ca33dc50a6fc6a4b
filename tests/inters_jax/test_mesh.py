"""Mesh lines, refusals, and where parameters and batches are placed."""

from __future__ import annotations

import jax
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from inters_jax import mesh as meshes


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
def rules():
    """Change the rules as gin would; they are back afterwards."""
    import gin

    def change(**tables):
        with gin.unlock_config():
            for name, table in tables.items():
                gin.bind_parameter(f"axis_rules.{name}", table)

    with gin.unlock_config():
        gin.clear_config()
    yield change
    with gin.unlock_config():
        gin.clear_config()


def test_gin_changes_single_rules(rules):
    mesh = abstract(data=2, fsdp=4, tensor=2)
    rules(parameters={"embed": ["data", "fsdp"], "mlp": None})
    spec = meshes.partition_spec(mesh, ("layers", "embed", "mlp"), (2, 16, 64))
    assert spec == PartitionSpec(None, ("data", "fsdp"), None)
    assert meshes.partition_spec(mesh, ("embed", "heads"), (12, 4)) == PartitionSpec(None, "tensor")
    rules(parameters={"mlp": "fsdp"})  # a mesh axis divides one dimension of an array
    assert meshes.partition_spec(mesh, ("embed", "mlp"), (16, 64)) == PartitionSpec("fsdp", None)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"parameters": {"embd": "fsdp"}}, "AXIS_RULES: no logical axis 'embd'.*did you mean embed"),
        ({"parameters": {"embed": "fspd"}}, "'embed': no mesh axis 'fspd'; the axes are replica, data"),
        ({"parameters": {"embed": ("fsdp", "fsdp")}}, "twice"),
        ({"activations": {"batch": None}}, "ACTIVATION_AXIS_RULES: no logical axis 'batch' to change"),
    ],
)
def test_rules_that_name_nothing_are_refused(rules, tables, message):
    rules(**tables)
    with pytest.raises(meshes.MeshError, match=message):
        meshes.partition_spec(abstract(), ("embed",), (4,))


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
    with pytest.raises(meshes.MeshError, match="stay inside a slice; try replica=2"):
        meshes.slices_by_axis(meshes.parse_mesh("tensor=8", 8), 2, "tensor=8")


def test_a_host_makes_the_rows_of_its_devices():
    mesh = meshes.make_mesh("fsdp=-1")
    assert meshes.host_rows(mesh, 2 * mesh.size) == list(range(2 * mesh.size))
