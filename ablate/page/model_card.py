"""The card of a model that leaves: README.md of an exported folder.

    what it is   the question it was trained for, its size, what it read
    text         every domain: where it is from, how much of it, and licences where they are known
    scores       on held-out text, with intervals over the seeds of its arm where a study has several
    damage       of compressed weights: every metric at the start and now, with the interval over passages
    use          how it is loaded, and what it must not be used for

Only records are read. An interval says over what it is taken: the seeds of an arm, or the passages of one model.
"""

import importlib.metadata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ablate.run import lookup
from ablate.run.lineage import lineage, parent_of
from ablate.run.record import Record
from ablate.run.settings import Settings
from ablate.run.start import parse
from ablate.run.study_record import study_record
from ablate.scores.metrics import Scope, metric_of, readings
from ablate.verdict.passages import of_rows
from ablate.verdict.statistics.paired import interval

LEVEL = 0.05  # of intervals
STUDIES = 3  # whose scores are shown
GENERATED = ("qa", "chains")  # domains of generated questions
LIBRARY = {"hf": "transformers", "compressed-tensors": "transformers"}
USES = {
    "hf": "Loads with `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`.",
    "compressed-tensors": "The layout that vLLM reads, in which it was never run here.",
    "onnx": "Runs in ONNX Runtime: `onnx/`, one file for prompts and decoding.",
    "gguf": "Runs in llama.cpp and what is built on it: one file, with the tokenizer inside.",
    "safetensors": "`ablate.model.language.LanguageModel` under its own names; `config.yaml` holds all settings.",
}
# Licences that packages spell in several ways
SPELLED = {"MIT License": "MIT", "BSD License": "BSD", "3-Clause BSD License": "BSD-3-Clause"}
SPELLED |= dict.fromkeys(("Apache Software License", "Apache 2.0", "Apache 2.0 License"), "Apache-2.0")
SPELLED |= {"Python Software Foundation License": "PSF-2.0", "Dual License": "not known"}
NEVER = """\
- Nothing that it writes is known to be true. It must not inform a decision about health, law, money or a person.
- It was trained to compare settings with each other, not to be used: nobody tuned it to refuse, nor tested it for harm.
- It may repeat passages of its training text, whose licences still hold.
- It knows the languages and kinds of text in the table above, and no other."""


def card(record: Record, form: str, manifest: dict[str, Any], checked: Sequence[str]) -> str:
    """`manifest`: of the run's text; `checked`: what was found when the folder was read again."""
    settings, result = record.settings(), record.result() or {}
    front = ["---", f"library_name: {LIBRARY[form]}", "tags: [ablate]", "---", ""] if form in LIBRARY else []
    parts = [
        [f"# {record.id}", "", *_asked(settings), *_what(record, settings, result)],
        ["## Text", "", *_text(settings, manifest)],
        ["## Scores", "", *_scores(record, settings, result)],
        *([["## What compression cost", "", *_damage(record, settings, result)]] if "compressed" in result else []),
        ["## Use", "", *_usage(settings, form), *(f"- {words}" for words in checked)],
        ["## What it must not be used for", "", NEVER, *_limits(settings, manifest)],
    ]
    return "\n".join([*front, "\n\n".join("\n".join(part) for part in parts), ""])


def _asked(settings: Settings) -> list[str]:
    study, arm = settings.study, settings.where.arm
    return [f"Trained for: {study.question} (study `{study.name}`, arm `{arm}`)", ""] if study.question else []


def _what(record: Record, settings: Settings, result: dict[str, Any]) -> Iterator[str]:
    yield (
        f"Pattern {settings.model.pattern}, {result['parameters']:,} parameters, seed {settings.seed}; "
        f"{result['tokens']:,} tokens read, outcome: {result['outcome']}."
    )
    for link in lineage(record)[:-1]:
        read = f", {(link.record.result() or {})['tokens']:,} tokens" if link.record else ""
        yield f"It went on from {link.name}{read}."
    yield f"Text: fingerprint `{record.fingerprint[:16]}`, rows of up to {settings.data.span} tokens."


def _text(settings: Settings, manifest: dict[str, Any]) -> Iterator[str]:
    yield from ("| domain | from | documents | bytes | tokens |", "|---|---|---|---|---|")
    for domain, found in manifest["domains"].items():
        train = found["train"]
        sizes = " | ".join(f"{train[key]:,}" for key in ("documents", "bytes", "tokens"))
        yield f"| {domain} | {_origin(settings, domain)} | {sizes} |"
    yield ""
    yield from _licences(manifest)


def _origin(settings: Settings, domain: str) -> str:
    data = settings.data
    if data.source == "installed":
        return "generated questions" if domain in GENERATED else "Python and its packages"
    return data.sources.get(domain, f"{data.source}: {domain}")


def _licences(manifest: dict[str, Any]) -> Iterator[str]:
    """Of packages what they say themselves, where they are still here in the version that was read."""
    asked = manifest["request"]
    packages = asked.get("signature", {}).get("packages", {}) if asked["settings"]["source"] == "installed" else {}
    if not packages:
        yield "Licences of these documents are not known here: they are those of their sources."
        return
    found = Counter(_licence(name, version) for name, version in packages.items())
    yield "Licences, by packages: " + ", ".join(f"{name} ({count})" for name, count in found.most_common()) + "."
    yield "Python and its manual: PSF-2.0."


