"""Command: text that a trained run, or a folder of transformers, goes on with."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate import export
from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.corpus import chat
from ablate.run.settings import UserError
from ablate.scores.draw import drawing

if TYPE_CHECKING:
    from ablate.data.tokenizer import Tokenizer
    from ablate.model.language import LanguageModel

    Judge = tuple[LanguageModel, Tokenizer]  # a model of rewards

MOST_TOKENS, MOST_TEXTS = 2**20, 10_000
WHAT = "Print the text that a finished run goes on with after a prompt, as it comes."
EXAMPLES = """\
  ablate generate a128x4-1024-s0 "The river was"
  ablate generate mix_sweep/share_40/0 "def f(" --temperature 0 --stop "def "
  ablate generate exports/my-model - --number 3 < prompt.txt"""


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    _check(options)
    prompt = sys.stdin.read().removesuffix("\n") if options.prompt == "-" else options.prompt
    if any("\ud800" <= char <= "\udfff" for char in prompt):  # how Python holds bytes that it cannot read
        raise UserError("PROMPT: must be text in UTF-8")
    drawing(**_sampling(options))  # before anything is loaded
    language, tokenizer, span, folder = model_of(options.run, Path(options.outputs))
    begin = ""
    if options.route is not None:
        prompt, begin = _routed(prompt, language, tokenizer, options)
    judge = judge_of(options.best, Path(options.outputs)) if options.best else None
    _say(language, tokenizer, _asked(prompt, folder) if options.chat else prompt, span, options, judge, begin)


def _check(options: argparse.Namespace) -> None:
    if options.number < 1:
        raise UserError(f"--number {options.number}: must be 1 or more")
    for name, most in (("tokens", MOST_TOKENS), ("number", MOST_TEXTS)):
        if getattr(options, name) > most:
            raise UserError(f"--{name} {getattr(options, name)}: must be at most {most:,}")
    if options.temperature == 0 and (options.top_k or options.top_p < 1):
        flag = f"--top-k {options.top_k}" if options.top_k else f"--top-p {options.top_p:g}"
        raise UserError(f"{flag}: must be left out with --temperature 0, which draws nothing")
    if options.number > 1 and options.temperature == 0:
        raise UserError(f"--number {options.number}: with --temperature 0 all texts are equal")
    if options.best and options.number < 2:
        raise UserError(f"--best {options.best}: needs --number 2 or more, to have texts to rank")
    if options.route is not None and (not 0 <= options.route <= 1 or options.chat):
        raise UserError(f"--route {options.route:g}: must be a share of the questions, from 0 to 1, without --chat")


def _routed(
    question: str, language: "LanguageModel", tokenizer: "Tokenizer", options: argparse.Namespace
) -> tuple[str, str]:
    """The question, and the beginning of an answer or of steps."""
    from ablate.data.tokenizer import as_prompt
    from ablate.route import saved
    from ablate.scores.protocols import STEPS
    from ablate.scores.requests import last_states

    router, asked = saved(export.find(options.run, Path(options.outputs))), f"Question: {question}\n"
    [state] = last_states(language, [tuple(as_prompt(tokenizer, asked))])
    return asked, STEPS if router.writes(state, options.route) else "Answer:"


def _asked(prompt: str, folder: Path) -> str:
    """The prompt as something that a user says. Raises UserError for a model without a chat template."""
    if not (folder / chat.NAME).exists():
        raise UserError(f"--chat: {folder} has no {chat.NAME}: the model was trained on no dialogues")
    try:
        return chat.asked(prompt, (folder / chat.NAME).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{folder / chat.NAME}: {error}") from None


def _say(
    language: "LanguageModel",
    tokenizer: "Tokenizer",
    text: str,
    span: int,
    options: argparse.Namespace,
    judge: "Judge | None" = None,
    begin: str = "",
) -> None:
    """`begin`: of every text, printed with it."""
    import torch

    from ablate.data.tokenizer import as_prompt, end_of, pieces
    from ablate.scores.sampling import generate

    prompt = as_prompt(tokenizer, text + begin)
    alone = options.number == 1
    print(begin if alone else "", end="", flush=True)
    answers = generate(
        language.to("cuda" if torch.cuda.is_available() else "cpu"),
        [prompt] * options.number,
        pieces(tokenizer, len(language.head_weight)),
        **_sampling(options),
        end=end_of(tokenizer),
        tell=lambda _, text: print(text, end="", flush=True) if alone else None,
    )
    found = [answer.text for answer in answers]
    if judge:
        from ablate.fit.best import ranked

        found = ranked(*judge, text + begin, found)
    print("" if alone else "\n---\n".join(begin + text for text in found))
    if len(prompt) + options.tokens > span:
        long = f"{len(prompt)} tokens of prompt and {options.tokens} of text"
        print(f"note: {long} are more than the {span} of the rows that it was trained on", file=sys.stderr)


def judge_of(run: str, outputs: Path) -> "Judge":
    """The model of rewards and its tokenizer. Raises UserError for a run that has none."""
    language, tokenizer, *_ = model_of(run, outputs)
    if language.value is None:
        raise UserError(f"--best {run}: must be a run with objective=reward")
    return language, tokenizer


def _sampling(options: argparse.Namespace) -> dict[str, Any]:
    return {name: vars(options)[name] for name in ("tokens", "temperature", "top_k", "top_p", "seed", "stop")}


def model_of(run: str, outputs: Path) -> tuple["LanguageModel", "Tokenizer", int, Path]:
    """The model, its tokenizer, the length of the rows that it was trained on, and the folder of its tokenizer."""
    from ablate.data.tokens import prepared
    from ablate.fit import saved

    if (Path(run) / "config.json").exists():
        return *saved.of_folder(Path(run)), Path(run)
    record = export.find(run, outputs)
    corpus = prepared(record.folder.parent.parent, record.fingerprint)
    return saved.load(record), corpus.tokenizer(), record.settings().data.span, corpus.folder


def _parser() -> Parser:
    parser = Parser("generate", WHAT, EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="as in `ablate export`, or a folder that transformers loads")
    parser.add_argument("prompt", metavar="PROMPT", help="the text to go on from; - reads it from standard input")
    parser.add_argument("--chat", action="store_true", help="the prompt is what a user says in a dialogue")
    parser.add_argument("--tokens", type=int, default=128, metavar="N", help="at most so many (default: %(default)s)")
    parser.add_argument(
        "--temperature", type=float, default=0.8, metavar="T", help="0: always the likeliest token (default: 0.8)"
    )
    parser.add_argument("--top-k", type=int, default=0, metavar="K", help="draw among the K likeliest (default: all)")
    parser.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="draw among the likeliest with P together (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, another text (default: 0)")
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be given several times"
    )
    parser.add_argument(
        "--route",
        type=float,
        metavar="SHARE",
        help="PROMPT is a question; steps for at most so many, by `ablate route`",
    )
    parser.add_argument("--number", type=int, default=1, metavar="N", help="texts, parted by --- (default: 1)")
    parser.add_argument("--best", default="", metavar="RUN", help="the best of them first, by a run of rewards")
    return parser


if __name__ == "__main__":
    main()
