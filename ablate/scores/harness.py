"""Tasks of lm-eval, asked in process: any model of ours as one of its own, whatever transformers knows.

    path = ask(candidate, "hellaswag_it", Task(kind="lm_eval"), step, weights_sha256, record.folder / "scores")

lm-eval makes the prompts and cuts them into tokens by its own rules: a context does not begin with the end token
unless it is empty, and spaces at its end go to the continuation. So its numbers are those of its `HFLM` on the
exported model. Its rows of samples become rows of items, and are read as those of our own tasks.

Data come from the hub, or from a folder of one's own (`options.data`) that is laid out like it:

    <data>/alexandrainst/m_hellaswag/it/val.jsonl         <data>/<dataset>[/<configuration>]/<split>.jsonl
"""

import contextlib
import functools
import importlib.metadata
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from ablate.run.evaluate import Task
from ablate.run.failures import first_line
from ablate.run.settings import UserError
from ablate.scores import answers, items, sampling
from ablate.scores.asked import kept
from ablate.scores.candidate import Candidate
from ablate.scores.items import Item, Row
from ablate.scores.requests import Request, score
from ablate.scores.tasks.lm_eval import Options

try:
    import datasets
    from lm_eval import simple_evaluate
    from lm_eval.api.model import TemplateLM
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ModuleNotFoundError:
    raise UserError("tasks of lm-eval need its package: pip install 'ablate[evaluate]'") from None

PROTOCOL, VERSION = "lm_eval", 1
MOST_TOKENS = 256  # of an answer, where a task does not say: as in HFLM
FORMATS = ("json", "csv", "parquet", "text")  # names of datasets that are files of the user's own
CHOSEN = ("multiple_choice", "loglikelihood")  # kinds of requests that have a continuation
Beat = Callable[[], None]
Search = Callable[[Sequence[Item]], list[str]]  # keys of the items that stand in the training text


