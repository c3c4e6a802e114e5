"""The grammar that every command shares.

    key=value  +group=x  ~key       settings, for the commands that compose them: train, prepare, power
    NAME                            a study or a run, for those that read records
    --outputs DIR                   folder of the records, for all
    --config-dir DIR                a folder of your own beside conf/, for those that compose or write settings

Flags stand in any place.
"""

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ablate.console import help
from ablate.console.help import WIDTH
from ablate.run.settings import UserError


class Parser(argparse.ArgumentParser):
    """The parser of `ablate NAME`; `examples` are printed as they stand. It reads names, of studies and runs."""

    def __init__(self, name: str, what: str, examples: str = "", **more: Any):
        super().__init__(
            prog=f"ablate {name}",
            description=textwrap.fill(what, WIDTH),
            epilog=examples,
            formatter_class=_formatter,
            allow_abbrev=False,
            **more,
        )
        self.add_argument(
            "--outputs", metavar="DIR", default="outputs", help="folder of the records (default: outputs)"
        )

    def read(self, arguments: list[str] | None) -> argparse.Namespace:
        """What was typed, flags and words in any order. `where.outputs=DIR` is --outputs DIR."""
        given = sys.argv[1:] if arguments is None else arguments
        found = self.parse_intermixed_args([re.sub("^where.outputs=", "--outputs=", word) for word in given])
        for action in self._actions:
            empty = action.option_strings and getattr(found, action.dest, None) == ""
            if empty and "" not in (action.const, action.default):
                raise UserError(f"{action.option_strings[-1]}: must not be empty")
        return found

    def add_figure(self, what: str) -> None:
        """--figure, the path of a PNG."""
        self.add_argument("--figure", type=_png, metavar="FILE", help=f"{what}, a PNG")

    def check_used(self, options: argparse.Namespace, doing: str, used: Collection[str]) -> None:
        """Raises UserError for what was given and is not `used`, names of arguments, by what the command is `doing`."""
        for action in self._actions:
            given = getattr(options, action.dest, action.default)
            if action.dest not in ("help", "outputs", *used) and given != action.default:
                what = action.option_strings[-1] if action.option_strings else given
                raise UserError(f"{what}: must be left out with {doing}, which does nothing with it")

    def error(self, message: str) -> NoReturn:
        """One line instead of the usage."""
        flags = [flag for action in self._actions for flag in action.option_strings]
        if unknown := re.fullmatch(r"unrecognized arguments: (\S+).*", message):
            near = difflib.get_close_matches(unknown[1], flags, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; {self.prog} --help lists what there is"
            raise UserError(f"{unknown[1]}: not understood{hint}")
        message = re.sub(r"the following arguments are required: (.*)", r"\1: must be given", message)
        raise UserError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


class SettingsParser(Parser):
    """The parser of a command that composes settings: `words` are overrides for Hydra.

    `groups`: those of the settings that its help shows; empty: all.
    """

    def __init__(self, name: str, what: str, examples: str = "", groups: Sequence[str] = ()):
        super().__init__(name, what, examples, add_help=False)
        self.groups = groups
        self.set_defaults(outputs=None)
        self.add_argument("words", nargs="*", metavar="KEY=VALUE", help="settings; +group=name adds a group")
        self.add_argument("-m", "--multirun", action="store_true", help="all arms and seeds, as one study")
        self.add_argument("--config-dir", metavar="DIR", help="a folder of your own, like conf/")
        self.add_argument("-h", "--help", nargs="?", const="", metavar="GROUP", help="every key, or those of a group")

    def read(self, arguments: list[str] | None) -> argparse.Namespace:
        """What was typed; --help shows what there is and ends the command."""
        line = super().read(arguments)
        if line.help is not None:
            help.show(self.format_help(), line, self.groups)
            sys.exit()
        return line


def _png(text: str) -> Path:
    if not text.endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text}: must end with .png")
    return Path(text)


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=WIDTH)
