"""What one run will cost, before it is spent: without text, so that a published system can be planned anywhere."""

from pathlib import Path

from rich.console import Console

from ablate.fit import pace
from ablate.model import budget
from ablate.page import tables
from ablate.page.drawing import picture
from ablate.plan.timeline import timeline
from ablate.run.settings import Settings
from ablate.run.start import NONE
from ablate.sweep.resources import by_strategy, duration, memory_text, price
from ablate.sweep.tracks import stride, track

UNTRAINED = "nothing is trained: the weights of the start are scored"


def preview_run(settings: Settings, console: Console | None = None) -> None:
    """Print what one run is and costs."""
    line, cost, where = timeline(settings), budget.of(settings), settings.where
    flops = float(line.flops(cost.training_flops)[-1])
    rows = {
        "model": f"{cost.parameters:,} parameters, {cost.embedding:,} of them embeddings; width {cost.size.width}, "
        f"depth {cost.size.depth}, hidden {cost.size.hidden}, layers {settings.model.pattern}",
        "training": f"{line.tokens[-1]:,} tokens in {len(line):,} steps; {flops:.2e} FLOPs",
        "start": settings.start if settings.start != NONE else f"weights drawn from seed {settings.seed}",
        **({"teacher": settings.distill.teacher} if settings.distill.teacher != NONE else {}),
        **({"reference": _asked_once(cost)} if settings.objective == "preference" else {}),
        "text": f"{', '.join(settings.data.domains)} ({settings.data.source}); not looked at",
        "memory": "\n".join([f"{memory_text(settings)} in a step, beside what Python takes", *by_strategy(settings)]),
    }
    if len(line):
        speed, source = pace.predicted(line)
        devices = where.devices * where.nodes
        on = f"{devices} {'devices' if devices > 1 else 'device'} ({source})"
        rows["time"] = f"about {duration(flops / speed)} on {on}, evaluations not counted"
        if where.price:
            rows["cost"] = f"{flops / speed / 3600 * devices:,.3g} device hours{price(where, flops / speed)}"
        path = picture.write(
            {"run": track(line, stride([settings]))}, settings.data.domains, Path(where.outputs) / "plan.png"
        )
        rows["timeline"] = str(path)
    else:
        rows["time"] = UNTRAINED
    (console or Console(highlight=False)).print(tables.facts(rows.items()))


def _asked_once(cost: budget.Budget) -> str:
    [(span, flops)] = cost.forward_flops.items()
    return f"the start reads every pair once before the first step: {span * flops:.2e} FLOPs a pair beside the training"
