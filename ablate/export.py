"""Command: hand a trained run on, as a folder that other programs load.

`hf` is what `AutoModelForCausalLM` and `AutoTokenizer` load: the same logits, to rounding
(`model.convert` says which architectures have a class there). `safetensors` is every architecture: the
weights under our names, and the settings to build it from.

    config.json  model.safetensors  generation_config.json      or    config.yaml  model.safetensors
    tokenizer.json  tokenizer_config.json                             tokenizer.json
    chat_template.jinja, of text with dialogues
    reward_head.safetensors, of runs with objective=reward
    README.md                                                         packed.safetensors, of ternary models
                                                                      README.md

A folder is written beside its place and renamed when it is whole.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ablate.compress.forms import rounds_inputs
from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.corpus import chat
from ablate.run import lookup
from ablate.run.files import make_folder
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError
from ablate.scores.metrics import Scope, metric_of, readings

if TYPE_CHECKING:
    from ablate.data.tokens import Corpus
    from ablate.model.language import LanguageModel

FORMS = ("hf", "safetensors")
REWARD = "reward_head.safetensors"  # one row: its product with the last hidden state of a text is what that is worth
WHAT = "Write a finished run as a folder that transformers loads, or as plain safetensors."
EXAMPLES = """\
  ablate export a128x4-1024-s0             to outputs/exports/<id>/hf
  ablate export mix_sweep/share_40/0 --to safetensors --out my-model"""


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    record = find(options.run, Path(options.outputs))
    out = Path(options.out) if options.out else _outputs(record) / "exports" / record.id / options.to
    print(export(record, options.to, out))


def find(run: str, outputs: Path) -> Record:
    """The finished run of that name (`run.lookup`). Raises UserError when there is none, or several."""
    record = lookup.find(run, outputs)
    if not record.done:
        raise UserError(f"{record.id} is not finished; the command that started it goes on with it")
    return record


def export(record: Record, form: str, out: Path) -> str:
    """Write the run to a new folder; what was written, in a sentence."""
    import torch  # and with it all that is slow to load: mistakes should not wait for it

    from ablate.data.tokens import prepared
    from ablate.fit import saved

    if out.exists():
        raise UserError(f"{out} exists; give another --out, or delete it")
    if rounds_inputs(to := record.settings().compress.to):
        raise UserError(f"{record.id}: with compress.to={to} its inputs are rounded, which no folder can say")
    corpus = prepared(_outputs(record), record.fingerprint)
    language = saved.load(record)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    make_folder(temporary)
    try:
        with torch.no_grad():
            {"hf": _write_hf, "safetensors": _write_safetensors}[form](language, record, corpus, temporary)
        (temporary / "README.md").write_text(card(record, form), encoding="utf-8")
        temporary.rename(out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return f"{out}: {record.id}, {_sizes(language)}"


def card(record: Record, form: str) -> str:
    """What the model is, in a few lines: what was asked, what it read, how good it became."""
    settings, result = record.settings(), record.result() or {}
    study, arm = settings.study, settings.where.arm
    asked = [f"Trained for: {study.question} (study `{study.name}`, arm `{arm}`)"] if study.question else []
    scope = Scope(settings.data.domains, settings.data.focus)
    scores = [f"| {n} | {v:.4f} | {metric_of(n, scope.domains).unit} |" for n, v in readings(result, scope).items()]
    lines = [
        f"# {record.id}",
        "",
        *asked,
        f"Pattern {settings.model.pattern}, {result['parameters']:,} parameters, seed {settings.seed}; "
        f"{result['tokens']:,} tokens read, outcome: {result['outcome']}.",
        f"Text: fingerprint `{record.environment()['data'][:16]}`, rows of up to {settings.data.span} tokens.",
        "",
        *["| on held-out text | value | unit |", "|---|---|---|", *scores, ""],
        *_usage(settings, form),
    ]
    return "\n".join(lines) + "\n"


def _usage(settings: Settings, form: str) -> list[str]:
    if form == "safetensors":
        files = ["`ablate.model.language.LanguageModel` under its own names; `config.yaml` holds all settings."]
        packed = ["`packed.safetensors`: ternary weights in 2 bits (`ablate.model.pack`)."]
        return files + (packed if settings.model.linear == "ternary" else [])
    accelerate = ["Loading ternary weights needs the package `accelerate`."] if settings.model.linear != "dense" else []
    return ["Loads with `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`.", *accelerate]


def _write_hf(language: "LanguageModel", record: Record, corpus: "Corpus", folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast
    from transformers.utils.logging import disable_progress_bar

    from ablate.model.convert import to_hf

    disable_progress_bar()
    span = record.settings().data.span
    try:
        to_hf(language, positions=span, end=corpus.end).save_pretrained(folder)
    except ValueError as error:
        raise UserError(f"{error}; --to safetensors writes every model") from None
    has_chats = (corpus.folder / chat.NAME).exists()
    PreTrainedTokenizerFast(
        tokenizer_file=str(corpus.folder / "tokenizer.json"),
        split_special_tokens=has_chats,  # what a template writes is plain text, as it was trained on
        eos_token=corpus.tokenizer().id_to_token(corpus.end),
        model_max_length=span,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    if has_chats:
        shutil.copy(corpus.folder / chat.NAME, folder)
    _write_tokenizer(corpus, folder)  # which transformers has written in words of its own
    if language.value is not None:  # of a model of rewards, whose body alone has a class there
        from safetensors.torch import save_file

        save_file({"score.weight": language.value.weight.detach().contiguous()}, folder / REWARD)


def _write_safetensors(language: "LanguageModel", record: Record, corpus: "Corpus", folder: Path) -> None:
    from safetensors.torch import save_file

    from ablate.model.pack import packed

    shutil.copy(record.weights, folder / "model.safetensors")
    if language.model.linear == "ternary":
        save_file(packed(language), folder / "packed.safetensors")
    _write_tokenizer(corpus, folder)
    what = _what(record.settings()) | {"built": dataclasses.asdict(language.size)}
    (folder / "config.yaml").write_text(yaml.safe_dump(what, sort_keys=False), encoding="utf-8")


def _write_tokenizer(corpus: "Corpus", folder: Path) -> None:
    """To the byte as it is, unless it puts a token before a text: a run that starts from the folder knows its text."""
    from ablate.data.tokenizer import as_trained

    text = as_trained((corpus.folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def _what(settings: Settings) -> dict[str, Any]:
    """The settings without where they ran, and without paths."""
    what = json.loads(json.dumps(dataclasses.asdict(settings)))
    del what["where"], what["data"]["root"], what["data"]["tokenizer"]
    return what


def _sizes(language: "LanguageModel") -> str:
    from ablate.model.linear import packed_bytes

    parameters = sum(parameter.numel() for parameter in language.parameters())
    sizes = f"{parameters:,} parameters, {4 * parameters / 1e6:.3g} MB in float32"
    if language.model.linear == "dense":
        return sizes
    return f"{sizes}; {packed_bytes(language) / 1e6:.3g} MB with ternary weights in 2 bits and all else in 16"


def _outputs(record: Record) -> Path:
    return record.folder.parent.parent


def _parser() -> Parser:
    parser = Parser("export", WHAT, EXAMPLES)
    parser.add_argument("run", metavar="RUN", help="a run: its id, the beginning of it, STUDY/ARM/SEED, or its folder")
    parser.add_argument("--to", choices=FORMS, default="hf", help="form of the folder (default: %(default)s)")
    parser.add_argument("--out", metavar="DIR", help="folder to write (default: <outputs>/exports/<id>/<form>)")
    return parser


if __name__ == "__main__":
    main()