class AblateLM(TemplateLM):
    """`cut` notes by how many tokens each context was too long, of those that were."""

    def __init__(self, candidate: Candidate, beat: Beat = lambda: None) -> None:
        super().__init__()
        self.candidate, self.beat = candidate, beat
        self._device = candidate.language.head_weight.device
        self.cut: dict[tuple[str, str], int] = {}

    @property
    def eot_token_id(self) -> int:
        return self.candidate.end

    @property
    def max_length(self) -> int:
        return self.candidate.span

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        return self.candidate.encode(string)

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """By lm-eval's rule, but where merging leaves it no token to score: then from the common beginning on."""
        before, after = super()._encode_pair(context, continuation)
        if after or not continuation:
            return before, after
        request, _ = self.candidate.following(context, continuation)
        return list(request.context[1:]) or [self.eot_token_id], list(request.continuation)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def _loglikelihood_tokens(self, requests: list[Any], **kwargs: Any) -> list[tuple[float, bool]]:
        asked = [Request(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        scored = score(self.candidate.language, asked, longest=self.max_length, beat=self.beat)
        self.cut |= {pair: one.cut for (pair, _, _), one in zip(requests, scored, strict=True) if one.cut}
        return [(-one.nats, one.greedy) for one in scored]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = True) -> list[float]:
        windows = [self._windows(request.args[0]) for request in requests]
        scored = iter(self._loglikelihood_tokens([(("", ""), *pair) for of_text in windows for pair in of_text]))
        return [sum(next(scored)[0] for _ in of_text) for of_text in windows]

    def _windows(self, text: str) -> list[tuple[list[int], list[int]]]:
        """Each token once, after as many as fit before it."""
        found = get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.max_length, context_len=1)
        return [make_disjoint_window(window) for window in found]

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        answers = [""] * len(requests)
        for asked, numbers in _by_settings(requests).items():
            found = self._generated([requests[i].args[0] for i in numbers], json.loads(asked))
            for i, text in zip(numbers, found, strict=True):
                answers[i] = text
        return answers

    def _generated(self, contexts: list[str], settings: dict[str, Any]) -> list[str]:
        """What follows each context, up to the first stop string, the end token, or so many tokens."""
        asked = dict[str, Any](normalize_gen_kwargs(settings, MOST_TOKENS))
        tokens = min(asked["max_gen_toks"], self.max_length // 2)
        if tokens < asked["max_gen_toks"]:
            told = "%s tokens of an answer were asked for: it gets %s, half of what the model reads"
            logging.getLogger("lm_eval").warning(told, asked["max_gen_toks"], tokens)
        prompts = [self.tok_encode(context) or [self.eot_token_id] for context in contexts]
        room = self.max_length - tokens
        self.cut |= {(text, ""): len(p) - room for text, p in zip(contexts, prompts, strict=True) if len(p) > room}
        drawn = {key: asked[key] for key in ("temperature", "top_k", "top_p") if key in asked and asked["do_sample"]}
        found = sampling.generate(
            self.candidate.language,
            [prompt[-room:] for prompt in prompts],
            self.candidate.pieces,
            tokens=tokens,
            stop=[text for text in asked["until"] if text],
            end=self.eot_token_id,
            **drawn,
        )
        return [answer.text for answer in found]


def _by_settings(requests: Sequence[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for i, request in enumerate(requests):
        found.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(i)
    return found


def ask(
    candidate: Candidate,
    name: str,
    task: Task,
    step: int,
    weights_sha256: str,
    folder: Path,
    beat: Beat = lambda: None,
    search: Search = lambda _: [],
) -> Path:
    """The file of a task of lm-eval, as `asked.ask` gives that of another; nothing of it is kept before it is whole."""
    header = header_of(name, task, step, weights_sha256)
    return kept(folder, header, lambda _: _evaluated(candidate, name, task, beat, search))


def header_of(name: str, task: Task, step: int, weights_sha256: str) -> Row:
    """The first row, as far as it is known before lm-eval has read any data."""
    return items.named(
        {
            "task": name,
            "settings": answers.plain(task),
            "protocol": PROTOCOL,
            "step": step,
            "weights_sha256": weights_sha256,
            "versions": {"lm_eval": importlib.metadata.version("lm_eval"), "harness": VERSION},
        }
    )


def _name(name: str, task: Task) -> str:
    """As lm-eval calls it: by its name, or the YAML of one of the user's own."""
    return task.path or Options(**task.options).task or name


def _check(path: str) -> None:
    """Raises UserError for a file that is not the YAML of one task."""
    try:
        found = load_yaml(Path(path), resolve_func=False)
    except Exception as error:  # of a parser, a file system, or a file that it includes
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from None
    if "group" in found or not isinstance(found.get("task"), str):
        raise UserError(f"{path}: must be the YAML of one task, with task: NAME; declare each task of a group")


def _evaluated(candidate: Candidate, name: str, task: Task, beat: Beat, search: Search) -> tuple[Row, list[Row]]:
    """What lm-eval finds, as rows; the digest of what it asked, and which of it stands in the training text."""
    language_model = AblateLM(candidate, beat)
    with _data_from(name, task):
        manager = _manager(shipped=not task.path)
        loaded = _loaded(manager, name, task)
        found = simple_evaluate(
            language_model,
            tasks=loaded["groups"] or [*loaded["tasks"].values()],
            task_manager=manager,
            confirm_run_unsafe_code=True,
            num_fewshot=task.shots,
            limit=task.items,
            bootstrap_iters=0,
            random_seed=task.seed,
            numpy_random_seed=task.seed,
            torch_random_seed=task.seed,
            fewshot_random_seed=task.seed,
        )
    assert found is not None  # there is one process
    pairs = list(_rows(found, loaded["tasks"], language_model.cut))
    made = [item for item, _ in pairs]
    return {"items_digest": items.digest(made), "contaminated": sorted(search(made))}, [row for _, row in pairs]


@functools.cache
def _manager(shipped: bool) -> TaskManager:
    """Of the tasks that lm-eval ships: it takes a quarter of a minute to find them."""
    return TaskManager(include_defaults=shipped)


def _loaded(manager: TaskManager, name: str, task: Task) -> dict[str, Any]:
    """Its tasks by name, and groups. Raises UserError for what lm-eval does not have, cannot read or may not ask."""
    called = _name(name, task)
    if task.path:
        _check(task.path)
    try:
        loaded = manager.load([called])
    except UserError:
        raise
    except Exception as error:  # of a file that is the user's, or of a task's own code
        if isinstance(error, KeyError) and not task.path:
            raise UserError(f"evaluate.tasks.{name}: lm-eval has no task {called!r}; options.task names one") from None
        raise UserError(f"evaluate.tasks.{name}: lm-eval cannot load {called}: {first_line(error)}") from None
    unsafe = any(getattr(one, "UNSAFE_CODE", False) for one in loaded["tasks"].values())
    if unsafe and os.environ.get("HF_ALLOW_CODE_EVAL") != "1":
        raise UserError(f"evaluate.tasks.{name}: runs code that the model wrote; HF_ALLOW_CODE_EVAL=1 allows that")
    return {"tasks": loaded["tasks"], "groups": [*loaded.get("groups", {}).values()]}


@contextlib.contextmanager
def _data_from(name: str, task: Task) -> Iterator[None]:
    """Datasets as lm-eval loads them: from a folder that is laid out like the hub, if one is given."""
    from_hub, folder, task_name = datasets.load_dataset, Options(**task.options).data, name

    def load(path: str, name: str | None = None, **more: Any) -> Any:
        if folder and path not in FORMATS:
            return from_hub(**_local(Path(folder, path, name or "")))
        try:
            return from_hub(path, name, **more)
        except Exception as error:  # of a client for HTTP, a file system, a parser: each has its own
            where = f"{path}/{name}" if name else path
            raise UserError(
                f"evaluate.tasks.{task_name}: its data, {where}, cannot be read: {first_line(error)}. Without a"
                f" network: keep them as DIR/{where}/<split>.jsonl, and set evaluate.tasks.{task_name}.options.data=DIR"
            ) from None

    with mock.patch.object(datasets, "load_dataset", load):
        yield


def _local(folder: Path) -> dict[str, Any]:
    """Arguments of `load_dataset` for the files of a folder, each a split. Raises UserError where there are none."""
    found = {kind: sorted(folder.glob(f"*.{kind}")) for kind in ("jsonl", "json", "parquet", "csv")}
    for kind, paths in found.items():
        if paths:
            return {"path": kind.removesuffix("l"), "data_files": {path.stem: str(path) for path in paths}}
    raise UserError(f"{folder}: has no data; there must be a file for each split: <split>.jsonl, .parquet or .csv")


def _rows(found: dict[str, Any], tasks: dict[str, Any], cut: dict[tuple[str, str], int]) -> Iterator[tuple[Item, Row]]:
    """An item and a row for each document, of the first filter if there are several."""
    for name, samples in found["samples"].items():
        filters = {sample["filter"]: None for sample in samples}
        for sample in samples:
            if sample["filter"] == next(iter(filters)):
                yield _row(f"{name}/{sample['doc_id']}", tasks[name], sample, cut)


def _row(key: str, task: Any, sample: dict[str, Any], cut: dict[tuple[str, str], int]) -> tuple[Item, Row]:
    kind, asked = task.OUTPUT_TYPE, [tuple(arguments) for arguments in sample["arguments"]]
    if "acc_mutual_info" in sample["metrics"]:  # then each choice comes once more, without its context
        asked = asked[: len(asked) // 2]
    texts = [pair[1] if kind in CHOSEN else pair[0] for pair in asked]
    gold = _gold(task, sample, texts) if kind == "multiple_choice" else [0]
    row: Row = {"item": key, "source": key, "gold": gold[0]}
    if kind == "generate_until":
        row |= {"text": str(sample["filtered_resps"][0])} | _right(sample[sample["metrics"][0]])
    else:
        answers = [answers[0] for answers in sample["resps"][: len(asked)]]
        row |= {"nats": [-(answer[0] if kind in CHOSEN else answer) for answer in answers]}
        row |= {"bytes": [len(text.encode()) for text in texts]}
    if kind == "loglikelihood":
        row |= {"right": bool(sample["resps"][0][0][1])}
    if len(gold) > 1:  # any of these will do, which the least nats cannot say
        row |= {"right": float(sample["acc"]) > 0.5}
    cuts = [cut.get((pair[0], pair[1] if kind in CHOSEN else ""), 0) for pair in asked]
    shared = kind in CHOSEN and len({pair[0] for pair in asked}) == 1  # one context before all choices
    context, choices = (asked[0][0], texts) if shared else ("", ["".join(map(str, pair[:2])) for pair in asked])
    if kind == "generate_until":
        context, choices = asked[0][0], [f" {sample['target']}"]
    item = Item(key, key, context, tuple(choices), gold[0])
    return item, row | ({"cut": max(cuts)} if any(cuts) else {})


def _gold(task: Any, sample: dict[str, Any], texts: Sequence[str]) -> list[int]:
    """Numbers of the right choices, of which a task may tell the text."""
    among_contexts = getattr(task, "multiple_input", 0)  # then one text follows them all
    told = task.doc_to_text(sample["doc"]) if among_contexts else sample["target"]
    stripped = [text.strip() for text in texts]
    each = told if isinstance(told, list) else [told]
    several = [one.strip() if isinstance(one, str) else int(one) for one in each]
    for one in several:
        if one not in (stripped if isinstance(one, str) else range(len(texts))):
            raise UserError(f"{task.task_name}: document {sample['doc_id']}: answer {one!r} is none of {stripped}")
    return [stripped.index(one) if isinstance(one, str) else one for one in several]


def _right(found: Any) -> Row:
    """By the first metric of a task, where that judges an answer by itself: BLEU judges them all together."""
    return {} if isinstance(found, list | tuple) else {"right": float(found) > 0.5}
