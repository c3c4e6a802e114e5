"""Tasks of lm-eval in process: what its own model makes of the exported folder, request by request and in the end."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from candidates import SPAN, TEXT, candidate, words  # pyrefly: ignore  # beside this file
from transformers import PreTrainedTokenizerFast

from ablate.model import linear
from ablate.model.convert import to_hf
from ablate.run.evaluate import Task
from ablate.run.settings import UserError
from ablate.scores.candidate import Candidate
from ablate.scores.items import read

harness = pytest.importorskip("ablate.scores.harness")
MODELS: dict[str, dict[str, Any]] = {
    "llama": {},
    "normed queries and keys": {"qk_norm": True},
    "latent": {"pattern": "L"},
    "bamba": {"pattern": "MMA"},
    "ternary": {"linear": "ternary"},
}


def hflm(one: Candidate, folder: Path) -> Any:
    """lm-eval's own model of the same weights, as `ablate.export` writes them."""
    from lm_eval.models.huggingface import HFLM

    to_hf(one.language, positions=one.span, end=one.end).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words(), eos_token="<|end|>", model_max_length=one.span, clean_up_tokenization_spaces=False
    )
    tokenizer.save_pretrained(folder)
    return HFLM(str(folder), device="cpu", batch_size=8, dtype="float32")


def instances(kind: Any, arguments: list[tuple]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, pair, i) for i, pair in enumerate(arguments)]


LONG = " ".join(TEXT * 3)
PAIRS = [
    *[("Question: What is the capital of Italy?\nAnswer:", text) for text in (" Rome", " London", " the sea")],
    *[("Question: What is 2 + 2?\nAnswer:", text) for text in (" 4", " 5")],
    ("The house of the king ", "stands"),  # the space goes to the answer
    ("if a =", "= houses == 12"),  # merges across the border
    ("", "The house of the king"),  # after the end token
    ("perché la città", " è così bella?"),
    (LONG, " and the houses of his people"),  # cut at its beginning
    ("The", " house"),
]


SHORT = [(a, f" {b}") for a in ("The", "if", "Roma", "sea") for b in ("house", "king", "people", "sea", "==", "Answer")]
EDGE = 1e-4  # of a step of rounding, as in test_bitnet


@pytest.fixture(autouse=True, scope="module")
def eager():
    """transformers compiles the roundings of a ternary model, which takes longer than all that is tested here."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.fixture(params=MODELS, scope="module")
def both(request, tmp_path_factory):
    one = candidate(**MODELS[request.param])
    return harness.AblateLM(one), hflm(one, tmp_path_factory.mktemp("model"))


def clear(one: Candidate, text: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether no input of a ternary product lies where noise decides to which side it is rounded (test_bitnet)."""
    distances, plain = [1.0], linear.int8

    def watched(x):
        rounded, scale = plain(x)
        distances.append((0.5 - (x / scale - (x / scale).round()).abs()).min().item())
        return rounded, scale

    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(linear, "int8", watched)
        one.language(torch.tensor([one.encode(text)]))
    return min(distances) > EDGE


def test_every_request_has_the_nats_that_hflm_gives_it(both, monkeypatch):
    ours, its = (model.loglikelihood(instances("loglikelihood", PAIRS + SHORT)) for model in both)
    compared = 0
    for pair, mine, theirs in zip(PAIRS + SHORT, ours, its, strict=True):
        if both[0].candidate.language.model.linear == "ternary" and not clear(
            both[0].candidate, "".join(pair), monkeypatch
        ):
            continue
        compared += 1
        assert mine[0] == pytest.approx(theirs[0], abs=1e-4), pair
        assert mine[1] == theirs[1], pair
    assert compared > 5


def test_a_context_that_is_cut_is_counted():
    one = harness.AblateLM(candidate())
    one.loglikelihood(instances("loglikelihood", PAIRS))
    whole = len(one.tok_encode(LONG + PAIRS[-2][1]))
    assert one.cut == {PAIRS[-2]: whole - SPAN - 1}


