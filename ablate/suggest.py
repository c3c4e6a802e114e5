"""Command: from a finished study of mixtures, the best mixture by its runs, and what to train next.

A prediction decides where to spend, never what is true: only trained runs do, so the suggested arms are a study of
their own, with the predicted best among them. Records are only read.
"""

import dataclasses
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from ablate.console.errors import command
from ablate.console.words import Parser
from ablate.laws.proposal import CLOSE, LEVEL, best, doubt, gain, next_runs
from ablate.laws.surrogate import Surrogate, estimate
from ablate.laws.swarm import MixtureStudy, read_study
from ablate.page import tables
from ablate.run.files import make_folder, write_atomically
from ablate.run.settings import UserError
from ablate.verdict.book import study_named
from ablate.verdict.evidence import Evidence, read

CONF = Path(str(files("ablate") / "conf"))
WHAT = "Predict the best mixture from the runs of a study, and say which runs to train next."
EXAMPLES = """\
  ablate suggest davinci_sweep                    the best, and the next runs
  ablate suggest davinci_sweep --write next       and conf/experiment/next.yaml
  ablate suggest davinci_sweep --write next --config-dir my"""
Z = 1.96  # standard deviations that a mixture may lie behind the best, and count as good
ASKED, DISTINCT = 6, 0.03  # mixtures considered; weights that must differ by more, in one domain at least
NAME = re.compile(r"[A-Za-z0-9][\w-]*")
NEW_STUDY = ("name", "question", "hypothesis", "base", "factor", "arms", "grid", "seeds", "metric", "margin")


@dataclass(frozen=True)
class Suggestion:
    """mixture: predicted best, domains; doubt: least and most of each weight, 2 x domains; gain: over the base
    as the fresh seeds will measure it, and its interval, in the units of the metric; following: mixtures to train
    next, the predicted best first; seeds: fresh ones, that no run of the study had."""

    study: MixtureStudy
    found: Surrogate
    mixture: np.ndarray
    doubt: np.ndarray
    gain: tuple[float, float, float]
    following: np.ndarray
    seeds: list[int]


@command
def main(arguments: list[str] | None = None) -> None:
    options = _parser().read(arguments)
    console = Console(highlight=False)
    if options.runs < 1:
        raise UserError(f"--runs {options.runs}: must be at least 1")
    evidence = read(study_named(options.outputs, options.name))
    suggestion = suggest(evidence, options.runs)
    show(evidence, suggestion, console)
    if options.write:
        path = write_experiment(evidence, suggestion, options.write, folder(options.config_dir))
        own = f"--config-dir {options.config_dir} " if options.config_dir else ""
        console.print(f"\nwritten  {path}", soft_wrap=True)
        console.print(f"train    ablate train {own}+experiment={options.write} -m", soft_wrap=True)
    if options.figure:
        from ablate.page.drawing import surfaces  # matplotlib is slow to import, the table should not wait

        console.print(f"\nfigure   {surfaces.write(suggestion.found, suggestion.mixture, options.figure)}")


def folder(own: str | None) -> Path:
    """Where a study is written: the user's own --config-dir, or the clone's conf/. Raises UserError without either."""
    if not own and not CONF.is_symlink():
        raise UserError("--write: this ablate is installed, not a clone; give --config-dir, a folder of your own")
    return Path(own or CONF) / "experiment"


def suggest(evidence: Evidence, runs: int) -> Suggestion:
    """Ask the surrogate of what has finished; the same records give the same answer. Raises UserError."""
    study, rng = read_study(evidence), np.random.default_rng(0)
    found = estimate(study.swarm)
    mixture, seeds = best(found, rng), _fresh_seeds(evidence)
    following = _worth_training(found, np.concatenate([mixture[None], next_runs(found, ASKED, rng)]))[:runs]
    region = doubt(found, mixture, _within(study, found, mixture), rng)
    predicted = gain(found, mixture, study.noise, len(seeds))
    return Suggestion(study, found, mixture, region, predicted, following, seeds)


def _fresh_seeds(evidence: Evidence) -> list[int]:
    """As many as the study has, beyond every seed of its runs: runs that chose a mixture cannot confirm it."""
    declared = evidence.declaration
    runs = {**declared["runs"], **declared.get("control_runs", {})}
    first = 1 + max(int(seed) for by_seed in (*runs.values(), declared["seeds"]) for seed in by_seed)
    return list(range(first, first + len(declared["seeds"])))


def _worth_training(found: Surrogate, asked: np.ndarray) -> np.ndarray:
    """Those that differ, and are expected to be no worse than half of the runs there are."""
    kept, worst = [asked[0]], float(np.median(found.swarm.metric))
    for mixture, expected in zip(asked[1:], found.metric(asked[1:])[0], strict=True):
        if expected <= worst and all(np.abs(mixture - other).max() > DISTINCT for other in kept):
            kept.append(mixture)
    return np.array(kept)


def _within(study: MixtureStudy, found: Surrogate, mixture: np.ndarray) -> float:
    """How far above the best a mixture may be predicted and still be as good: what runs and model leave open."""
    of_runs = study.noise.sd**2 / study.seeds if study.noise else 0.0
    return Z * float(np.sqrt(of_runs + found.metric(mixture[None])[1][0] ** 2))


