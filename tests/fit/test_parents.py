"""A run that begins with another's weights, or with those of a folder of transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import SEVERAL, check_processes, check_resumed, record_of, train_run
from safetensors.torch import load_file, save_file

from ablate import export
from ablate.data.batches import Steps, training_spans
from ablate.data.tokens import prepare
from ablate.fit import checkpoint
from ablate.fit.parents import resolved
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run import checks, lookup
from ablate.run.lineage import lineage
from ablate.run.record import Record, run_record
from ablate.run.settings import Settings, UserError
from ablate.sweep.worker import alone, train


@pytest.fixture
def parent(tiny) -> Record:
    train_run(settings := tiny(tokens=2048))
    return record_of(settings)


@pytest.fixture
def child(tiny, parent):
    """child(seed=1): settings of a run that begins with the parent's weights, looked up."""
    return lambda **changes: resolved(tiny(**{"start": f"run:{parent.id}", "tokens": 4096} | changes))


def test_a_child_begins_with_its_parents_weights(child, parent, monkeypatch):
    monkeypatch.setattr(checks, "LEAST_RATE", 0.0)  # of a run that stands still
    train_run(settings := child(optimizer={"lr": 0.0, "weight_decay": 0.0}))
    record = record_of(settings)
    assert (record.result() or {})["weights_sha256"] == (parent.result() or {})["weights_sha256"]
    assert record.id != parent.id
    assert [link.name for link in lineage(record)] == [parent.id, record.id]


def test_it_goes_on_from_there_with_a_timeline_and_an_optimizer_of_its_own(child, parent):
    train_run(settings := child())
    rows = record_of(settings).rows("train")
    assert [row["lr"] for row in rows] == timeline(settings).table["lr"].tolist()
    assert rows[0]["nats"] < parent.rows("train")[0]["nats"] - 0.05
    tensors = load_file(parent.weights)
    assert checkpoint.sha256(tensors) in settings.start


def test_a_parent_may_be_renamed_and_other_weights_are_another_child(child, parent, tiny):
    train_run(settings := child())
    copy = parent.folder.with_name("copy")
    shutil.copytree(parent.folder, copy)
    assert record_of(resolved(tiny(start="run:copy", tokens=4096))).id == record_of(settings).id
    weights = {name: value + 1 for name, value in load_file(copy / "weights.safetensors").items()}
    save_file(weights, copy / "weights.safetensors")
    result = (edited := Record(copy)).result() or {}
    edited.finish(result | {"weights_sha256": checkpoint.sha256(weights)})
    assert record_of(resolved(tiny(start="run:copy", tokens=4096))).id != record_of(settings).id


def test_a_child_that_is_done_is_found_without_its_parent_and_another_is_refused(child, parent, tiny):
    settings = child()
    shutil.copytree(parent.folder, away := parent.folder.parents[1] / "away")
    shutil.rmtree(parent.folder)
    start = f"run:{parent.id}"
    assert "no such run in" in refused(tiny, start=start, tokens=4096)
    shutil.copytree(away, parent.folder)
    result = train_run(settings)
    shutil.rmtree(parent.folder)
    task = alone(tiny(start=start, tokens=4096))
    assert task.record.id == record_of(settings).id
    assert train(task) == result
    with pytest.raises(UserError, match=rf"^start={start}: .*weights.safetensors cannot be read"):
        train(alone(tiny(start=start, tokens=5120)))


def test_a_parent_is_called_as_any_run_is(child, parent, tiny):
    by_hash = resolved(tiny(start=f"run:{lookup.short(parent)}", tokens=4096))
    assert by_hash == child()
    shutil.copytree(parent.folder, parent.folder.with_name(f"{parent.id}-r1"))
    assert resolved(tiny(start=f"run:{lookup.short(parent)}", tokens=4096)) == child()
    assert "begins 2 runs" in refused(tiny, start=f"run:{parent.id[:-1]}")
    shutil.copytree(parent.folder, place := parent.folder.parents[1] / "elsewhere" / parent.id[:-1])
    assert "no such run in" in refused(tiny, start=f"run:{place}")


