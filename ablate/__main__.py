"""`ablate COMMAND ...`, also as `python -m ablate COMMAND ...`."""

import difflib
import importlib
import sys

from ablate.console.errors import command
from ablate.run.settings import UserError

# Each is a module of that name beside this file (`module_of`), with a function main(arguments)
COMMANDS = {
    "train": "train one run, or with -m a whole study",
    "prepare": "read and tokenize the text, and show what there is to train on",
    "evaluate": "what trained models answer to tasks",
    "report": "the verdict of a study: table, page, and what it rests on",
    "runs": "list, show, compare, extend and delete runs",
    "power": "how many seeds a study needs, before the first run",
    "gate": "one change after another: keep, discard or retest",
    "suggest": "the best data mixture by a study's runs, and what to train next",
    "trunks": "the shared beginnings kept on disk, and their space",
    "traces": "worked answers of a teacher, checked, to train on",
    "replay": "a step of a run once more: a bad batch, or a bad state",
    "generate": "the text that a trained run goes on with after a prompt",
    "route": "which questions a run should write steps for before it answers",
    "compress": "a trained run with smaller weights, and what they cost it",
    "speed": "tokens a second of a run, in the types that programs read it in",
    "export": "a trained run as a folder that other programs load",
}
ROOMS = ("compress",)  # commands that are called like a room: the command is that room's __main__


@command
def main(arguments: list[str] | None = None) -> None:
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "help"):
        print("usage: ablate COMMAND ...\n\nControlled ablations of language-model pretraining.\n")
        for each, what in COMMANDS.items():
            print(f"  {each:10}{what}")
        print("\nablate COMMAND --help says more. The first study: ablate train +experiment=mix_sweep -m")
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        raise UserError(f"{name}: no such command; " + (f"did you mean {near[0]}?" if near else "see ablate --help"))
    importlib.import_module(module_of(name)).main(rest)


def module_of(name: str) -> str:
    """The module of a command."""
    return f"ablate.{name}.__main__" if name in ROOMS else f"ablate.{name}"


if __name__ == "__main__":
    main()
