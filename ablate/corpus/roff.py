r"""Manual pages as plain text: the usual requests of roff, the macros of man(7), and, beside, those of mdoc(7).

    .SH NAME                            NAME
    ls \- list \fIdirectory\fR
    contents                            ls - list directory contents

    .TP
    .BR \-a ", " \-\-all                -a, --all
    do not ignore entries                   do not ignore entries

A paragraph is one line; lines that are not to be filled stay as they are. Fonts, sizes and motions go, and no header,
footer or hyphen is made.
"""

import itertools
import re
from collections.abc import Callable, Iterator

from ablate.corpus import mdoc

DEEPEST = 10  # of macros that a page defines, in each other
STEP = 4  # spaces that a paragraph below its tag is indented
# Characters by their names, of two letters, in groff_char(7)
NAMED = """
    aq=' dq=" lq=“ rq=” oq=‘ cq=’ ga=` ha=^ ti=~ rs=\\ em=— en=– hy=- mi=− pl=+ mu=× di=÷ eq== bu=• sq=□ co=© rg=® tm=™
    de=° +-=± <==≤ >==≥ !==≠ ===≡ ~~=≈ ->=→ <-=← <>=↔ ua=↑ da=↓ sc=§ ps=¶ dg=† dd=‡ ct=¢ eu=€ Eu=€ Po=£ Ye=¥ 12=½ 14=¼
    Fo=« Fc=» fo=‹ fc=› bv=| ba=| br=| or=| ru=_ ul=_ sl=/ at=@ sh=# Do=$ lB=[ rB=] lC={ rC=} la=⟨ ra=⟩ fm=′ sd=″ if=∞
    ss=ß AE=Æ ae=æ OE=Œ oe=œ /o=ø /O=Ø oa=å oA=Å *a=α *b=β *g=γ *d=δ *e=ε *h=η *l=λ *m=μ *p=π *s=σ *w=ω 34=¾ S1=¹ S2=²
    'e=é 'E=É 'a=á 'i=í 'o=ó 'u=ú `e=è `a=à `i=ì `o=ò `u=ù :a=ä :o=ö :u=ü :e=ë :i=ï :A=Ä :O=Ö :U=Ü ^a=â ^e=ê ^i=î ^o=ô
    ^u=û ~n=ñ ~a=ã ~o=õ ,c=ç vs=š vc=č vz=ž S3=³ no=¬ mc=µ OK=✓ ff=ff fi=fi fl=fl Bq=„ bq=‚ .i=ı
"""
CHARACTERS = {pair[:2]: pair[3:] for pair in NAMED.split()}
STRINGS = {"lq": "“", "rq": "”", "R": "®", "Tm": "™", 'L"': '"', 'R"': '"', "C`": '"', "C'": '"', "dq": '"', "Aq": "'"}
ESCAPE = re.compile(
    r"""\\(?: (?P<comment>["\#].*)
    | \[ (?P<long>[^\]]*) \] | \( (?P<short>..) | C' (?P<quoted>[^']*) '
    | \* (?: \[ (?P<string>[^\]\s]*) [^\]]* \] | \( (?P<two>..) | (?P<one>.) )
    | [FfMmgkVYn] [-+]? (?: \[[^\]]*\] | \(.. | [^\[(] )
    | s [-+]? (?: \[[^\]]*\] | '[^']*' | \([-+]?\d\d | [1-3]\d | \d )
    | o'(?P<over>[^']*)' | N'(?P<code>\d+)'
    | [ABDHLRSXbhlvwxZ]'[^']*'
    | z . | (?P<other>.?) )""",
    re.VERBOSE,
)
OTHER = {"e": "\\", "E": "\\", "\\": "\\", "~": "\u00a0", "0": " ", "t": "\t", "c": "\0"}
OTHER |= {mark: mark for mark in "-' `.{}_\""} | {"{": "", "}": ""}
ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:\\[ ]|[^ ])+)')
REQUEST = re.compile(r"[.'][ \t]*((?:\\.|[^ \t\\])*)[ \t]*(.*)")
CONDITION = re.compile(
    r"(!?)(?:([nteo])(?![a-z])|'[^']*'[^']*'|\"[^\"]*\"[^\"]*\"|\((?:[^()]|\([^()]*\))*\)|\S+)[ \t]*(.*)"
)
FONTS = {"B", "I", "R", "SM", "SB", "CW", "C", "L"}  # of all arguments
IN_TURN = {"BI", "BR", "IB", "IR", "RB", "RI", "CB", "CR", "CI"}  # of the arguments in turn, without spaces between
BREAKS = {"PP", "P", "LP", "HP", "sp", "Sp", "bp", "Pp", "Lp", "SP"}
VERBATIM, FILLED = {"nf", "EX", "Vb", "DS", "CS"}, {"fi", "EE", "Ve", "DE", "CE"}