def test_who_changed_no_weights_is_nobodys_parent_by_them(child, parent, monkeypatch):
    monkeypatch.setattr(checks, "LEAST_RATE", 0.0)
    still = {"weight_decay": 0.0, "lr": 0.0}
    ids = []
    for tokens in (4096, 5120):
        train_run(settings := child(optimizer=still, tokens=tokens))
        ids.append(record_of(settings).id)
    outputs = parent.folder.parents[1]
    other = parent.folder.with_name("other")
    parent.folder.rename(other)
    assert [lineage(run_record(outputs, id))[0].name for id in ids] == ["other", "other"]
    (other / "result.json").write_text("{")  # a record that cannot be read hides nothing but itself
    assert [[link.name for link in lineage(run_record(outputs, id))] for id in ids] == [
        [f"run:{parent.id}", id] for id in ids
    ]


def test_interrupted_it_ends_with_the_same_weights(child, parent, tmp_path, unprobed):
    check_resumed(child(where={"saves": 4}), tmp_path / "again", parent)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SEVERAL)
def test_it_begins_there_under_every_strategy(child, parent, tmp_path, strategy):
    check_processes(child(), strategy, tmp_path / "several", parent)


def refused(tiny, **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        resolved(tiny(**changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_that_does_not_fit_is_refused_with_all_that_would_make_it(tiny, parent):
    start = f"run:{parent.id}"
    size = {"width": 64, "depth": 3, "heads": 2, "kv_heads": 2, "hidden": 64}
    changes: dict[str, Any] = {"start": start, "size": size, "model": {"qk_norm": True, "tied": False}}
    text = refused(tiny, **changes, data={"vocabulary": 600})
    needed = text.partition("it does with ")[2].split()
    assert text.startswith(f"start={start}: its model does not fit data.vocabulary=600, size.width=64, ")
    assert set(needed) == {
        *("data.vocabulary=512", "size.width=32", "size.depth=2", "size.kv_heads=1"),
        *("model.qk_norm=false", "model.tied=true"),
    }
    # what only draws weights, or describes layers that there are none of, does not matter
    assert resolved(tiny(start=start, model={"init_scale": 0.1, "mamba": {"state": 8}}))


def test_a_parent_that_cannot_be_one(tiny, parent):
    start = f"run:{parent.id}"
    assert refused(tiny, start="run:nobody").startswith("start=run:nobody: no such run in")
    assert "not finished" in refused_with(tiny, parent, start, None)
    diverged = (parent.result() or {}) | {"outcome": "diverged", "reason": "step 3: no"}
    assert "diverged: step 3: no; nothing can begin" in refused_with(tiny, parent, start, diverged)
    (parent.folder / "environment.json").rename(parent.folder / "kept")
    assert "environment.json: missing or damaged" in refused(tiny, start=start)
    (parent.folder / "kept").rename(parent.folder / "environment.json")
    parent.weights.unlink()
    assert "weights.safetensors is gone" in refused(tiny, start=start)


def refused_with(tiny, parent: Record, start: str, result: dict | None) -> str:
    path, before = parent.folder / "result.json", parent.result()
    path.unlink() if result is None else path.write_text(json.dumps(result))
    try:
        return refused(tiny, start=start)
    finally:
        path.write_text(json.dumps(before))


@pytest.mark.parametrize("damage", ["other numbers", "half a file"])
def test_damaged_weights_are_refused_before_the_first_step(child, parent, damage):
    settings = child()
    if damage == "other numbers":
        save_file({name: value + 1e-3 for name, value in load_file(parent.weights).items()}, parent.weights)
    else:
        parent.weights.write_bytes(parent.weights.read_bytes()[:100])
    with pytest.raises(UserError, match=f"^start=run:{parent.id}: .*(damaged|cannot be read)"):
        train_run(settings)
    assert not record_of(settings).rows("train")


def test_the_parents_tokenizer_cuts_the_text(child, tiny):
    same = child()
    assert same.data.tokenizer == ""  # its own text is there already, and was cut so
    other = child(data={"domains": ["code", "qa"]})
    ours, theirs = (prepare(one.data, Path(one.where.outputs)).folder / "tokenizer.json" for one in (same, other))
    assert ours.read_bytes() == theirs.read_bytes()
    own = prepare(tiny(data={"domains": ["code", "qa"]}).data, Path(same.where.outputs)).folder / "tokenizer.json"
    assert own.read_bytes() != ours.read_bytes()
    assert refused(tiny, start=same.start, data={"tokenizer": str(own)}).startswith(f"data.tokenizer={own}: must be")


@pytest.fixture
def llama(tmp_path, tiny) -> Path:
    """A small Llama as transformers saves it, with a tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(3)
    shape = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
    more = {"intermediate_size": 80, "vocab_size": 512, "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}}
    LlamaForCausalLM(LlamaConfig(**shape, **more, **rope)).save_pretrained(tmp_path / "llama")
    corpus = prepare(tiny(data={"domains": ["general"]}).data, Path(tiny().where.outputs))
    file = str(corpus.folder / "tokenizer.json")
    PreTrainedTokenizerFast(tokenizer_file=file, eos_token="<|end|>").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


FITS = {
    "size": {"width": 48, "depth": 3, "heads": 4, "kv_heads": 2, "hidden": 80},
    "model": {"norm_eps": 1e-6, "rope_theta": 500_000.0, "tied": False},
}


def test_a_folder_of_transformers_goes_on_with_its_own_loss(llama, tiny):
    settings: Settings = resolved(tiny(start=f"folder:{llama}", **FITS))
    train_run(settings)
    corpus = prepare(settings.data, Path(settings.where.outputs))
    batch = Steps(Order(timeline(settings), training_spans(corpus, settings)), corpus)[0]
    from transformers import AutoModelForCausalLM

    theirs = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
    with torch.no_grad():
        logits = theirs(batch.tokens_BL).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.targets_BL.flatten())
    assert record_of(settings).rows("train")[0]["nats"] == pytest.approx(loss.item(), abs=1e-5)
    assert lineage(record_of(settings))[0].name == f"folder:{llama}"


def test_a_folder_that_does_not_fit_says_what_would(llama, tiny):
    text = refused(tiny, start=f"folder:{llama}")
    assert set(text.partition("it does with ")[2].split()) == {
        *("size.width=48", "size.depth=3", "size.heads=4", "size.kv_heads=2", "size.hidden=80"),
        *("model.norm_eps=1e-06", "model.rope_theta=500000.0", "model.tied=false"),
    }
    assert refused(tiny, start="folder:nowhere").startswith("start=folder:nowhere: must be a folder with config.json")
    other = shutil.copytree(llama, llama.with_name("other"))
    (other / "config.json").write_text('{"model_type": "gpt2"}')
    assert refused(tiny, start=f"folder:{other}").startswith(f"start=folder:{other}: cannot be loaded: model_type=gpt2")
    cut = shutil.copytree(llama, llama.with_name("cut"))
    (cut / "model.safetensors").write_bytes((llama / "model.safetensors").read_bytes()[:500])
    assert refused(tiny, start=f"folder:{cut}").startswith(f"start=folder:{cut}: cannot be loaded: ")
    lacking = shutil.copytree(llama, llama.with_name("lacking"))
    tensors = load_file(lacking / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, lacking / "model.safetensors", {"format": "pt"})
    wanted = "cannot be loaded: missing weights: model.layers.1.mlp.up_proj.weight"
    assert refused(tiny, start=f"folder:{lacking}").endswith(wanted)


@pytest.mark.parametrize("pattern", ["A", "L"])  # latent attention has no heads of keys, and does not mind how many
def test_an_exported_run_is_the_same_parent(tiny, tmp_path, pattern):
    train_run(settings := tiny(tokens=2048, model={"pattern": pattern}))
    export.export(parent := record_of(settings), "hf", tmp_path / "model")
    starts = f"folder:{tmp_path / 'model'}", f"run:{parent.id}"
    ids = {record_of(resolved(tiny(start=start, tokens=4096, model={"pattern": pattern}))).id for start in starts}
    assert len(ids) == 1
