"""Command: hand a trained run on, as a folder that other programs load (`interchange.forms`).

    the run ── its weights, by their recorded sha256 ── a form that can say all of it ── a folder, and its card

A folder is written beside its place, read again as the other program reads it (`interchange.checked`), sealed with the
sha256 of every file (`run.exported`), and renamed.
"""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.interchange import checked
from ablate.interchange.contract import Leaving
from ablate.interchange.forms import FORMS
from ablate.page.model_card import card
from ablate.run import exported, lookup, machine
from ablate.run.files import appear, make_folder, read_json
from ablate.run.record import Record
from ablate.run.settings import UserError

if TYPE_CHECKING:
    from ablate.model.language import LanguageModel

WHAT = "Write a finished run as a folder that another program loads, and compare what it then computes."
EXAMPLES = """\
  ablate export a128x4-1024-s0             to outputs/exports/<id>/hf
  ablate export mix_sweep/share_40/0 --to safetensors --out my-model
  ablate export 48d1b140 --to vllm         writes nothing: ready, or why not
  ablate export --verify my-model          whether a single bit has changed"""

VLLM = "vllm"  # no form: whether it could be served
UNCHECKED = "not checked: --no-check"


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    if options.verify and options.run:
        raise UserError(f"{options.run}: must be left out with --verify, which reads a folder alone")
    if options.verify:
        print(verified(Path(options.verify)))
        return
    if not options.run:
        raise UserError("RUN: must be given, or --verify FOLDER; see ablate export --help")
    if options.to == VLLM and (options.type or options.out):
        raise UserError("--to vllm: writes no folder; --type and --out must be left out")
    record = find(options.run, Path(options.outputs))
    if options.to == VLLM:
        print(ready(record))
        return
    type = type_of(options.to, options.type)
    name = f"{options.to}-{type}" if options.type else options.to
    out = Path(options.out) if options.out else _outputs(record) / "exports" / record.id / name
    print(export(record, options.to, out, type, not options.no_check))


def verified(folder: Path) -> str:
    """What an exported folder holds, once every file is as it was. Raises UserError, naming the one that is not."""
    found = exported.check(folder)
    if found is None:
        raise UserError(f"{folder}: has no {exported.NAME}: ablate export did not write it, or not this version")
    return "\n  ".join(
        [f"{folder}: all {len(found['files'])} files are as exported, of {found['run']}", *found["check"]["words"]]
    )


def ready(record: Record) -> str:
    """Whether vLLM would take the run, by its lists alone, or why not."""
    from ablate.interchange import vllm

    model = leaving(record)
    if why := vllm.why_not(model):
        return f"{record.id}: not ready for vLLM {vllm.VERSION}: {why}"
    return (
        f"{record.id}: ready for vLLM {vllm.VERSION} by its lists, with --to {vllm.form_of(model)}; nobody has run it"
    )


def find(run: str, outputs: Path) -> Record:
    """The finished run of that name (`run.lookup`). Raises UserError when there is none, or several."""
    record = lookup.find(run, outputs)
    if not record.done:
        raise UserError(f"{record.id} is not finished; the command that started it goes on with it")
    return record


def type_of(form: str, asked: str) -> str:
    """The type of numbers; the usual one of the form if none is asked for. Raises UserError for one that it has not."""
    types = FORMS[form].types
    if asked and asked not in types:
        allowed = f"one of {', '.join(types)}" if types else "left out"
        raise UserError(f"--type {asked}: must be {allowed} with --to {form}")
    return asked or next(iter(types), "")


def export(record: Record, form: str, out: Path, type: str = "", check: bool = True) -> str:
    """Write the run to a new folder; what was written and how near it comes, a line each."""
    if out.exists():
        raise UserError(f"{out} exists; give another --out, or delete it")
    for module in FORMS[form].packages:
        if not find_spec(module):
            raise UserError(f"--to {form}: {module} is missing; it needs `pip install 'ablate[export]'`")
    model, type = leaving(record), type_of(form, type)
    if why := FORMS[form].misfit(model, type):
        raise UserError(why)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    make_folder(temporary)
    try:
        FORMS[form].write(model, type, temporary)
        found = checked.check(model, FORMS[form], type, temporary) if check else {"words": [UNCHECKED]}
        manifest = read_json(model.corpus_folder / "manifest.json")
        (temporary / exported.CARD).write_text(card(record, form, manifest, found["words"]), encoding="utf-8")
        exported.seal(temporary, _of(record, form, type) | {"check": found})
        appear(temporary, out)
    except (OSError, SafetensorError) as error:  # which safetensors raises where the disk is full
        raise UserError(f"cannot write {out}: {getattr(error, 'strerror', None) or error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return "\n  ".join([f"{out}: {record.id}, {_sizes(model.language, out)}", *found["words"]])


def _of(record: Record, form: str, type: str) -> dict[str, Any]:
    """What was exported, and by which tools."""
    packages = ("ablate", "torch", "transformers", "tokenizers", "safetensors", *FORMS[form].packages)
    return {
        "run": record.id,
        "weights_sha256": (record.result() or {})["weights_sha256"],
        "form": form,
        "type": type,
        "versions": {name: machine.package_version(name.replace("_", "-")) for name in packages},
    }


def leaving(record: Record) -> Leaving:
    """The model as it was recorded. Raises UserError when its weights are others now, packed or not."""
    from ablate.data.tokens import prepared  # and torch, which is slow to load: mistakes should not wait for it
    from ablate.fit import saved
    from ablate.model.language import settled

    corpus, settings = prepared(_outputs(record), record.fingerprint), record.settings()
    language, packed = settled(saved.load(record)), saved.packed(record)
    return Leaving(language, packed, settings.data.span, corpus.end, corpus.folder, settings)


def _sizes(language: "LanguageModel", folder: Path) -> str:
    from ablate.model.linear import packed_bytes

    parameters = sum(parameter.numel() for parameter in language.parameters())
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    sizes = f"{parameters:,} parameters, {on_disk / 1e6:.3g} MB on disk"
    if language.model.linear != "ternary":
        return sizes
    return f"{sizes}; {packed_bytes(language) / 1e6:.3g} MB with ternary weights in 2 bits and all else in 16"


def _outputs(record: Record) -> Path:
    return record.folder.parent.parent


def _parser() -> Parser:
    parser = Parser("export", WHAT, EXAMPLES)
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="a run: its id, the beginning of it, STUDY/ARM/SEED, or its folder"
    )
    form = "form of the folder (default: %(default)s); vllm writes none, and says whether vLLM would take the run"
    parser.add_argument("--to", choices=[*FORMS, VLLM], default="hf", help=form)
    parser.add_argument("--type", default="", help="type of its numbers, of a form that has several")
    parser.add_argument("--out", metavar="DIR", help="folder to write (default: <outputs>/exports/<id>/<form>)")
    parser.add_argument("--no-check", action="store_true", help="do not read the folder again to compare it")
    parser.add_argument("--verify", metavar="FOLDER", help="see whether a folder is what was exported, to the bit")
    return parser


if __name__ == "__main__":
    main()