def show(evidence: Evidence, suggestion: Suggestion, console: Console) -> None:
    """Print the prediction, what it rests on, and the next runs."""
    study, metric = suggestion.study, evidence.metric
    console.print(f"[bold]{evidence.study.name}[/]  {evidence.declaration['question']}\n")
    console.print(_table(suggestion, evidence.base))
    gain, low, high = suggestion.gain
    text = f"{gain:+.4f} {metric.unit} ({metric.name}) [{low:+.4f}, {high:+.4f}]"
    fresh = f"{len(suggestion.seeds)} fresh seed{'s' if len(suggestion.seeds) > 1 else ''}"
    console.print(f"\n[bold]Predicted gain over {evidence.base}: {text}[/]")
    console.print(f"as {fresh} will measure it, {100 * LEVEL:.0f} %; the noise of a run is in it")
    if low <= 0:
        console.print("The interval holds 0: no mixture is predicted to be better for certain.")
    for number, mixture in enumerate(suggestion.following, 1):
        for arm, weights in zip(study.arms, study.swarm.weights, strict=True):
            if np.abs(weights - mixture).max() < CLOSE:
                console.print(f"next {number} is the arm {arm}: only fresh seeds can confirm it")
    noise = f"{study.noise.sd:.4f}" if study.noise else "unknown with one seed"
    parts = ", ".join(f"{d} {s:.0%}" for d, s in zip(evidence.domains, suggestion.found.of_laws, strict=True))
    console.print(
        f"\n{len(study.arms)} mixtures, {study.seeds:g} seeds each; noise of one run {noise}; laws' part: {parts}"
    )
    for line in study.remarks():
        console.print(line, markup=False)


def _table(suggestion: Suggestion, base: str) -> Table:
    """One row a domain: the base, the best and its doubt, and the next runs."""
    study = suggestion.study
    following = [f">next {i + 1}" for i in range(len(suggestion.following))]
    shown = tables.table("weight", f">{base}", ">best", ">as good within noise", *following)
    free = 1 - sum(study.fixed.values())
    columns = [study.full(row) for row in (study.swarm.weights[0], suggestion.mixture, *suggestion.following)]
    for k, domain in enumerate(study.swarm.domains):
        low, high = suggestion.doubt[:, k] * free
        start, top, *others = (column[domain] for column in columns)
        shown.add_row(domain, f"{start:.3f}", f"{top:.3f}", f"{low:.3f} to {high:.3f}", *(f"{o:.3f}" for o in others))
    means = suggestion.found.metric(np.stack([study.swarm.weights[0], suggestion.mixture, *suggestion.following]))[0]
    start, top, *others = (f"{mean:.4f}" for mean in means)
    shown.add_row("predicted", start, top, "", *others, style="bold")
    return shown


def write_experiment(evidence: Evidence, suggestion: Suggestion, name: str, folder: Path) -> Path:
    """A study of the suggested mixtures against the same base, as the file of an experiment. Raises UserError."""
    path = folder / f"{name}.yaml"
    if not NAME.fullmatch(name):
        raise UserError(f"--write {name}: must be a name of letters, digits, _ and -")
    if path.exists():
        raise UserError(f"--write {name}: {path} exists; choose another name")
    settings, stage = _base_settings(evidence), suggestion.study.stage
    arms = {
        f"next_{i + 1}": [_override(settings, stage, suggestion.study.full(mixture))]
        for i, mixture in enumerate(suggestion.following)
    }
    declared = {key: value for key, value in evidence.declaration.items() if key in NEW_STUDY}
    before = evidence.study.name
    study = declared | {
        "name": name,
        "question": f"Is a mixture that {before} predicts to be good better than its base?",
        "hypothesis": "next_1 gains {:.4f} [{:.4f}, {:.4f}] over the base.".format(*suggestion.gain),
        "seeds": suggestion.seeds,
        "factor": ["mixture"],
        "arms": arms,
        "grid": {},
    }
    text = yaml.safe_dump({**settings, "study": study}, sort_keys=False, width=110, allow_unicode=True)
    make_folder(folder)
    write_atomically(path, f"# @package _global_\n# Suggested by ablate suggest {before}\n{text}")
    return path


def _base_settings(evidence: Evidence) -> dict:
    """All that the base's runs are, without where and which seed, and with a weight for every domain: an override
    changes weights that are there, it adds none."""
    record = next(iter(evidence.by_arm[evidence.base].values())).record
    if not record.configured:
        raise UserError(f"--write needs the records of {evidence.study.name}: there is no {record.folder}/config.yaml")
    settings = record.settings()
    found = json.loads(json.dumps(dataclasses.asdict(settings)))
    mixture, nothing = found["mixture"], dict.fromkeys(settings.data.domains, 0.0)
    first = settings.mixture_stages[0][1] if mixture["share"] is not None else mixture["weights"]
    mixture |= {"share": None, "weights": nothing | first if first else dict.fromkeys(nothing, 1.0)}
    for stage in mixture["stages"].values():
        stage["weights"] = nothing | stage["weights"]
    return {key: value for key, value in found.items() if key not in ("where", "study", "seed")}


def _override(settings: dict, stage: str, weights: dict[str, float]) -> str:
    """What changes the weights of that stage, and nothing else."""
    value = "{" + ", ".join(f"{domain}: {weight:g}" for domain, weight in weights.items()) + "}"
    if stage == "0":
        return f"mixture.weights={value}"
    name = next(name for name, one in settings["mixture"]["stages"].items() if f"{one['start']:.12g}" == stage)
    return f"mixture.stages.{name}.weights={value}"


def _parser() -> Parser:
    parser = Parser("suggest", WHAT, EXAMPLES)
    parser.add_argument("name", metavar="STUDY", help="name of the study, or its folder in the lab book")
    parser.add_argument("--runs", type=int, default=4, help="mixtures to suggest (default: %(default)s)")
    parser.add_argument("--write", metavar="NAME", help="write them as the study experiment/NAME.yaml")
    parser.add_argument("--config-dir", metavar="DIR", help="where to write it (default: conf)")
    parser.add_figure("where to draw the prediction")
    return parser


if __name__ == "__main__":
    main()
