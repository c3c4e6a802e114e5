"""Command: make the weights of a finished run smaller, by one recipe or several, and say what that costs this model.

Each recipe is a run of its own: the one that `ablate train tokens=0 start=run:RUN compress...` makes, to the id, with
the text and the evaluation of its parent.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ablate.compress.forms import FORMATS
from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.run import lookup
from ablate.run.checks import check
from ablate.run.compress import Compress
from ablate.run.distill import Distill
from ablate.run.parse import fitted
from ablate.run.parts import require_member
from ablate.run.progress import Progress
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError
from ablate.run.study import Study
from ablate.run.where import Where

WHAT = """Make the weights of a finished run smaller, and say what that costs this model. Several forms and methods, \
with commas between them, are one run each."""
EXAMPLES = """\
  ablate compress 48d1b140                       int4, by gptq
  ablate compress 48d1b140 --to int8,int4,int3,2:4
  ablate compress 48d1b140 --to int4 --method round,gptq,awq
  ablate compress 48d1b140 --bits 3.5            int2 to int8, matrix by matrix
  ablate compress 48d1b140 --to int4 --keep 'embedding,head,*.down'

forms    int8 int4 int3 int2 fp8 2:4, both as 2:4-int4, and with inputs in fp8
         as int4-fp8
methods  round gptq awq, and of 2:4 magnitude wanda sparsegpt
         without --method: gptq below 8 bits, sparsegpt of 2:4, else round

