"""Text of the installation: there, the same twice, free of docstrings where it should be, and of paths."""

import ast
import subprocess
import sys
import sysconfig

import pytest
from small import held  # pyrefly: ignore  # beside this file

from ablate.data.documents import capped, cleaned
from ablate.data.installed import DOMAINS, Installed, docstrings, stdlib_files, without_docstrings
from ablate.run.settings import Data, UserError

LIMIT = 300_000
MODULE = '''"""Module.
Two lines."""
import os

class A:
    """Only this."""

def f(x):  # kept
    """Doc
    of f."""
    return "not a docstring"

def g(): "on one line"

async def h():
    'single'; return 1
'''


@pytest.fixture(scope="module")
def documents():
    source = Installed(Data(domain_bytes=LIMIT))
    return {domain: list(capped(cleaned(source.documents(domain)), LIMIT)) for domain in DOMAINS}


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_has_text_and_can_be_split(documents, domain):
    found = documents[domain]
    assert LIMIT - 4 < sum(document.bytes for document in found) <= LIMIT
    sizes = dict[str, int]()
    for document in found:
        sizes[document.source] = sizes.get(document.source, 0) + document.bytes
    chosen = held(sizes, 0.05)
    # Of so little text a single source can be a few percent.
    assert 0.02 < sum(sizes[name] for name in chosen) / LIMIT < 0.1
    assert len(sizes) - len(chosen) > 5


@pytest.mark.parametrize("domain", DOMAINS)
def test_sources_name_no_place_of_this_machine(documents, domain):
    places = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()}
    for document in documents[domain]:
        assert ":" in document.source
        assert not any(place in document.source or place in document.text for place in places)


def test_another_process_reads_the_same():
    script = (
        "import hashlib, itertools\n"
        "from ablate.data.installed import DOMAINS\n"
        "for domain in DOMAINS.values():\n"
        "    print(hashlib.sha256(repr(list(itertools.islice(domain(), 40))).encode()).hexdigest())"
    )
    hashes = [subprocess.run([sys.executable, "-c", script], capture_output=True, check=True) for _ in range(2)]
    assert hashes[0].stdout == hashes[1].stdout
    assert len(hashes[0].stdout.split()) == len(DOMAINS)


def test_nothing_heavy_is_imported():
    script = (
        "import itertools, sys\n"
        "from ablate.data.installed import Installed, DOMAINS\n"
        "from ablate.run.settings import Data\n"
        "Installed(Data()).signature()\n"
        "for domain in DOMAINS.values(): list(itertools.islice(domain(), 20))\n"
        "print({'torch', 'scipy', 'pandas', 'matplotlib', 'networkx'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert result.stdout.strip() == "set()"


def test_docstrings_are_removed_and_code_still_parses():
    text = without_docstrings(MODULE)
    kept = ast.parse(text)
    assert "Module" not in text
    assert "Only this" not in text
    assert "Doc" not in text
    assert 'return "not a docstring"' in text
    assert "# kept" in text
    assert "return 1" in text
    assert [type(node).__name__ for node in kept.body] == [
        "Import",
        "ClassDef",
        "FunctionDef",
        "FunctionDef",
        "AsyncFunctionDef",
    ]


def test_the_standard_library_without_docstrings_is_the_same_program():
    files = stdlib_files()
    for name in sorted(files)[::20]:
        text = files[name].read_text(encoding="utf-8", errors="replace")
        kept = ast.parse(without_docstrings(text))
        assert docstrings(kept) == []
        assert _statements(kept) == _statements(ast.parse(text))


def test_text_that_does_not_parse_is_kept():
    assert without_docstrings("def f(:\n") == "def f(:\n"


def test_signature_is_of_the_installation_alone():
    assert Installed(Data()).signature() == Installed(Data(domains=["qa", "code"])).signature()
    assert Installed(Data()).signature()["packages"]["numpy"] != "none"


def test_unknown_domain():
    with pytest.raises(UserError, match=r"^data.domains: .*general, code, science, qa.*'poetry'$"):
        Installed(Data(domains=["qa", "poetry"]))


def _statements(tree: ast.Module) -> int:
    """Number of statements, without docstrings and the `pass` that may stand for one."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {id(node.body[0]) for node in ast.walk(tree) if isinstance(node, kinds) and ast.get_docstring(node)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and id(node) not in docs]
    return sum(not isinstance(node, ast.Pass) for node in found)
