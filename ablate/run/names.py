"""Names that people give: one rule for each place that a name comes to, said where the setting is declared.

    line        one line of printable signs: a comment of a batch script, a word in a table
    label       a line that is not empty: an arm
    file_name   a label that is the name of a file wherever it is written: a study, a domain, a phase, a run
    address     a line that names a place of fsspec, without a password: whoever reads a record would read it
    project     a label that W&B takes
    option      the name of an option on a command line
    variable    the name of an environment variable

Each returns the name as it is, and raises ValueError with what it must be. No name is mended in silence.
"""

import re
import unicodedata

MOST_BYTES = 200  # of the name of a file, which may have 255 with all that is put before and behind it
MOST_CHARACTERS = 128  # of a project at W&B


def line(text: str) -> str:
    # neither a new line nor any other control character, and no half of a surrogate pair, which no file can hold
    return _checked(text, text.isprintable(), "one line of printable characters")


def label(name: str) -> str:
    return _checked(name, line(name).strip() == name != "", "a name, without blanks around it")


def file_name(name: str) -> str:
    fits = not set("/\\") & set(label(name)) and name[0] not in ".-" and len(name.encode()) <= MOST_BYTES
    return _checked(
        name, fits, f"the name of a file: without / and \\, no dot or dash first, at most {MOST_BYTES} bytes"
    )


def address(text: str) -> str:
    fits = line(text) == "" or re.match(r"[a-z0-9:+]+://", text) is not None
    return _checked(
        text,
        fits and not re.search("//[^/@]*:[^/]*@", text),
        "an address, s3://bucket/lab or file:///folder, without a password",
    )


def project(name: str) -> str:
    fits = not set("/\\#?%:") & set(label(name)) and len(name) <= MOST_CHARACTERS
    return _checked(
        name, fits, f"a name without / \\ # ? % :, of at most {MOST_CHARACTERS} characters, as W&B wants it"
    )


def option(name: str) -> str:
    fits = re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name) is not None
    return _checked(name, fits, "the name of an option: letters, digits, _ and -, a letter first")


def variable(name: str) -> str:
    fits = re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) is not None
    return _checked(name, fits, "the name of a variable: letters, digits and _, no digit first")


def clash(names: list[str]) -> str | None:
    """The first name that is that of an earlier one where a file system takes no account of case, or of how an accent
    is put together."""
    folded = [unicodedata.normalize("NFC", name.casefold()) for name in names]
    return next((name for place, name in enumerate(names) if folded[place] in folded[:place]), None)


def shown(text: str) -> str:
    """A text in a message: what cannot be printed is written as in Python."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def _checked(name: str, fits: bool, allowed: str) -> str:
    if not fits:
        raise ValueError(f"must be {allowed}")
    return name