def _licence(package: str, version: str) -> str:
    try:
        said: Any = importlib.metadata.metadata(package)
    except importlib.metadata.PackageNotFoundError:
        return "not known"
    if said["Version"] != version:
        return "not known"
    classes = [one.split(" :: ")[-1] for one in said.get_all("Classifier", []) if one.startswith("License :: ")]
    expression = said.get("License-Expression") or said.get("License") or ""
    named = expression if 0 < len(expression) < 40 and "\n" not in expression else ", ".join(classes)
    return SPELLED.get(named, named) or "not known"


def _scores(record: Record, settings: Settings, result: dict[str, Any]) -> Iterator[str]:
    scope = Scope(settings.data.domains, settings.data.focus)
    arms = list(_arms(record))
    heads = "".join(f" {place.study}/{place.arm}, {len(runs)} seeds |" for place, runs in arms)
    yield f"| on held-out text | value | unit |{heads}"
    yield "|---|---|---|" + "---|" * len(arms)
    for name, value in readings(result, scope).items():
        cells = "".join(f" {_over(name, runs, scope)} |" for _, runs in arms)
        yield f"| {name} | {value:.4f} | {metric_of(name, scope.domains).unit} |{cells}"
    yield ""
    if arms:
        yield "Means over the seeds of the arm, with 95 % intervals. `ablate report` has the verdict of each study."
    else:
        yield "One run: how far another seed would lie from it is not known."


def _arms(record: Record) -> Iterator[tuple[lookup.Place, list[dict[str, Any]]]]:
    """Where studies use the run: the results of all seeds of that arm, where there are several."""
    outputs = record.folder.parents[1]
    for place in lookup.places(lookup.studies(outputs)).get(record.id, [])[:STUDIES]:
        runs = [run for arm, _, run in study_record(outputs, place.study).records() if arm == place.arm and run.done]
        if len(runs) > 1:
            yield place, [run.result() or {} for run in runs]


def _over(name: str, results: Sequence[dict[str, Any]], scope: Scope) -> str:
    values = [found[name] for result in results if name in (found := readings(result, scope))]
    if len(values) < 2:
        return ""
    low, high = interval(values, LEVEL)
    return f"{sum(values) / len(values):.4f} [{low:.4f}, {high:.4f}]"


def _damage(record: Record, settings: Settings, result: dict[str, Any]) -> Iterator[str]:
    made, scope = result["compressed"], Scope(settings.data.domains, settings.data.focus)
    yield (
        f"{settings.compress.to} by {settings.compress.method}: {made['bits']:.3g} bits a weight where compressed, "
        f"{made['file_bytes']:,} bytes in all, against {4 * result['parameters']:,} in float32."
    )
    start = parse(settings.start)
    parent = parent_of(record, start) if start else None
    if parent is None:
        yield "The record of its start is not here, so what it lost cannot be said."
        return
    before = parent.result() or {}
    yield from ("", "| on held-out text | before | now | change, 95 % over passages |", "|---|---|---|---|")
    for name, now in readings(result, scope).items():
        if (then := readings(before, scope).get(name)) is not None:
            change = _change(name, before, result, scope) or f"{now - then:+.4f}"
            yield f"| {name} | {then:.4f} | {now:.4f} | {change} |"
    yield from ("", "Intervals are over held-out passages, of this one model: another seed may lose more or less.")


def _change(name: str, before: dict[str, Any], now: dict[str, Any], scope: Scope) -> str:
    groups = metric_of(name, scope.domains).groups
    terms = [(1.0, now.get("validation", {})), (-1.0, before.get("validation", {}))]
    found = of_rows(terms, groups(scope)) if groups else None
    if found is None:
        return ""
    low, high = found.interval(1 - LEVEL)
    return f"{found.mean:+.4f} [{low:+.4f}, {high:+.4f}]"


def _usage(settings: Settings, form: str) -> Iterator[str]:
    yield USES[form]
    if form == "compressed-tensors" and settings.compress.symmetric:  # transformers 5.23 does not read packed zeros
        yield "Loads with transformers once `compressed-tensors` is installed."
    if form == "hf" and settings.model.linear == "ternary":
        yield "Loading ternary weights needs the package `accelerate`."
    if form == "safetensors" and settings.compress.to != "none":
        yield "`packed.safetensors`: the weights in few bits (`ablate.compress.packed`)."
    elif form == "safetensors" and settings.model.linear == "ternary":
        yield "`packed.safetensors`: ternary weights in 2 bits (`ablate.model.pack`)."
    yield "A text begins after the token that ends another: put it first. Nothing is put before a text by itself."


def _limits(settings: Settings, manifest: dict[str, Any]) -> Iterator[str]:
    yield f"- It has seen rows of up to {settings.data.span} tokens; what it makes of longer ones is not known."
    if not any(found["train"].get("chats") for found in manifest["domains"].values()):
        yield "- It was trained on no dialogues, so it follows no instructions."
    if settings.objective == "reward":
        yield "- It is a model of rewards: what it is worth is what it ranks, by the head beside it."
    if settings.compress.to != "none":
        yield "- What compression cost is known of the text above alone, and of no other language or task."