def test_a_continuation_that_merges_into_its_context_is_scored_from_where_they_part(both):
    """lm-eval's rule leaves it no token, and its own model stops there."""
    pair = ("The hous", "es")
    with pytest.raises(AssertionError):
        both[1].loglikelihood(instances("loglikelihood", [pair]))
    [(nats, _)] = both[0].loglikelihood(instances("loglikelihood", [pair]))
    [(same, _)] = both[0].loglikelihood(instances("loglikelihood", [("The", " houses")]))
    assert nats == pytest.approx(same, abs=1e-5)


def test_an_empty_answer_has_the_probability_of_one():
    assert harness.AblateLM(candidate()).loglikelihood(instances("loglikelihood", [("The", "")])) == [(0.0, True)]


def test_whole_texts_have_the_nats_that_hflm_gives_them(both):
    if both[0].candidate.language.model.linear == "ternary":
        pytest.skip("rounding of inputs tips over somewhere in a long text")
    texts = instances("loglikelihood_rolling", [(LONG,), ("The house",), (TEXT[1],)])
    ours, its = (model.loglikelihood_rolling(texts) for model in both)
    for (text,), mine, theirs in zip([one.args for one in texts], ours, its, strict=True):
        windows = 1 + len(both[0].tok_encode(text)) // SPAN
        assert mine == pytest.approx(theirs, abs=1e-4 * windows)


def test_what_is_generated_is_what_hflm_generates(both):
    settings = {"until": ["\n", "houses"], "max_gen_toks": 12, "do_sample": False}
    contexts = [pair[0] for pair in PAIRS if pair[0] and pair[0] != LONG]
    asked = instances("generate_until", [(text, settings) for text in [*contexts, LONG]])
    ours, its = (model.generate_until(asked) for model in both)
    assert ours == its


@pytest.mark.parametrize("until", [["\n"], [], [""]])
def test_a_text_ends_at_the_end_token_though_no_stop_string_names_it(until):
    one, asked = candidate(tied=False), [("The house", {"until": until, "max_gen_toks": 9})]
    assert harness.AblateLM(one).generate_until(instances("generate_until", asked)) != [""]
    with torch.no_grad():  # after this text the end token is the likeliest
        hidden_BLD = one.language(torch.tensor([one.encode("The house")]))
        one.language.head_weight[one.end] = 100 * hidden_BLD[0, -1]
    assert harness.AblateLM(one).generate_until(instances("generate_until", asked)) == [""]


def test_an_answer_that_leaves_no_room_for_its_context_is_made_shorter(caplog):
    one = harness.AblateLM(candidate())
    settings = {"until": [], "max_gen_toks": 10 * SPAN}
    [text] = one.generate_until(instances("generate_until", [(LONG, settings)]))
    assert text
    assert one.cut[LONG, ""] == len(one.tok_encode(LONG)) - SPAN // 2
    assert f"{10 * SPAN} tokens of an answer were asked for: it gets {SPAN // 2}" in caplog.text


CAPITALS = [("Italy", "Rome"), ("France", "Paris"), ("England", "London"), ("the sea", "the house")]
CHOICE = """
task: capitals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
    train: {data}
test_split: test
fewshot_split: train
output_type: multiple_choice
doc_to_text: "Question: What is the capital of {{{{country}}}}?\\nAnswer:"
doc_to_target: "{{{{gold}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""
WRITTEN = (
    CHOICE.replace("multiple_choice", "generate_until")
    .replace("{{{{gold}}}}", "{{{{capital}}}}")
    .replace(
        """doc_to_choice: "{{{{choices}}}}"
metric_list:
  - metric: acc
  - metric: acc_norm
""",
        """generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 8
metric_list:
  - metric: exact_match
