"""Training on pairs: whole runs that begin where others ended, go on after a kill, and tell what they think of it."""

import dataclasses
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from data.small import write_jsonl
from rich.console import Console
from runs import interrupt, record_of, train_run
from safetensors.torch import load_file

from ablate import export, generate
from ablate.data.batches import validation_rows
from ablate.data.tokens import prepared
from ablate.data.windows import IGNORED
from ablate.fit import best, parents, reference, saved
from ablate.fit.module import Pretraining
from ablate.fit.parents import resolved
from ablate.interchange import hf
from ablate.model import budget
from ablate.model.language import VALUE
from ablate.page.drawing import run_curves
from ablate.plan.timeline import timeline
from ablate.run import checks
from ablate.run.settings import Length, Settings, UserError
from ablate.scores.metrics import PAIRED, metric_of, scope_of
from ablate.sweep.preview_run import preview_run
from ablate.verdict.evidence import Run
from ablate.verdict.validity import scores

SPAN, ROWS = 96, 8


def rows(number: int) -> list[dict[str, str]]:
    return [
        {"prompt": f"What is {i} plus {i + 1}?", "chosen": f"It is {2 * i + 1}.", "rejected": f"I would say {i}, {i}."}
        for i in range(number)
    ]


@pytest.fixture
def chain(tiny, tmp_path):
    """chain(objective="reward"): settings of a phase on pairs after a phase of answers to the same prompts."""
    write_jsonl(tmp_path / "text" / "sums" / "rows.jsonl", rows(300))
    data = {"source": "folder", "root": str(tmp_path / "text"), "domains": ["sums"], "focus": "sums", "span": SPAN}
    common: dict[str, Any] = {"mixture": {"weights": {}}, "tokens": SPAN * 40, "step_tokens": SPAN * 4}
    common |= {"length": {"lengths": [SPAN], "starts": [0]}, "evaluation": {"times": 2, "spans": 4}}
    asked = {"data": data | {"columns": {"response": "chosen"}, "validation": 0.1}, "objective": "answers"}
    first = tiny(**common | asked)
    train_run(first)

    def make(**changes: Any) -> Settings:
        of_pairs = {"data": data | {"pairs": True, "validation": 0.1}, "objective": "preference"}
        of_pairs |= {"evaluation": {"times": 2, "spans": ROWS}}
        return resolved(tiny(**common | of_pairs | {"start": f"run:{record_of(first).id}"} | changes))

    return make


