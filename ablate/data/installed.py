"""Text that comes with every installation: Python itself and the packages that this one needs.

    general   prose about software: the Python manual, docstrings of the standard library,
              descriptions of packages
    code      the standard library's source, docstrings removed (those are in `general`)
    science   docstrings of numpy, scipy and their kin: formulas, references, worked examples
    qa        generated questions with worked steps (`ablate.data.questions`)
    chains    such questions of one kind, which a tiny model can learn to answer

Nothing is imported, only read and parsed. Packages come from literal lists, so what else an
environment holds does not matter; a document names its file relative to the package, so neither
does the place of installation. Two installations with equal versions give equal text.
"""

import ast
import functools
import importlib.metadata
import importlib.util
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ablate.corpus import targets
from ablate.corpus.document import Document, order_key
from ablate.data.documents import capped
from ablate.data.questions import ALONE, TRAINED, alone, question
from ablate.run.settings import Data, SettingsError, UserError

RECIPE = 1  # raise it when this file or `questions` gives other text for the same installation

QA = "qa"
WORKED = (QA, *ALONE)  # domains of worked questions
SCIENCE = ("matplotlib", "networkx", "numpy", "pandas", "scipy")
DESCRIBED = tuple(
    """
    aiohttp anyio attrs charset-normalizer click contourpy datasets dill filelock fonttools frozenlist fsspec
    h11 httpx huggingface_hub hydra-core idna jinja2 kiwisolver lightning lightning-utilities markdown-it-py
    matplotlib mpmath multidict multiprocess networkx numpy omegaconf packaging pandas pillow platformdirs
    propcache protobuf pyarrow pydantic pygments pyparsing python-dateutil pyyaml regex requests rich
    safetensors scipy six sympy tokenizers torch torchmetrics tqdm transformers typer typing-extensions
    urllib3 wandb xxhash yarl
    """.split()  # noqa: SIM905
)

# Tests repeat themselves, codec tables are hardly text, and the manual's pages are in `general`.
SKIPPED = {"test", "tests", "idle_test", "encodings", "pydoc_data", "__pycache__"}
MIN_DOCSTRING = 100  # characters; shorter ones ("Return the size.") say too little to be a document
# Bytes kept of the large and the endless, without data.domain_bytes
ENOUGH = {"science": 8_000_000, QA: 4_000_000, "chains": 8_000_000}


class Installed:
    """The source `installed`."""

    def __init__(self, data: Data) -> None:
        for domain, name in data.names.items():
            if name not in DOMAINS:
                key = f"data.sources.{domain}" if domain in data.sources else "data.domains"
                raise UserError(f"{key}: installed text has {', '.join(DOMAINS)}; it has no {name!r}")
        self.targets, self.pairs = targets.named(data, lambda name: name in WORKED), data.pairs
        if self.pairs:
            for domain, name in data.names.items():
                if name not in WORKED:
                    have = f"of installed text {' and '.join(WORKED)} have pairs"
                    raise SettingsError(f"data.pairs=true: {domain} has none; {have}")
        self.limit_bytes = data.domain_bytes

    def documents(self, name: str) -> Iterator[Document]:
        found = DOMAINS[name]()
        found = found if self.limit_bytes else capped(found, ENOUGH.get(name, 0))
        if self.pairs:
            return _pairs(found, self.targets.get(name, targets.WHOLE))
        return _worked(found, self.targets[name]) if name in self.targets else found

    def signature(self) -> dict[str, Any]:
        versions = {name: _version(name) for name in sorted({*SCIENCE, *DESCRIBED})}
        return {"recipe": RECIPE, "python": sys.version.split()[0], "packages": versions}


def general() -> Iterator[Document]:
    """Manual pages, package descriptions and stdlib docstrings, well mixed."""
    pieces: dict[str, Callable[[], list[str]]] = {}
    for name, path in stdlib_files().items():
        pieces[name] = partial(_docstrings_of, path)
    for topic, text in _manual().items():
        pieces[f"manual:{topic}"] = partial(list, [text])
    for package in DESCRIBED:
        pieces[f"{package}:description"] = partial(_description, package)
    for name in sorted(pieces, key=order_key):
        yield from (Document(text, name) for text in pieces[name]())


def code() -> Iterator[Document]:
    """Modules of the standard library without their docstrings."""
    files = stdlib_files()
    for name in sorted(files, key=order_key):
        text = files[name].read_text(encoding="utf-8", errors="replace")
        yield Document(without_docstrings(text), name)


def science() -> Iterator[Document]:
    """Docstrings of the scientific packages, one document each."""
    files: dict[str, Path] = {}
    for package in SCIENCE:
        files |= _files(package, _folder(package))
    for name in sorted(files, key=order_key):
        yield from (Document(text, name) for text in _docstrings_of(files[name]))