""",
    )
)


@pytest.fixture
def task(tmp_path):
    """The YAML of a task whose documents lie beside it."""

    def write(form: str = CHOICE) -> str:
        names = [capital for _, capital in CAPITALS]
        rows = [
            {"country": country, "capital": capital, "choices": names[i % 3 :], "gold": names[i % 3 :].index(capital)}
            for i, (country, capital) in enumerate(CAPITALS)
            if capital in names[i % 3 :]
        ]
        data = tmp_path / "capitals.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows * 6))
        (tmp_path / "capitals.yaml").write_text(form.format(data=data))
        return str(tmp_path / "capitals.yaml")

    return write


def asked(one: Candidate, folder: Path, name: str = "capitals", **settings: Any) -> Path:
    return harness.ask(one, name, Task(kind="lm_eval", **settings), 40, "ab" * 32, folder)


@pytest.mark.slow
@pytest.mark.parametrize("shots", [0, 2])
def test_a_task_has_the_scores_that_hflm_gets_to_the_last_digit(task, tmp_path, shots):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    one, path, manager = candidate(span=256), task(), TaskManager(include_defaults=False)
    common: dict[str, Any] = {"tasks": [path], "task_manager": manager, "num_fewshot": shots, "bootstrap_iters": 10}
    ours, its = (
        simple_evaluate(model, **common)["results"]["capitals"]
        for model in (harness.AblateLM(one), hflm(one, tmp_path / "model"))
    )
    assert ours == its
    assert {"acc,none", "acc_norm,none"} <= set(ours)
    header, rows = read(asked(one, tmp_path / "scores", path=path, shots=shots))
    right = [min(range(len(row["nats"])), key=row["nats"].__getitem__) == row["gold"] for row in rows]
    assert sum(right) / len(right) == ours["acc,none"]
    assert (header["protocol"], header["items"], header["task"]) == ("lm_eval", len(rows), "capitals")
    assert rows[0]["bytes"] == [len(f" {capital}") for _, capital in CAPITALS]


@pytest.mark.parametrize("form", [CHOICE, WRITTEN])
def test_items_of_a_task_are_looked_for_in_the_training_text(task, tmp_path, form):
    def search(made):
        return [item.key for item in made if "Italy" in item.context and item.choices[item.gold] == " Rome"]

    capitals = Task(kind="lm_eval", path=task(form), items=4)
    for _ in range(2):  # the second time the file is found as it is
        path = harness.ask(candidate(), "capitals", capitals, 40, "ab" * 32, tmp_path / "scores", search=search)
        header, rows = read(path)
        assert header["contaminated"] == ["capitals/0"]
        assert [row["item"] for row in rows][:2] == ["capitals/0", "capitals/1"]


def test_what_a_task_has_the_model_write_becomes_rows_too(task, tmp_path):
    header, rows = read(asked(candidate(), tmp_path / "scores", path=task(WRITTEN)))
    assert {type(row["right"]) for row in rows} == {bool}
    assert all("\n" not in row["text"] for row in rows)
    assert len({row["item"] for row in rows}) == header["items"] == len(rows)


def test_a_metric_of_all_answers_together_says_of_none_whether_it_is_right(task, tmp_path):
    _, rows = read(asked(candidate(), tmp_path / "scores", path=task(WRITTEN.replace("exact_match", "bleu"))))
    assert all("right" not in row and row["text"] is not None for row in rows)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (CHOICE.replace("{{{{gold}}}}", "{{{{country}}}}"), "capitals: document 0: answer 'Italy' is none of"),
        (CHOICE.replace("{{{{gold}}}}", "{{{{gold + 9 * (country != 'Italy')}}}}"), ": answer 9 is none of"),
        (CHOICE.replace("test_split: test", "test_split: nope"), "lm-eval cannot load"),
        (CHOICE.replace("task: capitals", "group: all\ntask: [capitals]"), "must be the YAML of one task"),
        ("task: [", "capitals.yaml: cannot be read"),
    ],
)
def test_a_task_that_cannot_be_meant_is_one_line(task, tmp_path, form, said):
    with pytest.raises(UserError) as caught:
        asked(candidate(), tmp_path / "scores", path=task(form))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_contexts_may_be_the_choices(task, tmp_path):
    """As in winogrande: one text follows each of several contexts, of which one is right."""
    form = CHOICE.replace('"Question: What is the capital of {{{{country}}}}?\\nAnswer:"', '"{{{{gold}}}}"')
    form = form.replace('"{{{{choices}}}}"', '"{{{{choices}}}}"').replace(
        'doc_to_target: "{{{{gold}}}}"', 'doc_to_target: "stands"'
    )
    one = candidate()
    _, rows = read(asked(one, tmp_path / "scores", path=task(form)))
    docs = [json.loads(line) for line in (tmp_path / "capitals.jsonl").read_text().splitlines()]
    assert [row["gold"] for row in rows] == [doc["gold"] for doc in docs]
    [(nats, _)] = harness.AblateLM(one).loglikelihood(instances("loglikelihood", [("London", " stands")]))
    assert rows[0]["nats"][2] == pytest.approx(-nats, abs=1e-5)


@pytest.mark.parametrize("allowed", [False, True])
def test_code_that_a_model_wrote_runs_only_where_that_is_allowed(task, tmp_path, monkeypatch, allowed):
    path = task(CHOICE + "unsafe_code: true\n")
    monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "1" if allowed else "")
    if allowed:
        assert asked(candidate(), tmp_path / "scores", path=path).exists()
    else:
        with pytest.raises(UserError, match="runs code that the model wrote; HF_ALLOW_CODE_EVAL=1 allows that"):
            asked(candidate(), tmp_path / "scores", path=path)


def test_the_same_task_again_asks_nothing_and_other_documents_do(task, tmp_path, monkeypatch):
    one, path = candidate(), task()
    first = asked(one, tmp_path / "scores", path=path, items=3)
    assert read(first)[0]["items"] == 3
    monkeypatch.setattr(harness, "simple_evaluate", None)
    assert asked(one, tmp_path / "scores", path=path, items=3) == first
    data = tmp_path / "capitals.jsonl"
    data.write_text(data.read_text().replace("Italy", "Roma"))
    with pytest.raises(TypeError):
        asked(one, tmp_path / "scores", path=path, items=3)


@pytest.mark.slow
def test_data_of_a_shipped_task_come_from_a_folder_that_is_laid_out_like_the_hub(tmp_path):
    docs = [
        {
            "ind": i,
            "activity_label": "Sea",
            "ctx_a": "The house",
            "ctx_b": "of the king",
            "ctx": "The house of the king",
        }
        | {"endings": ["stands by the sea.", "is 2 + 2."], "label": str(i % 2), "split": "val"}
        for i in range(5)
    ]
    place = tmp_path / "data" / "alexandrainst" / "m_hellaswag" / "it"
    place.mkdir(parents=True)
    (place / "val.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    options = {"data": str(tmp_path / "data")}
    _, rows = read(asked(candidate(), tmp_path / "scores", "hellaswag_it", options=options))
    assert [row["gold"] for row in rows] == [0, 1, 0, 1, 0]
    place.joinpath("val.jsonl").unlink()
    with pytest.raises(UserError, match=r"m_hellaswag/it: has no data; there must be a file for each split"):
        asked(candidate(), tmp_path / "scores", "hellaswag_it", options=options)


@pytest.mark.slow
def test_without_a_network_one_line_says_how_to_bring_the_data(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise ConnectionError("Couldn't reach the hub\nand more")

    monkeypatch.setattr(harness.datasets, "load_dataset", offline)
    with pytest.raises(UserError) as caught:
        asked(candidate(), tmp_path / "scores", "hellaswag_it")
    assert str(caught.value) == (
        "evaluate.tasks.hellaswag_it: its data, alexandrainst/m_hellaswag/it, cannot be read: Couldn't reach the hub. "
        "Without a network: keep them as DIR/alexandrainst/m_hellaswag/it/<split>.jsonl, and set "
        "evaluate.tasks.hellaswag_it.options.data=DIR"
    )
    with pytest.raises(UserError, match=r"tasks\.x: lm-eval has no task 'x'; options\.task names one"):
        asked(candidate(), tmp_path / "scores", "x")


@pytest.mark.slow
def test_without_the_package_one_line_says_what_to_install():
    code = "import sys; sys.modules['lm_eval'] = None; import ablate.scores.harness"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.endswith("UserError: tasks of lm-eval need its package: pip install 'ablate[evaluate]'")


@pytest.mark.slow
def test_nothing_else_loads_lm_eval():
    names = "asked, candidate, items, protocols, requests, sampling"
    code = f"import sys; from ablate.scores import {names}; print('lm_eval' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
