"""A student learns from a teacher's predictions: the teacher is known by its weights, paid for and never trained."""

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from runs import SEVERAL, check_grown, check_processes, check_resumed, interrupt, record_of, train_run
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ablate import export
from ablate.data.batches import Batch, Steps, training_spans
from ablate.data.tokens import prepare
from ablate.data.windows import IGNORED
from ablate.fit import checkpoint, teachers
from ablate.model import budget, match
from ablate.model.language import build
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run import lookup
from ablate.run.record import Record
from ablate.run.settings import Settings, SettingsError, UserError
from ablate.scores.divergence import plain_divergence
from ablate.sweep.preview_run import preview_run
from ablate.sweep.worker import alone, looked_up

GET_ITEM = Steps.__getitem__
TEACHER: dict[str, Any] = {"tokens": 4096, "size": {"width": 48, "depth": 3, "heads": 3}, "seed": 7}


@pytest.fixture
def teacher(tiny) -> Record:
    """Wider and deeper than its students."""
    train_run(settings := tiny(**TEACHER))
    return record_of(settings)


@pytest.fixture
def student(tiny, teacher):
    """student({"kind": "reverse"}, seed=1): settings of a run that learns from the teacher, looked up."""

    def make(asked: dict[str, Any] | None = None, **changes: Any) -> Settings:
        asked = {"teacher": f"run:{teacher.id}"} | (asked or {})
        return looked_up(tiny(**{"objective": "distill", "distill": asked, "tokens": 4096} | changes))

    return make


def masked(self: Steps, index: int) -> Batch:
    """The batch with few targets left, the more the later a row stands in the step: no two parts count alike."""
    batch = GET_ITEM(self, index)
    targets_BL = batch.targets_BL.clone()
    for row, number in zip(targets_BL, range(self.rank, self.world * len(targets_BL), self.world), strict=True):
        row[: -1 - number] = IGNORED
    return batch._replace(targets_BL=targets_BL)


def first_step(settings: Settings, teacher: Record) -> tuple[float, float]:
    """The mean divergence of the first step's targets, of all logits at once, and the norm of its gradient."""
    batch = Steps(Order(timeline(settings), training_spans(corpus := text(settings), settings)), corpus)[0]
    theirs = teacher.settings()
    its = build(theirs.model, match.sized(theirs), theirs.data.vocabulary, theirs.seed)
    its.load_state_dict(load_file(teacher.weights))
    model = build(settings.model, settings.size, settings.data.vocabulary, settings.seed)
    logits, taught = (one.logits(batch.tokens_BL).flatten(0, 1) for one in (model, its))
    loss_N = plain_divergence(logits, taught.detach(), batch.targets_BL.flatten(), settings.distill)
    mean = loss_N.sum() / (batch.targets_BL != IGNORED).sum()
    gradients = torch.autograd.grad(mean, list(model.parameters()))
    return float(mean), float(torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients])))


def text(settings: Settings):
    return prepare(settings.data, Path(settings.where.outputs))


