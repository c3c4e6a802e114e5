"""Manual pages as text, by hand and against groff where it is installed."""

import gzip
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.corpus.roff import MACROS, plain

PAGES = sorted(Path("/usr/share/man").glob("man[1-8]/*.gz"))

PAGE = r""".\" A comment
.TH LS 1 "2026-01-01" "GNU coreutils" "User Commands"
.SH NAME
ls \- list directory contents
.SH SYNOPSIS
.B ls
[\fI\,OPTION\/\fR]...
.SH "DESCRIPTION OF ALL"
.PP
One line
of a paragraph, \(lqquoted\(rq and caf\['e] \[u2014] \(*a.
.TP
\fB\-a\fR, \fB\-\-all\fR
do not ignore
entries
.TP
.BR \-b ", " \-\-escape
C\-style
.RS
.IP \(bu 2
first
.IP
second
.RE
.nf
  kept   as
it is
.fi
.if t .B not on paper
.ie n \{\
.ds T terminal
.B on a \*T
.\}
.el \{\
.B nowhere
.\}
.so man1/other.1
"""
TEXT = """\
LS(1)

NAME

ls - list directory contents

SYNOPSIS

ls [OPTION]...

DESCRIPTION OF ALL

One line of a paragraph, “quoted” and café — α.

-a, --all
    do not ignore entries

-b, --escape
    C-style

        • first

        second
  kept   as
it is
on a terminal"""


def test_a_page_with_the_macros_of_man():
    assert plain(PAGE).split("\n")[:22] == TEXT.split("\n")[:22]
    assert plain(PAGE) == TEXT


def test_a_page_with_the_macros_of_mdoc():
    page = r""".Dd January 1, 2026
.Dt CAT 1
.Os
.Sh NAME
.Nm cat
.Nd join files
.Sh SYNOPSIS
.Nm
.Op Fl be
.Op Fl n Ar count
.Op Ar
.Sh DESCRIPTION
The
.Nm
utility (see
.Xr ls 1 ,
.Fn open path flags )
is
.Dq quoted .
.Bl -tag -width x
.It Fl b Ar x
Number
.Em lines .
.It Xo
.Fl c
.Xc
.El
.Bd -literal
$ cat  a
.Ed
"""
    text = plain(page)
    assert "CAT(1)\n\nNAME\n\ncat - join files\n\nSYNOPSIS\n\ncat [-b -e]".replace("-b -e", "-be") in text
    assert "cat [-be] [-n count] [file ...]" in text
    assert "The cat utility (see ls(1), open(path, flags)) is “quoted”." in text
    assert "-b x\n    Number lines." in text
    assert "\n$ cat  a" in text.replace("    $", "$")


def test_a_table_and_macros_of_the_page():
    page = ".de ZZ\n.B \\\\$1 and \\\\$2\n..\n.ZZ one two\n.TS\n"
    page += "tab(;) allbox;\nl l\nl l.\na;b\n_\nT{\nlong\ncell\nT};T{\nx\nT}\n.TE\nend\n"
    assert plain(page) == "one and two\n\na\tb\nlong cell\tx\n\nend"


@pytest.mark.parametrize(
    "escape",
    [r"\fB", r"\f(CW", r"\f[BI]", r"\s+2", r"\s-1", r"\s(12", r"\&", r"\|", r"\m[red]", r"\h'1i'", r"\%", r"\/"],
)
def test_what_only_looks_different_goes(escape):
    assert plain(f"a{escape}b") == "ab"


@pytest.mark.parametrize(
    ("escape", "character"),
    [
        (r"\(em", "—"),
        (r"\[!=]", "≠"),
        (r"\(<=", "≤"),
        (r"\(==", "≡"),
        (r"\(eq", "="),
        (r"\[u00E9]", "é"),
        (r"\[u0041_0301]", "A\u0301"),
        (r"\e", "\\"),
        (r"\N'65'", "A"),
    ],
)
def test_characters_by_name(escape, character):
    assert plain(f"a{escape}b") == f"a{character}b"


@pytest.mark.parametrize(
    ("line", "text"),
    [(".Em the .login file", "the .login file"), (".Op Ar file ...", "[file ...]"), (".Xr ls 1 , .", "ls(1),.")],
)
def test_words_that_begin_with_a_mark_are_words(line, text):
    assert plain(line) == text


@given(st.text(st.sampled_from("ab .'\\\n\"{}()[]*fsnieltdTSHPRE0$-")))
def test_any_text_is_read_to_its_end(text):
    plain(text)


@given(
    st.lists(
        st.sampled_from(
            [
                ".de x",
                ".x",
                "..",
                ".if n \\{",
                ".\\}",
                ".el \\{\\",
                ".TS",
                ".TE",
                "l.",
                "T{",
                "T}",
                "word",
                ".ig",
                *("." + name for name in MACROS),
            ]
        )
    )
)
def test_any_order_of_requests_is_read_to_its_end(lines):
    plain("\n".join(lines))


@pytest.mark.slow
@pytest.mark.skipif(not PAGES or not shutil.which("groff"), reason="needs manual pages and groff")
def test_the_words_of_installed_pages_are_those_of_groff():
    words = {"ours": Counter(), "groff": Counter(), "both": Counter()}
    for path in PAGES[:: len(PAGES) // 40]:
        page = gzip.decompress(path.read_bytes()).decode(errors="replace")
        command = ["groff", "-t", "-mandoc", "-Tutf8", "-P-cbou", "-rHY=0", "-rLL=500n", "-Kutf8"]
        shown = subprocess.run(command, input=page.encode(), capture_output=True, check=False).stdout.decode()
        inside = "\n".join(shown.replace("\u2010", "-").strip().split("\n")[1:-1])  # without header and footer
        ours, theirs = (Counter(re.findall(r"[^\W_]+", text)) for text in (plain(page), inside))
        words["ours"] += ours
        words["groff"] += theirs
        words["both"] += ours & theirs
    assert words["both"].total() > 0.99 * words["groff"].total()
    assert words["both"].total() > 0.98 * words["ours"].total()
