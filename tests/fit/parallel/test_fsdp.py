"""What FSDP sends: matrices in 16 bits where they are multiplied so, and no gradient before a step's last rows."""

import os
from typing import Any
from unittest import mock

import pytest
import torch
from runs import record_of, train_run
from safetensors.torch import load_file
from torch.distributed.fsdp._fully_shard import _fsdp_param_group

from ablate.fit import checkpoint
from ablate.fit.parallel import fsdp, processes, strategy
from ablate.run import checkpoints
from ablate.run.record import Record
from ablate.run.settings import Settings

pytestmark = pytest.mark.slow

SHORT = {"tokens": 5120, "optimizer": {"clip": 0}}  # a norm of parts adds up in another order
STEPS, PARTS, GROUPS = 10, 2, 4  # micro-batches of a step; three blocks, and all else


def trained(settings: Settings, target: Any) -> Record:
    processes.together(target, settings.where.devices * settings.where.nodes, settings)
    return record_of(settings)


def test_gradients_are_added_up_as_under_ddp_and_reduced_once_a_step(spread):
    one, other = trained(spread("fsdp", **SHORT), train_counting), spread("ddp", **SHORT)
    train_run(other)
    reduced = [int(path.read_text()) for path in sorted(one.folder.glob("reduced-*"))]
    assert reduced == [STEPS * GROUPS] * 2
    weights, wanted = load_file(one.weights), load_file(record_of(other).weights)
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def train_counting(settings: Settings, rank: int, port: int) -> None:
    """One process of a run, which counts how often it reduces gradients."""
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    reduce, count = _fsdp_param_group.foreach_reduce, 0

    def counted(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        return reduce(*arguments)

    mock.patch.object(_fsdp_param_group, "foreach_reduce", counted).start()
    train_run(settings)
    (record_of(settings).folder / f"reduced-{rank}").write_text(str(count))


@pytest.mark.parametrize("changes", [{}, {"where": {"recompute": True}}], ids=["plain", "recomputed"])
def test_what_is_gathered_in_16_bits_is_what_autocast_would_make_of_it(spread, changes):
    settings = spread("fsdp", precision="bf16-mixed", **SHORT, **changes)
    narrow = trained(settings, train_plain)
    wide = trained(spread("fsdp", precision="bf16-mixed", **SHORT), train_wide)
    weights, wanted = load_file(narrow.weights), load_file(wide.weights)
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def train_plain(settings: Settings, rank: int, port: int) -> None:
    """One process of a run, which sees matrices in bfloat16 and vectors in float32."""
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    gathered, seen = _fsdp_param_group.FSDPParamGroup.wait_for_unshard, set()

    def noted(group: Any) -> None:
        gathered(group)
        seen.update((one.unsharded_param.ndim, one.unsharded_param.dtype) for one in group.fsdp_params[-1:])

    mock.patch.object(_fsdp_param_group.FSDPParamGroup, "wait_for_unshard", noted).start()
    train_run(settings)
    assert seen == {(2, torch.bfloat16), (1, torch.float32)}


def train_wide(settings: Settings, rank: int, port: int) -> None:
    """One process of a run that gathers all in float32."""
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    mock.patch.object(fsdp, "MixedPrecisionPolicy", return_value=fsdp.WIDE).start()
    train_run(settings)


def test_nodes_hold_copies_of_what_is_in_parts_inside_them(spread, whole):
    """Two pretended nodes of two devices."""
    record = trained(spread("fsdp", where={"devices": 2, "nodes": 2, "micro_tokens": 64}), train_on_nodes)
    rows, wanted = ({row["step"]: row["nats"] for row in one.rows("train")} for one in (record, whole))
    assert rows == pytest.approx(wanted, abs=1e-4)
    weights, expected = load_file(record.weights), load_file(whole.weights)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-4)


def train_on_nodes(settings: Settings, rank: int, port: int) -> None:
    """One of four processes."""
    os.environ["NODE_RANK"] = str(rank // 2)
    os.environ.update(strategy.rank_environment(rank % 2, settings.where, port))
    shard = fsdp.FSDP.shard

    def checked(one: fsdp.FSDP, module: Any) -> None:
        shard(one, module)
        for parameter in module.parameters():
            assert tuple(parameter.device_mesh.shape) == (2, 2)
            assert [placement.is_shard() for placement in parameter.placements] == [False, True]

    mock.patch.object(fsdp.FSDP, "shard", checked).start()
    train_run(settings)


def test_a_checkpoint_written_while_training_goes_on_is_the_state_of_its_step(spread):
    record = trained(spread("fsdp", where={"saves": 4, "checkpoints": 9}), train_keeping)
    folders = checkpoints.saved(record.checkpoints)
    assert [checkpoints.step_of(folder) for folder in folders] == [5, 10, 15]
    assert len(list((folders[0] / "parts").iterdir())) == 2  # a file a process
    saved = checkpoint.SafetensorsIO().load_checkpoint(folders[0])["state_dict"]
    kept = load_file(record.weights_after(5))
    assert saved.keys() == {f"model.{name}" for name in kept}
    assert all(torch.equal(saved[f"model.{name}"], kept[name]) for name in kept)
    assert [checkpoints.wrong(folder) for folder in folders] == [None] * 3
    (part, _) = sorted((folders[2] / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-1] + bytes([part.read_bytes()[-1] ^ 1]))
    assert checkpoints.newest(record.checkpoints) == folders[1]


def train_keeping(settings: Settings, rank: int, port: int) -> None:
    """One process of a run that leaves its checkpoints."""
    os.environ.update(strategy.rank_environment(rank, settings.where, port))
    mock.patch.object(checkpoint, "remove").start()
    train_run(settings)
