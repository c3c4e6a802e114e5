"""One direction, no circles: who may import whom, read from the files themselves."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ANY = "any"

# A room or a command, and the rooms or modules of ablate that it may import: arrows run down only
COMMANDS = ["__main__", "train", "prepare", "report", "runs", "suggest", "power", "trunks", "export", "generate"]
COMMANDS += ["gate", "evaluate", "traces", "route", "speed", "replay", "compress.__main__"]
# Of the scores, what reads records: without torch
READ = ["scores.metrics", "scores.answers", "scores.items", "scores.readings"]
INSIDE = {
    "run": ["run"],
    "plan": [
        *("run.fields", "run.monitor", "run.optimizer", "run.parts", "run.identity", "run.settings", "run.steps"),
        "plan",
    ],
    "corpus": ["run", "corpus"],
    "data": ["run", "plan", "corpus", "data"],
    "model": ["run.settings", "run.parse", "model"],
    "scores": [
        "run",
        "model",
        "scores",
        "corpus.document",
        "data.heldout",
        "data.questions",
        "data.tokens",
        "data.windows",
    ],
    "compress": ["run.settings", "run.distill", "model", "scores.divergence", "compress"],
    "interchange": [
        *["run", "model", "compress", "scores", "interchange"],
        *["data.tokens", "data.tokenizer", "corpus.chat"],
    ],
    "fit": ["run", "plan", "corpus", "data", "model", "scores", "compress", "fit"],
    "verdict": ["run", *READ, "verdict"],
    "laws": ["run", *READ, "verdict", "laws"],
    "page": ["run", *READ, "verdict", "laws", "page", "corpus.report", "compress.forms"],
    "console": ["run", "console"],
    "sweep": [
        *["run", "plan", "verdict", "laws", "page", "console", "sweep"],
        *[
            "data.inserted",
            "data.tokens",
            "data.promised",
            "data.request",
            "corpus",
            "model.budget",
            "scores.metrics",
            "fit.run",
            "fit.basis",
            "fit.asking",
            "fit.answering",
            "fit.parents",
            "fit.teachers",
            "fit.saved",
            "fit.perplexity",
            "fit.parts",
            "fit.pace",
        ],
        "fit.mirror",
    ],
    **{command: [ANY] for command in COMMANDS},
}
# Parts of the verdict that stand apart from the records, and all that they may import of ablate
APART = {"verdict.statistics": ["verdict.statistics"]}
# A package that belongs to some files only, and those rooms or modules
OUTSIDE = {
    "hydra": ["console.compose", "sweep.launcher", "sweep.composition"],
    "lightning": ["fit"],
    "torch": [
        "fit",
        "model",
        "compress",
        "scores.loss",
        "scores.divergence",
        "scores.pairs",
        "scores.sampling",
        "scores.requests",
        "data.batches",
        "sweep",
        "interchange",
        "generate",
    ],
    "onnx": ["interchange"],
    "onnxscript": ["interchange"],
    "onnxruntime": ["interchange"],
    "gguf": ["interchange"],
    "xllamacpp": ["interchange"],
    "compressed_tensors": ["interchange"],
    "deepspeed": ["fit.parallel.zero"],
    "wandb": ["fit", "page.workspace"],
    "wandb_workspaces": ["page.workspace"],
    "matplotlib": ["page"],
    "rich": ["page", "sweep", *COMMANDS, "run.progress"],  # the last is the one bar of a run and of its text
    "jinja2": ["page.templates", "page.page", "page.book", "page.corpus", "corpus.chat"],
    "markupsafe": ["page"],
    "sklearn": ["laws.search", "laws.surrogate", "verdict.router"],  # its import takes a second
    "tokenizers": ["data"],
    "tiktoken": ["data.fast"],
    "datatrove": ["corpus.trove"],
    "lm_eval": ["scores.harness"],  # its import takes seconds
    "bitsandbytes": ["fit.eightbit"],  # its import takes a second
    "httpx": ["corpus.exchange"],
}
# The rooms that need nothing but these besides the standard library
ONLY = {"plan": {"numpy"}, "model": {"torch", "numpy", "transformers", "mamba_ssm", "causal_conv1d"}}


def name_of(path: Path) -> str:
    """sweep.launcher of ablate/sweep/launcher.py; the empty string of the package itself."""
    parts = path.relative_to(ROOT / "ablate").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted((ROOT / "ablate").rglob("*.py"))}


def imported(module: str, for_types: bool = True) -> set[str]:
    """Full names of all that a module imports, inside functions and by import_module too."""
    found = set()
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in (part for top in tree.body if for_types or not _is_for_types(top) for part in ast.walk(top)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "importlib.import_module":
            found |= {part.value for part in node.args if isinstance(part, ast.Constant)}
    return found


def _is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def inside(module: str, for_types: bool = True) -> set[str]:
    """The modules of ablate that a module imports; `from ablate.fit import run` is fit.run."""
    names = {name.removeprefix("ablate.") for name in imported(module, for_types) if name.split(".")[0] == "ablate"}
    return {name if name in MODULES else name.rpartition(".")[0] for name in names}


def outside(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported(module)} - {"ablate"}


def belongs(module: str, to: list[str]) -> bool:
    return any(part == ANY or module == part or module.startswith(part + ".") for part in to)


def room(module: str) -> str:
    return module.split(".")[0]


CODE = [module for module in MODULES if MODULES[module].name != "__init__.py"]


@pytest.mark.parametrize("module", CODE)
def test_imports_go_one_way(module):
    allowed = INSIDE.get(module, INSIDE[room(module)])  # a command may stand in a room
    wrong = {other for other in inside(module) if not belongs(other, allowed)}
    assert not wrong, f"{module} may import {allowed}"


@pytest.mark.parametrize("part", APART)
def test_parts_that_stand_apart_know_no_records(part):
    modules = [module for module in CODE if belongs(module, [part])]
    assert modules
    assert {other for module in modules for other in inside(module) if not belongs(other, APART[part])} == set()


@pytest.mark.parametrize("module", CODE)
def test_packages_stay_in_their_files(module):
    wrong = {package for package in outside(module) & OUTSIDE.keys() if not belongs(module, OUTSIDE[package])}
    assert not wrong, {package: OUTSIDE[package] for package in wrong}


@pytest.mark.parametrize("module", [module for module in CODE if room(module) in ONLY])
def test_small_rooms_need_little(module):
    assert outside(module) - sys.stdlib_module_names <= ONLY[room(module)]


def test_no_circles():
    graphlib.TopologicalSorter({module: inside(module, for_types=False) for module in CODE}).prepare()


def test_packages_are_empty():
    assert all(path.read_text() == "" for path in MODULES.values() if path.name == "__init__.py")


def test_every_folder_is_a_package():
    folders = {path.parent for path in MODULES.values()}
    assert all((folder / "__init__.py").exists() for folder in folders)


def test_reading_records_loads_neither_torch_nor_lightning_nor_hydra():
    names = [f"ablate.{module}" for module in CODE if room(module) in ("run", "verdict", "laws", "page")]
    heavy = "{'torch', 'lightning', 'hydra'}"
    code = f"import sys, {', '.join(names)}; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


HEAVY = {"torch", "lightning", "transformers", "scipy", "matplotlib", "submitit"}
TRAIN = ["-m", "ablate.train"]
STUDY = [*TRAIN, "-m", "study.name=s", "study.factor=[mixture]"]
# What ends before anything is trained, and what it says
LIGHT = {
    "import": (["-c", "import ablate.sweep.launcher"], ""),
    "--help": ([*TRAIN, "--help"], "usage: ablate train"),
    "unknown key": ([*TRAIN, "modle=llama"], "did you mean model?"),
    "wrong value": ([*TRAIN, "tokens=many"], "tokens=many: must be"),
    "wrong value in a study": ([*STUDY, "seed=0,1", "tokens=many"], "tokens=many: must be"),
    "arm outside the factor": ([*STUDY, "+study.arms.hot=['optimizer.lr=1']"], "study.arms.hot: differs outside"),
    "no such mixer": ([*TRAIN, "model.pattern=W"], "model.pattern='W': must be made of the letters A, L, M"),
    "no such shape": ([*TRAIN, "schedule.shape=square"], "schedule.shape=square: must be one of linear"),
    "no such source": ([*TRAIN, "data.source=x"], "data.source=x: must be one of installed, folder, hub"),
    "no such optimizer": ([*TRAIN, "optimizer.name=x"], "optimizer.name=x: must be one of adamw"),
    "no such mixer in an arm": ([*STUDY, "+study.arms.w=['model.pattern=W']"], "model.pattern='W'"),
    "new entry": ([*STUDY, "study.arms={hot: ['optimizer.lr=1']}"], "is added with +study.arms.<name>=..."),
    "no text": ([*STUDY, "data.source=folder", "data.root=nowhere"], "data.root=nowhere: must be a folder"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("command", "said"), LIGHT.values(), ids=LIGHT)
def test_help_and_mistakes_wait_for_nothing_that_only_training_needs(command, said):
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, cwd=ROOT)
    modules = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert said in done.stdout + done.stderr
    assert "ablate.run.settings" in modules
    assert {module.split(".")[0] for module in modules} & HEAVY == set()


def test_the_reader_of_imports_sees_them_all():
    assert {"plan.mixture", "plan.timeline", "plan.keyed"} <= inside("plan.order")
    assert {"numpy", "dataclasses"} <= outside("plan.order")
    assert {"fit.run", "sweep.claims"} <= inside("sweep.worker")
    assert "sweep.conduct" in inside("sweep.launcher")
    assert belongs("fit.run", INSIDE["sweep"])
    assert not belongs("fit.runner", INSIDE["sweep"])
    assert not belongs("data.batches", INSIDE["sweep"])


def test_no_two_files_of_tests_share_a_name():
    """pytest imports them by their names alone, and would refuse the second."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names))