@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize(
    "asked", [{"temperature": 2.0}, {"kind": "jensen_shannon", "top_k": 8, "share": 0.25}], ids=str
)
def test_a_step_is_the_mean_over_counted_targets(student, teacher, monkeypatch, unprobed, asked, parts):
    """20 rows of 32 tokens, at once or in parts; few of their targets count."""
    monkeypatch.setattr(Steps, "__getitem__", masked)
    settings = student(asked, step_tokens=640, tokens=1280, where={"micro_tokens": 640 // parts})
    train_run(settings)
    row, (mean, norm) = record_of(settings).rows("train")[0], first_step(settings, teacher)
    assert row["divergence"] == pytest.approx(mean, rel=1e-5)
    assert row["grad_norm"] == pytest.approx(norm, rel=1e-4)


def test_a_student_comes_closer_to_its_teacher(student, teacher):
    train_run(settings := student(tokens=20_480))
    rows = record_of(settings).rows("train")
    assert rows[-1]["divergence"] < 0.5 * rows[0]["divergence"]
    assert rows[-1]["nats"] < rows[0]["nats"]
    assert not any("divergence" in row for row in teacher.rows("train"))


def test_who_begins_as_its_teacher_stays_as_it_is(tiny, teacher):
    """The same weights, and so no gradient but that of rounding."""
    name = f"run:{teacher.id}"
    asked = {"start": name, "objective": "distill", "distill": {"teacher": name}, "tokens": 1024}
    settings = looked_up(tiny(**TEACHER | asked))
    train_run(settings)
    row = record_of(settings).rows("train")[0]
    assert abs(row["divergence"]) < 1e-6
    assert row["grad_norm"] < 1e-5


@pytest.mark.parametrize("pattern", ["M", "MA"])
def test_a_teacher_may_have_any_architecture(tiny, student, pattern):
    train_run(hybrid := tiny(**TEACHER, model={"pattern": pattern}))
    settings = student({"teacher": f"run:{record_of(hybrid).id}"}, tokens=1024)
    assert train_run(settings)["outcome"] == "finished"
    row, (mean, _) = record_of(settings).rows("train")[0], first_step(settings, record_of(hybrid))
    assert row["divergence"] == pytest.approx(mean, rel=1e-5)


def test_its_forward_pass_is_paid_for(student, teacher, tiny):
    """In the record, in the plan, and in the budget: tokens x (3 x forward of the student + forward of the teacher)."""
    train_run(settings := student())
    line = timeline(settings)
    own, its = (budget.of(one).forward_flops for one in (tiny(), teacher.settings()))
    expected = sum(
        int(row["rows"] * row["length"]) * (3 * own[int(row["length"])] + its[int(row["length"])]) for row in line.table
    )
    record = record_of(settings)
    assert (record.result() or {})["flops"] == expected == record.rows("evaluation")[-1]["flops"]
    preview_run(settings, Console(file=(said := io.StringIO()), width=200))
    assert f"{expected:.2e} FLOPs" in said.getvalue()
    assert f"teacher   run:{teacher.id}" in said.getvalue()
    assert budget.of(settings).memory.teacher == 4 * budget.of(teacher.settings()).parameters
    assert budget.of(tiny()).memory.teacher == 0


def test_the_teacher_is_in_no_checkpoint_and_does_not_change(student, teacher):
    before = teacher.weights.read_bytes()
    left = interrupt(settings := student(where={"saves": 4}), 5)
    sizes = []
    for file in left.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            sizes += [tensors.get_tensor(name).shape for name in tensors.keys()]  # noqa: SIM118
    assert sizes
    assert not any(48 in shape for shape in sizes)
    train_run(settings)
    assert teacher.weights.read_bytes() == before


def test_interrupted_it_ends_with_the_same_weights(student, teacher, tmp_path, unprobed):
    check_resumed(student(where={"saves": 4}), tmp_path / "again", teacher)


@pytest.mark.slow
def test_students_of_one_teacher_grow_from_one_trunk(student, teacher, tmp_path):
    """Bit for bit as if each were trained alone."""
    last = {"stages": {"end": {"start": 0.8, "weights": {"code": 1}}}}
    _, step = check_grown(student(), student(mixture=last), tmp_path, teacher)
    assert step == round(0.8 * student().steps)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", SEVERAL)
def test_several_processes_take_the_same_steps(student, teacher, tmp_path, strategy):
    check_processes(student(), strategy, tmp_path / "several", teacher)


def test_in_bf16_the_teacher_is_too(student):
    one, other = (student(tokens=1024, precision=precision) for precision in ("fp32", "bf16-mixed"))
    train_run(one)
    train_run(other)
    exact, rough = (record_of(settings).rows("train")[0]["divergence"] for settings in (one, other))
    assert exact != rough
    assert rough == pytest.approx(exact, rel=0.02)


def test_a_teacher_is_known_by_its_weights_and_so_are_trunks(student, teacher):
    settings = student()
    shutil.copytree(teacher.folder, copy := teacher.folder.with_name("copy"))
    same = student({"teacher": "run:copy"})
    assert record_of(same).id == record_of(settings).id
    assert timeline(same).key(3, "text") == timeline(settings).key(3, "text")
    weights = {name: value + 1 for name, value in load_file(copy / "weights.safetensors").items()}
    save_file(weights, copy / "weights.safetensors")
    result = (edited := Record(copy)).result() or {}
    edited.finish(result | {"weights_sha256": checkpoint.sha256(weights)})
    other = student({"teacher": "run:copy"})
    assert record_of(other).id != record_of(settings).id
    assert timeline(other).key(3, "text") != timeline(settings).key(3, "text")
    assert timeline(student({"top_k": 8})).key(3, "text") != timeline(settings).key(3, "text")


def test_it_is_looked_up_once_a_process(student, monkeypatch):
    settings = student(tokens=1024)
    calls = []
    weights = teachers.parents.weights
    monkeypatch.setattr(teachers.parents, "weights", lambda *args: calls.append(args) or weights(*args))
    train_run(settings)
    assert len(calls) == 1
    model = teachers.loaded(settings, torch.device("cpu"))
    assert len(calls) == 1
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_run_that_taught_is_missed(student, teacher):
    train_run(settings := student(tokens=1024))
    assert lookup.needs(teacher) == [f"run {record_of(settings).id}"]


def test_a_folder_of_transformers_teaches_and_its_tokenizer_cuts_the_text(tiny, tmp_path):
    train_run(settings := tiny(**TEACHER))
    export.export(record := record_of(settings), "hf", tmp_path / "model")
    asked = {"objective": "distill", "distill": {"teacher": f"folder:{tmp_path / 'model'}"}, "tokens": 1024}
    other = looked_up(tiny(**asked, data={"domains": ["code", "qa"]}))
    theirs = (tmp_path / "model" / "tokenizer.json").read_bytes()
    assert (text(other).folder / "tokenizer.json").read_bytes() == theirs
    one, two = (looked_up(tiny(**asked | more)) for more in ({}, {"distill": {"teacher": f"run:{record.id}"}}))
    train_run(one)
    train_run(two)
    ours, its = (record_of(settings).rows("train")[0]["divergence"] for settings in (one, two))
    assert ours == pytest.approx(its, rel=1e-5)


def refused(tiny, asked: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(UserError) as error:
        looked_up(tiny(**{"objective": "distill", "distill": asked} | changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_teacher_that_cannot_be_one(tiny, teacher, tmp_path):
    asked = {"teacher": f"run:{teacher.id}"}
    setting = f"distill.teacher=run:{teacher.id}"
    assert refused(tiny, {"teacher": "run:nobody"}).startswith("distill.teacher=run:nobody: no such run in")
    assert refused(tiny, {"teacher": "nobody"}).startswith("distill.teacher=nobody: must be none, run:<id")
    assert refused(tiny, {"teacher": f"folder:{tmp_path}"}).startswith(f"distill.teacher=folder:{tmp_path}: must be a")
    vocabulary = refused(tiny, asked, data={"vocabulary": 600})
    assert vocabulary == f"{setting}: knows 512 tokens, a student the same: data.vocabulary=600"
    domains = {"domains": ["code", "qa"]}
    train_run(other := tiny(tokens=1024, data=domains))
    own = text(other).folder / "tokenizer.json"
    assert refused(tiny, asked, data={"tokenizer": str(own)}).startswith(f"data.tokenizer={own}: must be empty or ")
    start = f"run:{record_of(other).id}"
    found = refused(tiny, asked, start=start, data=domains)
    assert found.startswith(f"{setting}: has another tokenizer than start={start}")
    (result := teacher.folder / "result.json").rename(teacher.folder / "kept")
    assert refused(tiny, asked).startswith(f"{setting}: is not finished")
    (teacher.folder / "kept").rename(result)
    assert refused(tiny, asked | {"teacher": f"run:{teacher.id}@{64 * '0'}"}).startswith("distill.teacher=run:")


def test_damaged_weights_are_refused_before_the_first_step(student, teacher):
    settings = student()
    save_file({name: value + 1e-3 for name, value in load_file(teacher.weights).items()}, teacher.weights)
    with pytest.raises(UserError, match=f"^distill.teacher=run:{teacher.id}: damaged or changed"):
        train_run(settings)
    assert not record_of(settings).rows("train")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"distill": {"teacher": "run:t"}}, "distill.teacher=run:t: must be left out with objective=next_token"),
        ({"distill": {"kind": "reverse"}}, "distill.kind=reverse: must be left out with objective=next_token"),
        ({"objective": "answers", "distill": {"share": 0.5}}, "distill.share=0.5: must be left out with"),
        ({"objective": "distill"}, "distill.teacher=none: must be run:<id of a finished run>, folder:"),
        ({"distill": {"beta": 0.1}}, "distill.beta=0.1: must be left out with distill.kind=forward"),
        ({"distill": {"kind": "reverse", "top_k": 4}}, "distill.top_k=4: must be 0 with distill.kind=reverse"),
        ({"distill": {"top_k": 512}}, "distill.top_k=512: must be below data.vocabulary=512"),
        ({"distill": {"temperature": 0}}, "distill.temperature=0: must be"),
        ({"distill": {"share": 1}}, "distill.share=1: must be"),
        ({"distill": {"kind": "jensen_shannon", "beta": 1}}, "distill.beta=1: must be"),
    ],
)
def test_what_does_nothing_or_cannot_be_is_refused(tiny, changes, words):
    asked = changes.get("distill", {})
    if "objective" not in changes and not ({"teacher"} & set(asked) or asked == {"kind": "reverse"}):
        changes = {"objective": "distill", "distill": {"teacher": "run:t"} | asked}
    with pytest.raises(SettingsError) as error:
        alone(tiny(**changes))
    assert str(error.value).startswith(words)
    assert "\n" not in str(error.value)