The same command again computes nothing. What a recipe costs other models is
asked by a study: ablate train +experiment=compress_sweep -m"""
PAIRED = "preference", "reward"  # objectives that read pairs, which no run of no tokens does
# Of the parent's `where`, what is about this machine and about parts of the user's own
TAKEN = ("device", "micro_tokens", "threads", "tf32", "deterministic", "imports", "wandb", "wandb_project")


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    record = lookup.find(options.run, options.outputs)
    asked = {name_of(one): derived(record, one) for one in recipes(options)}
    results = _made(asked)
    _show(record, results)


def recipes(options: argparse.Namespace) -> list[Compress]:
    """Each form by each method that is for it. Raises UserError for a method or a flag that fits none."""
    if options.bits and options.to:
        raise UserError(f"--to {options.to}: must be left out with --bits {options.bits:g}, which chooses the form")
    forms, methods = (options.to or "int4").split(","), options.method.split(",") if options.method else []
    for form in forms:
        require_member("--to", form, FORMATS)
    found = [_recipe(options, form, method) for form, method in _pairs(forms, methods)]
    if options.rows is not None and not any(_reads(one) for one in found):
        raise UserError(f"--rows {options.rows}: must be left out: no method that was asked for reads any")
    if options.asymmetric and all(one.symmetric for one in found):
        raise UserError(f"--asymmetric: must be left out with --to {options.to}: integers alone have zeros")
    if options.group is not None and not any(FORMATS[one.to].scaled for one in found):
        raise UserError(f"--group {options.group}: must be left out with --to {options.to}, which has no scales")
    return found


def _pairs(forms: Sequence[str], methods: Sequence[str]) -> Iterator[tuple[str, str]]:
    from ablate.compress.methods import METHODS  # loads torch

    for method in methods:
        require_member("--method", method, METHODS)
        if not any(METHODS[method].sparse == FORMATS[form].sparse for form in forms):
            raise UserError(f"--method {method}: is {'' if METHODS[method].sparse else 'not '}for forms of 2:4")
    for form in forms:
        sparse = FORMATS[form].sparse
        fitting = [method for method in methods if METHODS[method].sparse == sparse]
        yield from ((form, method) for method in fitting or [_usual(form)])


def _usual(form: str) -> str:
    """The method that loses least, at little cost."""
    if FORMATS[form].sparse:
        return "sparsegpt"
    return "gptq" if FORMATS[form].bits < 8 else "round"


def _recipe(options: argparse.Namespace, form: str, method: str) -> Compress:
    """With the flags that mean something to it."""
    usual = Compress()
    keep = usual.keep if options.keep is None else options.keep
    scaled = FORMATS[form].scaled and options.group is not None
    whole = not (options.asymmetric and FORMATS[form].numbers == "int")
    said = {"group": options.group} if scaled else {}
    plain = {"to": form, "method": method, "symmetric": whole, "keep": keep, "bits": options.bits} | said
    recipe = fitted(Compress, plain, "compress")
    return (
        fitted(Compress, plain | {"rows": options.rows}, "compress")
        if options.rows is not None and _reads(recipe)
        else recipe
    )


def _reads(recipe: Compress) -> bool:
    from ablate.compress.methods import METHODS

    return METHODS[recipe.method].informed or recipe.bits > 0


def name_of(recipe: Compress) -> str:
    return f"{recipe.bits:g} bits {recipe.method}" if recipe.bits else f"{recipe.to} {recipe.method}"


def derived(record: Record, recipe: Compress) -> Settings:
    """The settings of the run that makes a finished one smaller. Raises UserError where there can be none."""
    parent, outputs = record.settings(), record.folder.parents[1]
    if parent.objective in PAIRED:
        raise UserError(
            f"{record.id}: its held-out text is pairs (objective={parent.objective}), not bytes of text; "
            f"ablate train tokens=0 start=run:{record.id} compress=... takes other text"
        )
    where = Where(outputs=str(outputs), progress=False, **{name: getattr(parent.where, name) for name in TAKEN})
    settings = dataclasses.replace(
        parent,
        tokens=0,
        start=f"run:{record.id}",
        objective="next_token" if parent.objective == "distill" else parent.objective,
        distill=Distill(),
        compress=recipe,
        where=where,
        study=Study(),
    )
    check(settings)
    return settings


def _made(asked: dict[str, Settings]) -> dict[str, dict[str, Any]]:
    """The results, of runs that are there already too; all recipes are looked at before the first is made."""
    from ablate.sweep import worker  # Hydra is far from it, but not torch

    tasks = {name: worker.alone(settings) for name, settings in asked.items()}
    missing = [name for name, task in tasks.items() if not task.record.done]
    if not missing:
        print("nothing to compute: every run is there")
    with Progress(len(missing), shown=bool(missing), unit="recipe") as progress:
        for name in missing:
            progress.begin(name)
            worker.train(tasks[name])
    return {name: worker.train(task) | {"id": task.record.id} for name, task in tasks.items()}


def _show(record: Record, results: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console

    from ablate.page import compressed  # scipy, which mistakes should not wait for
    from ablate.verdict.compression import damages, forms

    parent, domains = record.result() or {}, record.settings().data.domains
    found = [compressed.Smaller(name, result, damages(result, parent, domains)) for name, result in results.items()]
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(compressed.damages(found, record.weights.stat().st_size, record.id))
    by_matrix = {one.name: {matrix: [to] for matrix, to in forms(one.result).items()} for one in found}
    for shown in compressed.heats(by_matrix):
        console.print("", shown)
    for line in compressed.kept(found):
        print(line)
    for name, result in results.items():
        print(f"{name:16} {Path(record.folder.parent, result['id'])}")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _parser() -> Parser:
    parser = Parser("compress", WHAT, EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="a run: its id, the beginning of it, STUDY/ARM/SEED, or its folder")
    parser.add_argument("--to", metavar="FORM,...", help="what weights become (default: int4)")
    parser.add_argument("--method", metavar="NAME,...", help="how")
    parser.add_argument("--group", type=int, metavar="N", help="weights in a row that share a scale; 0: the whole row")
    parser.add_argument("--asymmetric", action="store_true", help="groups of integers have a zero of their own")
    parser.add_argument(
        "--keep", type=_names, metavar="NAME,...", help="matrices that stay (default: embedding,head); '': none"
    )
    parser.add_argument(
        "--bits", type=float, default=0.0, metavar="B", help="bits a weight on average, integers by matrix"
    )
    parser.add_argument("--rows", type=int, metavar="N", help="rows of training text that methods read (default: 128)")
    return parser


if __name__ == "__main__":
    main()