def plain(text: str) -> str:
    page = Page()
    page.read(iter(text.replace("\\\n", "").split("\n")))
    page.flush()
    return "\n".join(page.lines).rstrip("\n")


def arguments(text: str) -> list[str]:
    """Words, and what stands in quotes; a comment ends them."""
    text = re.split(r'(?:^|\s)\\["#]', text)[0]
    return [(quoted or bare).replace('""', '"') for quoted, bare in ARGUMENT.findall(text)]


class Page:
    """What is written so far. `lines` are whole, `words` belong to the paragraph that grows."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.words: list[str] = []
        self.strings = dict(STRINGS)
        self.own: dict[str, list[str]] = {}  # macros that the page defines
        self.depth = 0
        self.filled, self.tag, self.last = True, False, False  # last: what the last condition was
        self.indent, self.body = 0, 0  # of the section, of the paragraph below a tag
        self.mdoc = mdoc.State()

    def read(self, source: Iterator[str]) -> None:
        for line in source:
            if line[:1] in (".", "'") and len(line) > 1:
                self._request(line, source)
            elif line.strip():
                self.text(self.unescaped(line))
            else:
                self.paragraph()

    def text(self, text: str) -> None:
        """A line of text, or what a macro makes of its arguments."""
        if self.tag:
            self.flush()
            self.lines.append(" " * self.indent + text.strip().strip("\0"))
            self.tag, self.body = False, STEP
        elif not self.filled:
            self.lines.append(" " * (self.indent + self.body) + text.rstrip("\0"))
        elif self.words and self.words[-1].endswith("\0"):
            self.words[-1] = self.words[-1][:-1] + text
        else:
            if text.startswith(" "):  # which breaks the line
                self.flush()
            self.words.append(text.strip(" "))

    def flush(self) -> None:
        if line := " ".join(filter(None, self.words)).replace("\0", ""):
            self.lines.append(" " * (self.indent + self.body) + line)
        self.words = []

    def paragraph(self) -> None:
        self.flush()
        if self.lines and self.lines[-1]:
            self.lines.append("")

    def heading(self, text: str, section: bool = True) -> None:
        self.paragraph()
        self.filled, self.tag, self.indent, self.body = True, False, 0, 0
        if text:
            self.lines += [text, ""]
        else:
            self.tag = True  # it is the next line

    def tagged(self, text: str) -> None:
        """A paragraph with a tag, or below the one before if there is none; marks and numbers stand in its line."""
        self.paragraph()
        if len(text) > 2 and not re.fullmatch(r"\W?\d+\W?|\W{1,2}", text):
            self.lines.append(" " * self.indent + text)
        elif text:
            self.words.append(text)
        self.body = STEP

    def unescaped(self, text: str) -> str:
        return ESCAPE.sub(self._character, text) if "\\" in text else text

    def _character(self, found: re.Match[str]) -> str:
        kind, value = found.lastgroup or "", found[found.lastgroup or 0]
        if kind in ("string", "two", "one"):
            return self.strings.get(value, "")
        if kind in ("long", "short", "quoted"):
            return _named(value)
        if kind == "over":
            return value[:1]
        if kind == "code":
            return chr(int(value)) if int(value) < 0x110000 else ""
        return OTHER.get(value, "") if kind == "other" else ""

    def _request(self, line: str, source: Iterator[str]) -> None:
        found = REQUEST.match(line)
        name, rest = (found[1], found[2]) if found else ("", "")
        if name in ("de", "de1", "am", "ig"):
            key, end, *_ = *([""] if name == "ig" else []), *arguments(rest), "", ""
            self.own[key] = _until(source, end or ".")
        elif name in ("if", "ie", "el"):
            self._condition(name, rest, source)
        elif name == "ds":
            key, _, value = rest.partition(" ")
            self.strings[key] = self.unescaped(value.lstrip().removeprefix('"'))
        elif name == "TS":
            self._table(source)
        elif name == "EQ":
            _until(source, "EN")
        else:
            self._macro(name, rest)

    def _condition(self, name: str, rest: str, source: Iterator[str]) -> None:
        """Only `n`, a terminal, holds; registers and comparisons do not."""
        if name == "el":
            holds = not self.last
        else:
            found = CONDITION.match(rest)
            holds = bool(found) and (found[2] == "n") != (found[1] == "!") if found and found[2] else False
            rest, self.last = found[3] if found else "", holds
        block = _block(rest, source)
        if holds:
            self.read(iter(block))

    def _macro(self, name: str, rest: str) -> None:
        found = arguments(rest)
        if name in FONTS or name in IN_TURN:
            if found:
                self.text(self.unescaped(("" if name in IN_TURN else " ").join(found)))
        elif name in BREAKS:
            self.paragraph()
            self.body = 0 if name not in ("sp", "Sp", "SP") else self.body
        elif name in VERBATIM or name in FILLED:
            self.flush()
            self.filled = name in FILLED
        elif name in MACROS:
            MACROS[name](self, [self.unescaped(one) for one in found])
        elif name in self.own and self.depth < DEEPEST:
            self.depth += 1
            self.read(_expanded(line, found) for line in self.own[name])
            self.depth -= 1
        elif mdoc.knows(name):
            mdoc.macro(self, name, [self.unescaped(one) for one in found])

    def _table(self, source: Iterator[str]) -> None:
        """Rows of tbl(1), their cells with tabs between."""
        self.paragraph()
        tab, layout, inside, cell = "\t", True, False, ""  # inside a cell of several lines, from T{ to T}
        for line in source:
            if line.startswith(".TE"):
                break
            if layout:
                tab = found[1] if (found := re.search(r"tab ?\((.)\)", line)) else tab
                layout = not line.rstrip().endswith(".")
            elif line.startswith(".T&"):
                layout = True
            elif line[:1] == "." and len(line) > 1:
                found = REQUEST.match(line)
                cell += " ".join(arguments(found[2])) + " " if found and found[1] in FONTS | IN_TURN else ""
            elif line.endswith("T{"):
                cell, inside = cell.rstrip(" ") + line[:-2].removeprefix("T}"), True
            elif inside and not line.startswith("T}"):
                cell += line + " "
            elif set(line) - set("_=" + tab):
                row = self.unescaped(cell.rstrip(" ") + line.removeprefix("T}")).split(tab)
                self.lines.append("\t".join(part.strip() for part in row))
                cell, inside = "", False
        self.paragraph()


def _named(name: str) -> str:
    """A character by its name, such as em or u2014; of others that are no name, nothing."""
    if found := re.fullmatch(r"u([0-9A-F]{4,6})(?:_([0-9A-F]{4,6}))?", name):
        return "".join(chr(int(code, 16)) for code in found.groups() if code and int(code, 16) < 0x110000)
    return CHARACTERS.get(name, "")


def _until(source: Iterator[str], end: str) -> list[str]:
    return list(itertools.takewhile(lambda line: not line.startswith((f".{end}", f"'{end}")), source))


def _expanded(line: str, found: list[str]) -> str:
    """A line of a macro with its arguments; of doubled backslashes one is left."""
    line = line.replace("\\\\", "\\")
    line = re.sub(r"\\\$([1-9])", lambda number: (found[int(number[1]) - 1 :] or [""])[0], line)
    return re.sub(r"\\\$[*@]", lambda _: " ".join(found), line)


def _block(rest: str, source: Iterator[str]) -> list[str]:
    r"""What a condition is about: the rest of its line, or all until its brace is closed, \{ ... \}."""
    if not rest.startswith("\\{"):
        return [rest]
    lines, depth, line = list[str](), 0, rest
    while True:
        depth += line.count("\\{") - line.count("\\}")
        lines.append(line)
        if depth <= 0 or (line := next(source, None)) is None:
            break
    lines[0] = lines[0].removeprefix("\\{")
    lines[-1] = lines[-1].replace("\\}", "")
    return [line for line in lines if line.strip(".' \t")]  # but not the line of the brace


def _title(page: Page, found: list[str]) -> None:
    if found:
        page.heading(f"{found[0]}({found[1]})" if len(found) > 1 else found[0])


def _indented(page: Page, by: int) -> None:
    page.flush()
    page.indent, page.body = max(0, page.indent + page.body + by), 0


def _out(page: Page, found: list[str]) -> None:
    page.flush()
    page.indent, page.body = max(0, page.indent - STEP), 0


def _tag_follows(page: Page, found: list[str]) -> None:
    page.paragraph()
    page.tag = True


def _another_tag(page: Page, found: list[str]) -> None:
    page.flush()
    page.tag = True


def _address(page: Page, found: list[str]) -> None:
    page.text(f"<{found[0]}>" if found else "")


def _synopsis(page: Page, found: list[str]) -> None:
    page.flush()
    page.text(" ".join(found))


MACROS: dict[str, Callable[[Page, list[str]], None]] = {
    "TH": _title,
    "SH": lambda page, found: page.heading(" ".join(found)),
    "SS": lambda page, found: page.heading(" ".join(found)),
    "TP": _tag_follows,
    "TQ": _another_tag,
    "IP": lambda page, found: page.tagged(found[0] if found else ""),
    "RS": lambda page, found: _indented(page, 0 if page.body else STEP),
    "RE": _out,
    "br": lambda page, found: page.flush(),
    "UR": _address,
    "MT": _address,
    "UE": lambda page, found: page.text("".join(found)) if found else None,
    "ME": lambda page, found: page.text("".join(found)) if found else None,
    "SY": _synopsis,
    "OP": lambda page, found: page.text(f"[{' '.join(found)}]"),
    "YS": lambda page, found: page.flush(),
    "nop": lambda page, found: page.text(" ".join(found)),
    "MR": lambda page, found: page.text("{}({}){}".format(*(*found, "", "", "")[:3])),
}
