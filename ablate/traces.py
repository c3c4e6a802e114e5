"""Command: worked answers of a teacher to questions whose answers are known, checked."""

import argparse
import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.corpus import samples
from ablate.corpus.samples import Judged, Sample
from ablate.data import prompts
from ablate.data.prompts import Prompt
from ablate.data.questions import ALONE
from ablate.run import files
from ablate.run.progress import Progress
from ablate.run.settings import SettingsError, UserError

WHAT = "Let a teacher write worked answers to questions, and keep those whose answer and arithmetic are right."
EXAMPLES = """\
  ablate traces --teacher questions --prompts questions --number 2000
      steps and answers without a model
  ablate traces --teacher 48d1b140 --prompts questions --samples 8 --all
  ablate traces --teacher models/SmolLM2 --prompts math.jsonl --out t.jsonl
  ablate traces --teacher http://localhost:8000/v1 --model Qwen3 \\
      --prompts math.jsonl --budget 500
  ablate traces --teacher given --prompts math.jsonl
      the traces that stand in the file

What was written is kept: the same command again asks nothing twice, and one
that was killed goes on."""

QUESTIONS, GIVEN = "questions", "given"  # teachers that are no models
GENERATED = {QUESTIONS: "", **{kind: kind for kind in ALONE}}  # prompts, and of what kind
MOST = 10**6  # prompts, and samples of each
ASKED_AT_ONCE = 32  # prompts, of an endpoint
FLAGS = {"prepare.url": "--teacher", "prepare.key": "--key", "corpus.teacher.model": "--model"}  # by their keys
TASK = (
    "Solve the problem. First write the steps after 'Steps:', in short sentences that each show their arithmetic as in "
    "'3 * 4 = 12.'. Then write nothing but the answer on a last line after 'Answer:'."
)


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    _check(options)
    asked = _prompts(options)
    judge = _judge(options) if options.best else None
    teacher, found = _answered(options, asked)
    out = Path(options.out or Path(options.outputs) / "traces" / f"{_name(options, teacher)}.jsonl")
    kept = judge(found) if judge else found
    rows = [one.row(teacher, options.seed) for one in kept if options.all or not one.why]
    _write(out, rows)
    if options.pairs:
        _write(Path(options.pairs), list(samples.pairs(found, teacher)))
    _show(found, len(asked))
    if judge and kept:
        from ablate.fit import best

        print(best.gain(kept, found))
    if (missing := len(asked) * options.samples - len(found)) > 0:
        raise UserError(
            f"--budget {options.budget}: reached, and {missing:,} samples are missing; the same command goes on"
        )


def _check(options: argparse.Namespace) -> None:
    least = {"first": 0, "number": 0, "samples": 1, "tokens": 1, "budget": 0, "seed": 0, "temperature": 0}
    for name, lowest in least.items():
        if not getattr(options, name) >= lowest:  # nan neither
            raise UserError(f"--{name} {getattr(options, name)}: must be {lowest} or more")
    for name in ("number", "samples"):
        if getattr(options, name) > MOST:
            raise UserError(f"--{name} {getattr(options, name)}: must be at most {MOST:,}")
    alike = options.teacher in (QUESTIONS, GIVEN) or options.temperature == 0
    if options.samples > 1 and alike:
        raise UserError(
            f"--samples {options.samples}: with --teacher {options.teacher} and --temperature "
            f"{options.temperature:g} all samples of a prompt are equal"
        )
    if options.teacher == QUESTIONS and options.prompts not in GENERATED:
        raise UserError(f"--teacher questions: knows its own questions only, --prompts {' or '.join(GENERATED)}")
    if options.best and options.samples < 2:
        raise UserError(f"--best {options.best}: needs --samples 2 or more, to have some to rank")
    if options.model and not _is_endpoint(options):
        raise UserError(f"--model {options.model}: must be left out unless --teacher is the URL of an endpoint")


def _is_endpoint(options: argparse.Namespace) -> bool:
    return bool(re.match(r"https?://", options.teacher))


def _prompts(options: argparse.Namespace) -> list[Prompt]:
    if options.prompts in GENERATED:
        return prompts.of_questions(options.first, options.number or 1000, GENERATED[options.prompts])
    found, without = prompts.of_file(Path(options.prompts), options.first, options.number)
    if without:
        print(f"{options.prompts}: {without:,} rows hold no question with a known answer", flush=True)
    if options.teacher != GIVEN:
        return found
    traced = [prompt for prompt in found if prompt.trace]
    if len(traced) < len(found):
        print(f"{options.prompts}: {len(found) - len(traced):,} questions have no trace", flush=True)
    return traced


def _answered(options: argparse.Namespace, asked: Sequence[Prompt]) -> tuple[str, list[Judged]]:
    """What the teacher is called in rows, and what it wrote."""
    if options.teacher in (QUESTIONS, GIVEN):
        texts = [[(f"Steps: {one.trace}\nAnswer: {one.answer}", "")] for one in asked]
        return options.teacher, _judged(asked, texts)
    ask = _of_endpoint if _is_endpoint(options) else _of_model
    teacher, replies = ask(options, asked)
    texts = [[(one.text, one.wrong) for one in group] for group in replies]
    return teacher, _judged(asked[: len(texts)], texts)


def _judged(asked: Sequence[Prompt], texts: Sequence[Sequence[tuple[str, str]]]) -> list[Judged]:
    return samples.judged(
        Sample(one.source, one.kind, one.asked, one.answer, number, text, wrong)
        for one, group in zip(asked, texts, strict=True)
        for number, (text, wrong) in enumerate(group)
    )


