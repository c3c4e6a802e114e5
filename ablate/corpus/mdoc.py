"""The macros of mdoc(7), BSD's manual pages: each says what a word is, and may stand among the words of another.

.Nm ls                          ls [-la] [file ...]
.Op Fl la
.Op Ar
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.corpus.roff import Page


class State:
    """Of a page: the name it is about."""

    def __init__(self) -> None:
        self.name = ""


AROUND = {"Op": "[]", "Pq": "()", "Bq": "[]", "Brq": "{}", "Aq": "<>", "Dq": "“”", "Qq": '""', "Sq": "‘’", "Ql": "‘’"}
OPEN = {"Oo": "[", "Po": "(", "Bo": "[", "Bro": "{", "Ao": "<", "Do": "“", "Qo": '"', "So": "‘"}
CLOSE = {"Oc": "]", "Pc": ")", "Bc": "]", "Brc": "}", "Ac": ">", "Dc": "”", "Qc": '"', "Sc": "’"}
WORDS = set("Ad An Cd Cm Dv Em Er Ev Fa Ft Ic Li Ta Lk Ms Mt No Pa Sx Sy Tn Va Vt Xo Xc Cx Fd Lb Rv Ex Bk Ek".split())  # noqa: SIM905
SYSTEMS = {
    "Ux": "UNIX",
    "At": "AT&T UNIX",
    "Bx": "BSD",
    "Bsx": "BSD/OS",
    "Fx": "FreeBSD",
    "Nx": "NetBSD",
    "Ox": "OpenBSD",
}
SYSTEMS |= {"Dx": "DragonFly"}
LINES = {"Dt", "Sh", "Ss", "Nd", "Bl", "It", "El", "Bd", "Ed", "D1", "Dl", "Rs", "Re", "Dd", "Os", "Fo", "Fc"}
IN_LINE = {"Nm", "Fl", "Ar", "Xr", "Fn", "Ns", "Ap", "Pf", "St", "In", *AROUND, *OPEN, *CLOSE, *WORDS, *SYSTEMS}
NO_SPACE_BEFORE, NO_SPACE_AFTER = set(".,:;)]?!"), set("([")


def knows(name: str) -> bool:
    return name in LINES or name in IN_LINE or name[:1] == "%"


def macro(page: "Page", name: str, found: list[str]) -> None:
    if name in ("Dt",):
        page.heading(f"{found[0]}({found[1]})" if len(found) > 1 else " ".join(found))
    elif name in ("Sh", "Ss"):
        page.heading(_line(page.mdoc, found))
    elif name == "Nd":
        page.text("- " + _line(page.mdoc, found))
    elif name == "It":
        page.tagged(_line(page.mdoc, found) or "•")
    elif name in ("Bl", "Rs", "D1", "Dl"):
        page.paragraph()
        if name in ("D1", "Dl"):
            page.text(_line(page.mdoc, found))
    elif name in ("El", "Re"):
        page.paragraph()
        page.body = 0
    elif name in ("Bd", "Ed"):
        page.paragraph()
        page.filled = name == "Ed" or not {"-literal", "-unfilled"} & set(found)
    elif name == "Fo":
        page.text("".join(found[:1]) + "(\0")
    elif name == "Fc":
        page.text(")")
    elif name[:1] == "%":
        page.text(" ".join(found))
    elif name in IN_LINE:
        if name == "Nm" and found and not page.mdoc.name:
            page.mdoc.name = found[0]
        page.text(_line(page.mdoc, [name, *found]))


def _line(state: State, words: list[str]) -> str:
    """Words and the macros among them as text."""
    out: list[str] = []
    _written(state, words, out)
    text = ""
    for piece in out:
        glued = not text or text[-1] in "\0([" or piece in NO_SPACE_BEFORE or piece[:1] in ("\0", "")
        text += piece if glued else " " + piece
    return text.replace("\0", "")


def _written(state: State, words: list[str], out: list[str]) -> None:
    at = 0
    while at < len(words):
        word, at = words[at], at + 1
        if word in AROUND:  # of all that follows, but the marks at its end
            left, right = AROUND[word]
            rest, marks = _marks(words[at:])
            inner = _line(state, rest)
            out += [left + inner + right, *marks]
            return
        if word in OPEN or word in CLOSE:
            out.append(OPEN[word] + "\0" if word in OPEN else "\0" + CLOSE[word])
        elif word == "Fl":
            at = _flags(words, at, out)
        elif word == "Nm":
            if at == len(words) or words[at] in IN_LINE or words[at] in NO_SPACE_BEFORE:
                out.append(state.name or "")
        elif word == "Ar":
            if at == len(words) or words[at] in IN_LINE or words[at] in NO_SPACE_BEFORE:
                out.append("file ...")
        elif word in ("Xr", "Fn"):
            at = _called(word, words, at, out)
        elif word == "In":
            out.append(f"#include <{''.join(words[at : at + 1])}>")
            at += 1
        elif word in ("Ns", "Ap"):
            out.append("\0" if word == "Ns" else "\0'\0")
        elif word == "Pf":
            out.append("".join(words[at : at + 1]) + "\0")
            at += 1
        elif word in SYSTEMS:
            out.append(SYSTEMS[word])
        elif word not in WORDS and word != "St" and word:
            out.append(word)


def _flags(words: list[str], at: int, out: list[str]) -> int:
    """Every word after Fl has a dash, up to the next macro; Fl alone is a dash."""
    start = at
    while at < len(words) and words[at] not in IN_LINE:
        out.append(words[at] if words[at] in NO_SPACE_BEFORE | {"|"} else f"-{words[at]}")
        at += 1
    if at == start:
        out.append("-\0" if at < len(words) and words[at] == "Fl" else "-")
    return at


def _called(word: str, words: list[str], at: int, out: list[str]) -> int:
    """ls(1) of Xr ls 1; f(a, b) of Fn f a b."""
    name, at = "".join(words[at : at + 1]), at + 1
    end = at
    while end < len(words) and words[end] not in IN_LINE and words[end] not in NO_SPACE_BEFORE:
        end += 1
    out.append(f"{name}({', '.join(words[at:end])})" if word == "Fn" or end > at else name)
    return end


def _marks(words: list[str]) -> tuple[list[str], list[str]]:
    """Marks at the end of a line stand behind what encloses it."""
    end = len(words)
    while end and words[end - 1] in NO_SPACE_BEFORE:
        end -= 1
    return words[:end], words[end:]
