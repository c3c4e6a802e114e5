"""Command: tokens a second of a run, by programs that really use its type of weights, beside float32."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablate import export
from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.run import files, machine, speeds, whole
from ablate.run.compress import NONE
from ablate.run.parts import require_member
from ablate.run.progress import Progress
from ablate.run.record import Record, run_record
from ablate.run.settings import UserError
from ablate.run.study_record import StudyRecord

if TYPE_CHECKING:
    from rich.table import Table

WHAT = """Measure tokens a second, of a prompt and of a text that is written, by programs that really use a type of \
weights: in turn with float32, over several rounds. What is measured is kept, and not measured again."""
EXAMPLES = """\
  ablate speed 48d1b140
  ablate speed compress_sweep --runtime onnx      one run of every arm
  ablate speed 48d1b140 --threads 4 --prompt 512"""
PACKAGES = {"torch": ["torch"], "onnx": ["onnx", "onnxruntime"], "llama.cpp": ["gguf", "xllamacpp"]}


@command
def main(arguments: list[str] | None = None) -> None:
    from rich.console import Console

    options = _parser().read(arguments)
    runtimes, outputs = _runtimes(options), Path(options.outputs)
    for name, record in _records(options.name, outputs).items():
        found = _found(record, runtimes, options, outputs)
        compressed = to if (to := record.settings().compress.to) != NONE else ""
        Console().print(table(found, runtimes, name), *_below(found, runtimes, compressed), "", sep="\n", markup=False)


def _runtimes(options: argparse.Namespace) -> list[str]:
    """Raises UserError for one that there is not, and for numbers that make no sense."""
    asked = options.runtime.split(",") if options.runtime else list(speeds.RUNTIMES)
    for name in asked:
        require_member("--runtime", name, dict.fromkeys(speeds.RUNTIMES))
        if missing := [package for package in PACKAGES[name] if not machine.package_version(package)]:
            if options.runtime:
                raise UserError(f"--runtime {name}: {missing[0]} is missing; it needs `pip install 'ablate[export]'`")
            print(f"{name}: left out, for {missing[0]} is missing: `pip install 'ablate[export]'`")
            asked = [one for one in asked if one != name]
    for name, most in {"prompt": 2**20, "decode": 2**20, "rounds": 1000, "threads": 1024}.items():
        if vars(options)[name] < 1:
            raise UserError(f"--{name} {vars(options)[name]}: must be 1 or more")
        if vars(options)[name] > most:
            raise UserError(f"--{name} {vars(options)[name]}: must be at most {most:,}")
    return asked


def _records(name: str, outputs: Path) -> dict[str, Record]:
    """The finished run, or one of every arm of a study, of its first seed: seeds are equally quick."""
    study = StudyRecord(outputs / "studies" / name)
    if not study.exists:
        return {(record := export.find(name, outputs)).id: record}
    runs = study.read()["runs"]
    found = {arm: run_record(outputs, next(iter(seeds.values()))) for arm, seeds in runs.items()}
    if not (done := {f"{name}/{arm}": record for arm, record in found.items() if record.done}):
        raise UserError(f"{name}: none of its runs is finished; the command that started it goes on with it")
    return done


def _found(record: Record, runtimes: list[str], options: argparse.Namespace, outputs: Path) -> dict[str, Any]:
    """What was measured, now or before: of every runtime that is asked for, in its version here."""
    key = {
        "weights_sha256": (record.result() or {})["weights_sha256"],
        "machine": {name: machine.environment()[name] for name in ("processor", "system", "cores")},
        **{name: vars(options)[name] for name in ("threads", "prompt", "decode")},
    }
    path = speeds.path(outputs, key)
    found = {} if options.again else whole.read_if(path, {})
    if missing := [name for name in runtimes if not _is_there(found, name)]:
        new = _measured(record, missing, options)
        found = {"run": record.id, **key, **new, **{name: _joined(found, new, name) for name in ("sides", "left_out")}}
        files.make_folder(path.parent)
        whole.write(path, found)
    else:
        print(f"{record.id}: measured before; --again measures once more")
    return found


def _is_there(found: Mapping[str, Any], runtime: str) -> bool:
    versions = {side["version"] for side in found.get("sides", []) if side["runtime"] == runtime}
    refused = any(one["runtime"] == runtime for one in found.get("left_out", []))
    return versions == {machine.package_version(PACKAGES[runtime][-1])} or (not versions and refused)


def _joined(found: Mapping[str, Any], new: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """New sides in place of old ones of the same runtime, in the order of the runtimes."""
    fresh = {one["runtime"] for part in ("sides", "left_out") for one in new[part]}
    rows = [*new[name], *(one for one in found.get(name, []) if one["runtime"] not in fresh)]
    return sorted(rows, key=lambda one: speeds.RUNTIMES.index(one["runtime"]))


def _measured(record: Record, runtimes: list[str], options: argparse.Namespace) -> dict[str, Any]:
    from ablate.interchange.pace import measured  # and torch, which is slow to load
    from ablate.interchange.programs import Asked

    leaving, asked = export.leaving(record), Asked(options.prompt, options.decode, options.threads)
    with Progress(0, shown=True, unit="measurement") as progress:

        def tell(number: int, steps: int, name: str) -> None:
            progress.total = steps
            progress.at(number, f"{record.id}: {name}")

        found = measured(leaving, runtimes, asked, options.rounds, tell)
    return {"parameters": sum(parameter.numel() for parameter in leaving.language.parameters())} | found


def table(found: Mapping[str, Any], runtimes: Sequence[str], title: str) -> "Table":
    """A row for each program and type: tokens a second, and how many times those of float32 in the same program."""
    from rich import box
    from rich.table import Table

    rows = Table("", title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("MB", "prompt", "x", "decoding", "x"):
        rows.add_column(name, justify="right")
    for side in (side for side in found["sides"] if side["runtime"] in runtimes):
        beside = speeds.original(found, side["runtime"])
        cells = [f"{side['runtime']} {side['type']}{' (own)' if side['own'] else ''}", f"{side['bytes'] / 1e6:.3g}"]
        for what, median in zip(speeds.WHATS, speeds.medians(side), strict=True):
            cells += [f"{median:,.0f}", "1" if side is beside else _times(speeds.ratio(side, beside, what))]
        rows.add_row(*cells)
    return rows


def _times(ratio: speeds.Ratio) -> str:
    return f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _below(found: Mapping[str, Any], runtimes: Sequence[str], compressed: str) -> list[str]:
    """What the numbers are of, what each type is good for, and why others are not there."""
    sides = [side for side in found["sides"] if side["runtime"] in runtimes]
    threads = "one thread" if found["threads"] == 1 else f"{found['threads']} threads"
    said = [
        f"Tokens a second on {found['machine']['processor']}, {threads}, in {found['clock']}: a prompt of "
        f"{found['prompt']} tokens, then {found['decode']} one by one. Medians of {len(sides[0]['prompt'])} rounds in "
        "turn; x: of ratios to float32 within a round, with the least and the greatest.",
        f"Joules a token: {_joules(sides)}.",
    ]
    for side in sides:
        if (beside := speeds.original(found, side["runtime"])) is not side:
            said.append(f"{side['runtime']} {side['type']}: {speeds.words(side, beside)}")
    if any(side["own"] for side in sides):
        said.append("(own): the numbers that this compressed run was scored with.")
    left = [one for one in found["left_out"] if one["runtime"] in runtimes]
    said += [f"{one['runtime']} {one['type']}: left out. {one['why']}" for one in left]
    return said + ([remark] if (remark := speeds.remark(found, compressed)) else [])


def _joules(sides: Sequence[Mapping[str, Any]]) -> str:
    """Of the whole machine while a text was written; an estimate is never told."""
    told = [f"{s['runtime']} {s['type']} {joules:.3g}" for s in sides if (joules := speeds.joules(s)) is not None]
    return ", ".join(told) or "not measured"


def _parser() -> Parser:
    parser = Parser("speed", WHAT, EXAMPLES)
    parser.add_argument("name", metavar="RUN|STUDY", help="a run, as in `ablate export`, or a study")
    parser.add_argument("--runtime", default="", metavar="NAMES", help="torch, onnx, llama.cpp (default: those here)")
    for name, usual, what in (
        ("prompt", 128, "tokens of the prompt"),
        ("decode", 64, "tokens that are written behind it"),
        ("rounds", 5, "times that all take their turn"),
        ("threads", 1, "threads of each program"),
    ):
        parser.add_argument(f"--{name}", type=int, default=usual, metavar="N", help=f"{what} (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    return parser


if __name__ == "__main__":
    main()
