"""The card of a model that leaves: README.md of its folder."""

from ablate.run.record import Record
from ablate.run.settings import Settings
from ablate.scores.metrics import Scope, metric_of, readings


def card(record: Record, form: str) -> str:
    """What the model is, in a few lines: what was asked, what it read, how good it became."""
    settings, result = record.settings(), record.result() or {}
    study, arm = settings.study, settings.where.arm
    asked = [f"Trained for: {study.question} (study `{study.name}`, arm `{arm}`)"] if study.question else []
    scope = Scope(settings.data.domains, settings.data.focus)
    scores = [f"| {n} | {v:.4f} | {metric_of(n, scope.domains).unit} |" for n, v in readings(result, scope).items()]
    lines = [
        f"# {record.id}",
        "",
        *asked,
        f"Pattern {settings.model.pattern}, {result['parameters']:,} parameters, seed {settings.seed}; "
        f"{result['tokens']:,} tokens read, outcome: {result['outcome']}.",
        f"Text: fingerprint `{record.environment()['data'][:16]}`, rows of up to {settings.data.span} tokens.",
        "",
        *["| on held-out text | value | unit |", "|---|---|---|", *scores, ""],
        *_usage(settings, form),
    ]
    return "\n".join(lines) + "\n"


def _usage(settings: Settings, form: str) -> list[str]:
    if form == "safetensors":
        files = ["`ablate.model.language.LanguageModel` under its own names; `config.yaml` holds all settings."]
        packed = ["`packed.safetensors`: ternary weights in 2 bits (`ablate.model.pack`)."]
        return files + (packed if settings.model.linear == "ternary" else [])
    if form == "onnx":
        return ["Runs in ONNX Runtime: `onnx/`, one file for prompts and decoding."]
    accelerate = (
        ["Loading ternary weights needs the package `accelerate`."] if settings.model.linear == "ternary" else []
    )
    return ["Loads with `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained`.", *accelerate]