def _judge(options: argparse.Namespace) -> Callable[[Sequence[Judged]], list[Judged]]:
    """What keeps the best of each prompt's samples, by the run of rewards that was named."""
    from ablate.fit import best  # loads torch
    from ablate.generate import judge_of

    return partial(best.of, *judge_of(options.best, Path(options.outputs)))


def _of_model(options: argparse.Namespace, asked: Sequence[Prompt]) -> tuple[str, list]:
    from ablate.fit.writer import Writer  # loads torch
    from ablate.generate import model_of

    language, tokenizer, _, _ = model_of(options.teacher, Path(options.outputs))
    sampling = {name: getattr(options, name) for name in ("tokens", "temperature", "seed")}
    writer = Writer(language, tokenizer, sampling, _replies(options))
    with Progress(len(asked) * options.samples, shown=True, unit="sample") as bar:
        texts = [f"Question: {one.asked}\n" for one in asked]
        found = writer.write(texts, options.samples, options.budget, lambda done: bar.at(done, "written"))
    return options.teacher, found


def _of_endpoint(options: argparse.Namespace, asked: Sequence[Prompt]) -> tuple[str, list]:
    from ablate.corpus.endpoint import Endpoint, Spent
    from ablate.run.corpus import Prepare, Teacher

    teacher = Teacher(model=options.model, tokens=options.tokens, temperature=options.temperature)
    by, found = Prepare(url=options.teacher, key=options.key, requests=options.budget), []
    seeds = [options.seed * options.samples + number for number in range(options.samples)]
    try:
        endpoint = Endpoint.of(teacher, by, _replies(options))
    except SettingsError as error:
        raise UserError(_typed(str(error))) from None
    of_seeds = [dataclasses.replace(endpoint, teacher=dataclasses.replace(teacher, seed=seed)) for seed in seeds]
    with Progress(len(asked) * options.samples, shown=True, unit="sample") as bar:
        for first in range(0, len(asked), ASKED_AT_ONCE):
            some = asked[first : first + ASKED_AT_ONCE]
            requests = [one.request(TASK, prompt.asked) for prompt in some for one in of_seeds]
            try:
                replies = endpoint.ask(requests)
            except Spent:
                break
            found += [replies[start : start + len(seeds)] for start in range(0, len(replies), len(seeds))]
            bar.at(len(found) * len(seeds), "written")
    return options.model, found


def _typed(error: str) -> str:
    """What is wrong with an endpoint, by the flags that say it."""
    for key, flag in FLAGS.items():
        error = error.replace(f"{key}=", f"{flag} ").replace(key, flag)
    return error


def _replies(options: argparse.Namespace) -> Path:
    return Path(options.outputs) / "traces" / "replies.sqlite"


def _name(options: argparse.Namespace, teacher: str) -> str:
    """Of a file whose name was not given: by all that was asked."""
    told = {
        key: value for key, value in vars(options).items() if key not in ("outputs", "out", "pairs", "budget", "key")
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]


def _write(path: Path, rows: Sequence[dict]) -> None:
    files.make_folder(path.parent)
    files.write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    print(f"{path}: {len(rows):,} rows")


def _show(found: Sequence[Judged], asked: int) -> None:
    """How many samples of each kind are right, and why the others are not."""
    from rich.console import Console

    from ablate.page import tables

    by_kind = samples.counted(found)
    reasons = sorted({why for counts in by_kind.values() for why in counts if why})
    solved = {one.sample.prompt for one in found if not one.why}
    caption = f"{len(solved):,} of {asked:,} prompts have a right sample"
    out = tables.table("kind", ">samples", ">right", *(f">{why}" for why in reasons), caption=caption)
    total = sum(by_kind.values(), start=type(next(iter(by_kind.values())))()) if by_kind else {}
    for kind, counts in [*by_kind.items(), *([("all", total)] if len(by_kind) > 1 else [])]:
        size = sum(counts.values())
        out.add_row(kind or "-", f"{size:,}", f"{counts[''] / size:.1%}", *(f"{counts[why]:,}" for why in reasons))
    Console().print(out)


def _parser() -> Parser:
    parser = Parser("traces", WHAT, EXAMPLES)
    teachers = "a run, a folder that transformers loads, the URL of an endpoint, `questions` or `given`"
    parser.add_argument("--teacher", required=True, metavar="T", help=teachers)
    asked = f"rows of prompt and answer, or {' or '.join(GENERATED)}"
    parser.add_argument("--prompts", required=True, metavar="FILE", help=asked)
    parser.add_argument("--first", type=int, default=0, metavar="I", help="leave so many out (default: %(default)s)")
    parser.add_argument("--number", type=int, default=0, metavar="N", help="prompts (default: all; 1000 `questions`)")
    parser.add_argument("--samples", type=int, default=1, metavar="K", help="of each prompt (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="T", help="of the sampling (default: 0.8)")
    parser.add_argument("--tokens", type=int, default=256, metavar="N", help="of a sample, at most (default: 256)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sampling (default: %(default)s)")
    parser.add_argument("--budget", type=int, default=0, metavar="N", help="new samples, at most (default: no limit)")
    parser.add_argument("--model", default="", metavar="NAME", help="of an endpoint: the name of the model there")
    parser.add_argument("--key", default="OPENAI_API_KEY", metavar="NAME", help="environment variable of its key")
    parser.add_argument("--out", metavar="FILE", help="the rows (default: outputs/traces/<digest>.jsonl)")
    parser.add_argument("--pairs", metavar="FILE", help="rows of prompt, chosen and rejected, to train preferences on")
    parser.add_argument(
        "--best", default="", metavar="RUN", help="keep of each prompt's samples the best, by a run of rewards"
    )
    parser.add_argument("--all", action="store_true", help="also samples that are not right, which `right` tells")
    return parser


if __name__ == "__main__":
    main()