def naive(settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of the held-out responses, at the end of a run and at its start: each (pairs, 2), one text at a time."""
    record = record_of(settings)
    corpus = prepared(record.folder.parents[1], record.fingerprint)
    halves = validation_rows(corpus, settings).halves()
    parent = record.folder.parent / settings.start.removeprefix("run:").partition("@")[0]
    found = []
    for model in (saved.load(record), saved.load(type(record)(parent))):
        log_p = [
            -F.cross_entropy(model.logits(tokens[None])[0].double(), targets, ignore_index=IGNORED, reduction="sum")
            for tokens, targets in zip(halves.tokens_BL, halves.targets_BL, strict=True)
        ]
        found.append(torch.stack(log_p).detach().view(-1, 2))
    return found[0], found[1]


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "simpo", "chosen"])
def test_the_record_tells_what_is_hidden(chain, kind):
    """log p of both responses, now and at the start, from which every metric is read: alike, whatever the loss."""
    settings = chain(preference={"kind": kind})
    result, scope = train_run(settings), scope_of(settings)
    now, start = naive(settings)
    sums = result["pairs"]["sums"]
    assert sums["pairs"] == ROWS
    for what, wanted in {"": now, "_start": start}.items():
        both = [sums[f"{which}{what}"] for which in ("chosen", "rejected")]
        assert both == pytest.approx(wanted.sum(0).tolist(), rel=1e-5)
    gain = now - start
    read = {metric.name: metric.value(result, scope) for metric in PAIRED}
    assert read["preference:acc"] == float((gain[:, 0] > gain[:, 1]).double().mean())
    assert read["preference:likelier"] == float((now[:, 0] > now[:, 1]).double().mean())
    assert read["preference:rise"] == pytest.approx(float(gain[:, 0].mean()), rel=1e-4)
    assert read["preference:distance"] == pytest.approx(-float(gain.mean()), rel=1e-4)
    assert sums["chosen_tokens"] < sums["rejected_tokens"]
    assert read["preference:longer"] == (sums["chosen_tokens"] - sums["rejected_tokens"]) / ROWS
    assert metric_of("preference:acc", ["sums"]).better == "higher"


def test_the_first_loss_is_ln_2_and_a_pair_is_what_counts(chain):
    train_run(settings := chain())
    first, *_ = record_of(settings).rows("train")
    assert first["nats"] == pytest.approx(0.693147, abs=1e-6)
    assert first["counted_pairs"] == {"sums": 4}
    assert first["domain_tokens"] == {"sums": 4 * SPAN}
    curves = run_curves.draw({"run": record_of(settings)}, metric_of("macro", ["sums"]), scope_of(settings))
    assert curves.axes[1].get_title("left") == "training loss, of a pair"


def test_the_plan_says_what_the_start_costs(chain):
    preview_run(chain(), Console(file=(told := io.StringIO()), width=200))
    assert "the start reads every pair once before the first step: " in told.getvalue()


def test_saved_weights_score_what_the_run_reported(chain):
    for settings in (chain(), chain(objective="reward")):
        result, record = train_run(settings), record_of(settings)
        saved.rescore([record])
        assert record.rescored()["pairs"]["sums"] == pytest.approx(result["pairs"]["sums"])
        assert scores._wrong(Run("arm", 0, record, "finished", None, result)) == ""


KINDS = {
    "sigmoid": {},
    "ipo": {"preference": {"kind": "ipo"}},
    "simpo": {"preference": {"kind": "simpo", "beta": 2.0}},
    "chosen": {"preference": {"kind": "chosen"}},
    "reward": {"objective": "reward"},
    "reward from nothing": {"objective": "reward", "start": "none"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_with_the_same_weights(chain, kind):
    whole = train_run(chain(**KINDS[kind], where={"saves": 5}))
    settings = chain(**KINDS[kind], where={"saves": 5})
    shutil.rmtree(record_of(settings).folder)
    assert interrupt(settings, at=7)
    again = train_run(settings)
    assert again["weights_sha256"] == whole["weights_sha256"]
    assert again["pairs"] == whole["pairs"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sigmoid", "reward"])
def test_micro_batches_and_processes_change_nothing_but_rounding(chain, kind):
    wheres = [{}, {"micro_tokens": SPAN}, {"devices": 2, "strategy": "ddp", "device": "cpu"}]
    found = []
    for number, where in enumerate(wheres):
        settings = chain(**KINDS[kind], where=where)
        found.append((train_run(settings), record_of(settings).rows("train")))
        record_of(settings).folder.rename(record_of(settings).folder.with_name(f"moved{number}"))
    (alone, losses), *others = found
    for result, theirs in others:
        assert [row["nats"] for row in theirs] == pytest.approx([row["nats"] for row in losses], abs=1e-4)
        assert result["pairs"]["sums"] == pytest.approx(alone["pairs"]["sums"], rel=1e-3)


def test_the_start_is_asked_once(chain, monkeypatch):
    first = train_run(chain())
    monkeypatch.setattr(reference, "_read", None)
    second = train_run(chain(seed=1, preference={"kind": "ipo"}))
    assert second["reference"] == first["reference"]
    assert first["reference"]["pairs"] == 300
    assert first["reference"]["flops"] > 0


def test_a_start_that_is_asked_in_two_tries_says_the_same(chain, monkeypatch):
    monkeypatch.setattr(reference, "PART", 64)
    whole, left, read = train_run(chain()), 3, reference._read
    [folder] = (Path(chain().where.outputs) / reference.FOLDER).glob("*/")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()

    def few(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return read(*arguments)

    monkeypatch.setattr(reference, "_read", few)
    with pytest.raises(KeyboardInterrupt):
        train_run(chain(seed=1))
    assert len(list(folder.iterdir())) == 3
    left = 100
    train_run(chain(seed=1))
    assert left == 100 - (len(before) - 3)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert whole["outcome"] == "finished"


def other(path: Path) -> bytes:
    """Numbers that could be true, written as numpy writes them."""
    buffer = io.BytesIO()
    np.save(buffer, np.load(path)[::-1])
    return buffer.getvalue()


DAMAGE: dict[str, Callable[[Path], bytes]] = {
    "cut": lambda path: path.read_bytes()[:-40],
    "empty": lambda path: b"",
    "one bit": lambda path: path.read_bytes().replace(b"\x40", b"\x41"),
    "of another program": other,
    "of another text": lambda path: next(one for one in path.parent.iterdir() if one.name != path.name).read_bytes(),
}


def test_what_is_damaged_of_the_start_is_not_believed(chain, monkeypatch):
    train_run(settings := chain())
    record, model = record_of(settings), Pretraining(settings, timeline(settings), torch.zeros(512)).model
    parents.load(model, settings)
    corpus = prepared(record.folder.parents[1], record.fingerprint)
    [folder] = (Path(settings.where.outputs) / reference.FOLDER).glob("*/")
    shutil.copytree(folder, folder.with_name("other"))
    known = [(path, path.read_bytes()) for path in sorted(folder.iterdir())]
    with monkeypatch.context() as patch:  # files of another start
        patch.setattr(reference, "key_of", lambda *of: "other")
        with pytest.raises(UserError, match=r"npy: what the start thought of pairs is missing or damaged$"):
            reference.kept(settings, corpus)
    saved.rescore([record])
    assert "pairs" in record.rescored()
    for name, damaged in DAMAGE.items():
        for path, content in known:
            path.write_bytes(damaged(path))
            with pytest.raises(UserError, match=r"missing or damaged$"):
                reference.kept(settings, corpus)
            reference.of(model, settings, corpus, torch.device("cpu"))
            assert path.read_bytes() == content, name


def test_the_head_of_a_reward_is_of_the_runs_weights(chain, tmp_path):
    settings = chain(objective="reward")
    result, record = train_run(settings), record_of(settings)
    assert load_file(record.weights)[VALUE].shape == (1, settings.size.width)
    assert saved.load(record).value is not None
    assert result["pairs"]["sums"]["right"] == ROWS  # length alone tells
    assert "chosen_start" not in result["pairs"]["sums"]
    for form, name, key in (("hf", hf.REWARD, "score.weight"), ("safetensors", "model.safetensors", VALUE)):
        export.export(record, form, tmp_path / form)
        assert (load_file(tmp_path / form / name)[key] == load_file(record.weights)[VALUE]).all()


def test_a_phase_after_a_reward_keeps_the_head_only_for_rewards(chain, monkeypatch):
    monkeypatch.setattr(checks, "LEAST_RATE", 0.0)  # of a run that stands still
    train_run(first := chain(objective="reward"))
    after = f"run:{record_of(first).id}"
    still = {"start": after, "optimizer": {"lr": 0.0, "weight_decay": 0.0}}
    for settings, kept in ((chain(objective="reward", **still), True), (chain(**still), False)):
        train_run(settings)
        weights, before = (load_file(record_of(one).weights) for one in (settings, first))
        assert (VALUE in weights) is kept
        assert all((weights[name] == before[name]).all() for name in weights)


def test_the_best_of_several_texts_comes_first(chain, capsys):
    train_run(settings := chain(objective="reward"))
    record = record_of(settings)
    parent = settings.start.removeprefix("run:").partition("@")[0]
    judge, tokenizer = saved.load(record), prepared(record.folder.parents[1], record.fingerprint).tokenizer()
    worse, better = "I would say 7, 7.", "It is 15."
    assert best.ranked(judge, tokenizer, "What is 7 plus 8?\n", [worse, better, worse]) == [better, worse, worse]
    asked = [parent, "What is 1 plus 2?\n", "--tokens", "8", "--outputs", str(record.folder.parents[1])]
    generate.main([*asked, "--number", "3"])
    plain = capsys.readouterr().out.removesuffix("\n").split("\n---\n")
    generate.main([*asked, "--number", "3", "--best", record.id])
    ranked = capsys.readouterr().out.removesuffix("\n").split("\n---\n")
    assert ranked == best.ranked(judge, tokenizer, "What is 1 plus 2?\n", plain)
    for wrong in (["--number", "3", "--best", parent], ["--best", record.id]):
        with pytest.raises((UserError, SystemExit)):
            generate.main([*asked, *wrong])
    assert capsys.readouterr().err.count("--best") == 2


def test_the_flops_of_a_pair_are_those_of_two_texts(chain):
    settings = chain()
    half = settings.data.span // 2
    data = dataclasses.replace(settings.data, pairs=False, span=half)
    texts = dataclasses.replace(settings, data=data, length=Length(lengths=[half]))
    assert budget.of(settings).training_flops[2 * half] == budget.of(texts).training_flops[half]


def test_sums_over_pairs_that_were_edited_are_found(chain):
    result, record = train_run(settings := chain()), record_of(settings)
    saved.rescore([record])
    told = {what: value + (what == "right") for what, value in result["pairs"]["sums"].items()}
    edited = result | {"pairs": {"sums": told}}
    assert "sums of pairs right is reported as" in scores._wrong(Run("arm", 0, record, "finished", None, edited))


def test_a_run_that_stands_still_has_half_of_the_pairs_right(chain, monkeypatch):
    monkeypatch.setattr(checks, "LEAST_RATE", 0.0)
    result = train_run(settings := chain(optimizer={"lr": 0.0, "weight_decay": 0.0}))
    assert result["pairs"]["sums"]["right"] == ROWS / 2
    assert metric_of("preference:distance", ["sums"]).value(result, scope_of(settings)) == pytest.approx(0, abs=1e-4)
