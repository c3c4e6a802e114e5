"""`ablate COMMAND --help`: what the command takes, and the choices of each group."""

import textwrap
from argparse import Namespace

WIDTH = 80  # columns


def show(text: str, line: Namespace) -> None:
    """Print the help of a command that composes settings; `text` is the part about its flags."""
    from ablate.console.compose import groups  # Hydra, which knows the groups

    print(text)
    print("groups (group=name; debug, experiment and system with a plus: +system=name):\n")
    for name, choices in groups(line).items():
        print(textwrap.fill(f"{name}: {', '.join(choices)}", WIDTH, initial_indent="  ", subsequent_indent="      "))