def qa() -> Iterator[Document]:
    """Generated questions, a hundred gigabytes of them; each is a source of its own."""
    for index in range(TRAINED):
        asked = question(index)
        yield Document(asked.text, f"questions:{asked.kind}/{index}")


def of_kind(kind: str) -> Iterator[Document]:
    """Generated questions of a kind alone; none comes twice."""
    seen = set[str]()
    for index in range(TRAINED):
        asked = alone(kind, index)
        if asked.asked not in seen:
            seen.add(asked.asked)
            yield Document(asked.text, f"questions:{kind}/{index}")


def _worked(documents: Iterator[Document], target: str) -> Iterator[Document]:
    """The same questions, with a part that counts: as many of them, whatever of them is told."""
    return (targets.document(target, worked, source) for worked, source in _questions(documents))


def _pairs(documents: Iterator[Document], target: str) -> Iterator[Document]:
    """The same questions, those with arithmetic that the answer comes of: what is right beside what has a slip."""
    found = (targets.pair(target, worked, source) for worked, source in _questions(documents))
    return (pair for pair in found if pair)


def _questions(documents: Iterator[Document]) -> Iterator[tuple[targets.Worked, str]]:
    for one in documents:
        kind, _, number = one.source.removeprefix("questions:").partition("/")
        asked = alone(kind, int(number)) if kind in ALONE else question(int(number))
        yield targets.Worked(asked.asked, asked.steps, asked.answer), one.source


DOMAINS: dict[str, Callable[[], Iterator[Document]]] = {
    "general": general,
    "code": code,
    "science": science,
    QA: qa,
    **{kind: partial(of_kind, kind) for kind in ALONE},
}


def docstrings(tree: ast.Module) -> list[str]:
    """Every docstring of a module that is long enough to stand alone, in order of appearance."""
    found = []
    for node in _documented(tree):
        text = ast.get_docstring(node)
        if text is not None and len(text) >= MIN_DOCSTRING:
            found.append(text)
    return found


def without_docstrings(text: str) -> str:
    """Python source without the lines of its docstrings; it still parses. Text that does not parse is unchanged."""
    lines: list[str | None] = list(text.split("\n"))
    for node in _documented(_parse(text)):
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and ast.get_docstring(node, clean=False) is not None:
            start, end = first.lineno - 1, first.end_lineno or first.lineno
            if _alone(first, lines[start] or "", lines[end - 1] or ""):
                # A body needs a statement. Marks instead of deletions keep the other line numbers valid.
                kept = " " * first.col_offset + "pass" if len(node.body) == 1 else None
                lines[start:end] = [kept] + [None] * (end - start - 1)
    return "\n".join(line for line in lines if line is not None)


def _alone(statement: ast.Expr, first_line: str, last_line: str) -> bool:
    """Whether no other code shares the lines of a statement."""
    after = last_line.encode()[statement.end_col_offset :].strip()
    return not first_line[: statement.col_offset].strip() and after[:1] in (b"", b"#")


def stdlib_files() -> dict[str, Path]:
    """Python files of the standard library by name, such as "stdlib:json/decoder.py"."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    # Other things lie there too: site-packages, build settings with the paths of one machine.
    tops = [path for path in folder.iterdir() if path.name.removesuffix(".py") in sys.stdlib_module_names]
    modules = {f"stdlib:{path.name}": path for path in tops if path.suffix == ".py"}
    for top in tops:
        modules |= _files("stdlib", top, inside=f"{top.name}/") if top.is_dir() else {}
    return modules


def _files(package: str, folder: Path | None, inside: str = "") -> dict[str, Path]:
    """Python files below `folder`, by names such as "numpy:linalg/_linalg.py"."""
    if folder is None:
        return {}
    inner = {path: inside + path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}
    return {f"{package}:{name}": path for path, name in inner.items() if not SKIPPED & set(name.split("/"))}


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)  # finds a package of the top level without importing it
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


def _documented(tree: ast.Module) -> list[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def _docstrings_of(path: Path) -> list[str]:
    return docstrings(_parse(path.read_text(encoding="utf-8", errors="replace")))


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's escape sequences
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError):  # written for another Python version
            return ast.Module(body=[], type_ignores=[])


def _manual() -> dict[str, str]:
    from pydoc_data.topics import topics  # data only, half a megabyte

    return topics


def _description(package: str) -> list[str]:
    try:
        return [str(importlib.metadata.metadata(package).json.get("description", ""))]
    except importlib.metadata.PackageNotFoundError:
        return []


@functools.cache  # reads the package's whole description each time
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
