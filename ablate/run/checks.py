"""What settings must be besides well-typed: ranges that depend on one another.

Every check raises SettingsError with one line that names the key, the value and what is allowed.
"""

import string
from itertools import pairwise

from ablate.run import adapt, questions, rungs, skips
from ablate.run.compress import NONE, Compress
from ablate.run.distill import Distill
from ablate.run.fields import SEEDS, Mark, Weights, find
from ablate.run.monitor import Monitor
from ablate.run.names import clash
from ablate.run.optimizer import Optimizer
from ablate.run.settings import Schedule, ScheduleStage, Settings, Size, require
from ablate.run.start import parse, teacher_of
from ablate.run.steps import ramp_steps, steps_of
from ablate.run.trouble import Trouble

MOST_STEPS = 2**24  # of a run, whose plan is made as a whole: 4 * 10^12 tokens in steps of 2^18
LEAST_RATE = 1e-9  # weights are about 0.01, and float32 has 7 digits
LEAST_CLIP = 1e-6
COMMAND = {"run", "quoted", "file", "id", "name"}  # parts of where.command (`sweep.executors.command`)


def check(settings: Settings) -> None:
    """Raises SettingsError for the first thing that cannot be run."""
    parse(settings.start)
    _check_distill(settings)
    _check_untrained(settings)
    _check_compress(settings)
    if settings.tokens:
        _check_ramp(settings)
        _check_learns(settings.optimizer)
        _check_schedule(settings)
    _check_size(settings.size)
    _check_length(settings)
    _check_pairs(settings)
    _check_mixture(settings)
    adapt.check(settings)
    if settings.tokens:
        _check_techniques(settings)
        _check_averaging(settings)
        _check_keep(settings)
    _check_monitor(settings)
    skips.check(settings)
    _check_trouble(settings)
    questions.check(settings)
    _check_clipping(settings)
    _check_devices(settings)
    _check_command(settings)
    _check_seeds(settings)
    _check_budget(settings)
    rungs.check(settings.study.ladder)


def _check_distill(s: Settings) -> None:
    """A teacher where one teaches, and nothing said of it that does nothing."""
    asked, teacher, usual = s.distill, teacher_of(s), vars(Distill())
    if s.objective != "distill":
        for name, value in vars(asked).items():
            allowed = f"left out with objective={s.objective}, which has no teacher"
            require(value == usual[name], f"distill.{name}", value, allowed)
        return
    allowed = "run:<id of a finished run>, folder:<folder of transformers> or phase:<one before> with objective=distill"
    require(teacher is not None, "distill.teacher", asked.teacher, allowed)
    mixes = asked.kind == "jensen_shannon" or asked.beta == usual["beta"]
    require(mixes, "distill.beta", asked.beta, f"left out with distill.kind={asked.kind}; jensen_shannon has it")
    top_k, most = asked.top_k, s.data.vocabulary
    require(top_k < most, "distill.top_k", top_k, f"below data.vocabulary={most}, or 0 for all")
    allowed = "0 with distill.kind=reverse: what the teacher never says would be infinitely far from it"
    require(asked.kind != "reverse" or top_k == 0, "distill.top_k", top_k, allowed)


def _check_untrained(s: Settings) -> None:
    """A run of no steps has one process; moments of such a run are looked at by nobody."""
    if not s.tokens:
        require(s.where.strategy == "single", "where.strategy", s.where.strategy, "single with tokens=0")
        plain = s.objective in ("next_token", "answers")
        require(plain, "objective", s.objective, "next_token or answers with tokens=0")


def _check_compress(s: Settings) -> None:
    """Weights are made smaller by runs that train nothing, and nothing is said of it that does nothing."""
    asked, usual = s.compress, vars(Compress())
    if asked.to != NONE:
        return require(s.tokens == 0, "tokens", s.tokens, f"0 with compress.to={asked.to}, which trains nothing")
    for name, value in vars(asked).items():
        require(value == usual[name], f"compress.{name}", value, f"left out with compress.to={NONE}")


def _check_ramp(s: Settings) -> None:
    multiples, starts = s.ramp.multiples, s.ramp.starts
    require(len(multiples) > 0, "ramp.multiples", multiples, "at least one multiple")
    require(len(starts) == len(multiples), "ramp.starts", starts, f"as many as ramp.multiples={multiples}")
    require(starts[0] == 0, "ramp.starts", starts, "0 first")
    require(
        s.tokens >= s.step_tokens * multiples[0],
        "tokens",
        s.tokens,
        f"at least one step of step_tokens={s.step_tokens}",
    )
    most = MOST_STEPS * s.step_tokens * multiples[-1]
    require(s.tokens <= most, "tokens", s.tokens, f"at most {most:,}, {MOST_STEPS:,} steps of the last batch")
    steps = ramp_steps(multiples, starts, s.tokens, s.step_tokens)
    require(min(steps) >= 1, "ramp.starts", starts, f"such that every stage has a step; they have {steps}")


def _check_learns(optimizer: Optimizer) -> None:
    """Steps that move weights: smaller ones are lost in the digits of float32, or in `eps`."""
    lr, clip = optimizer.lr, optimizer.clip
    require(lr >= LEAST_RATE, "optimizer.lr", lr, f"at least {LEAST_RATE:g}, for a smaller one moves no weight")
    allowed = f"0 for no clipping, or at least {LEAST_CLIP:g}, for a smaller one leaves nothing of a gradient"
    require(clip == 0 or clip >= LEAST_CLIP, "optimizer.clip", clip, allowed)


def _check_schedule(s: Settings) -> None:
    begins = {name: steps_of(stage.start, s.steps) for name, stage in s.schedule.stages.items()}
    for name, begin in begins.items():
        start = s.schedule.stages[name].start
        require(0 < begin < s.steps, f"schedule.stages.{name}.start", start, "within the run")
    edges = sorted({0, s.steps, *begins.values()})
    require(len(edges) == len(begins) + 2, "schedule.stages", list(begins), "at different steps")
    own = dict(pairwise(edges))
    _check_stage("schedule", s.schedule, own[0])
    for name, begin in begins.items():
        _check_stage(f"schedule.stages.{name}", s.schedule.stages[name], own[begin] - begin)


def _check_stage(key: str, stage: Schedule | ScheduleStage, steps: int) -> None:
    """A rate that rises and falls within the stage's own steps; a decay of 1 takes what the warmup leaves."""
    warmup, decay = stage.warmup, stage.decay
    for name, moment in (("warmup", warmup), ("decay", decay)):
        allowed = f"at most the {steps} steps of its stage"
        require(steps_of(moment, steps) <= steps, f"{key}.{name}", moment, allowed)
    both = steps_of(warmup, steps) + steps_of(decay, steps)
    fits = decay == 1 or warmup + decay <= 1 or both <= steps
    allowed = f"such that {key}.decay={decay} follows it within the {steps} steps of its stage"
    require(fits, f"{key}.warmup", warmup, allowed)


def _check_size(size: Size) -> None:
    require(size.width % (2 * size.heads) == 0, "size.heads", size.heads, f"such that {size.width} / heads is even")
    require(size.heads % size.kv_heads == 0, "size.kv_heads", size.kv_heads, f"a divisor of size.heads={size.heads}")


def _check_length(s: Settings) -> None:
    lengths, starts = s.length.lengths, s.length.starts
    require(len(lengths) > 0, "length.lengths", lengths, "at least one length")
    require(len(starts) == len(lengths), "length.starts", starts, f"as many as length.lengths={lengths}")
    begins = [steps_of(start, s.steps) for start in starts]
    in_order = begins[0] == 0 and (not s.tokens or begins == sorted(set(begins)))
    require(in_order, "length.starts", starts, "0, then later and later steps")
    require(not s.tokens or begins[-1] < s.steps, "length.starts", starts, f"within the run of {s.steps} steps")
    for length in lengths:
        divides = length <= s.data.span and s.data.span % length == 0
        require(divides, "length.lengths", length, f"a divisor of data.span={s.data.span}")
        require(s.step_tokens % length == 0, "step_tokens", s.step_tokens, f"a multiple of the row length {length}")


def _check_pairs(s: Settings) -> None:
    """A pair is a row, of two halves."""
    if s.data.pairs:
        span = s.data.span
        require(span % 2 == 0, "data.span", span, "even with data.pairs=true: a half for each response")
        allowed = f"[{span}] with data.pairs=true: a row is a pair, and fills data.span"
        require(s.length.lengths == [span], "length.lengths", s.length.lengths, allowed)
        allowed = "left out with data.pairs=true, where both responses count"
        require(not s.data.counts, "data.counts", s.data.counts, allowed)


def _check_mixture(s: Settings) -> None:
    known = s.data.domains
    require(len(known) > 0, "data.domains", known, "at least one domain")
    twice = clash([*known])
    require(twice is None, "data.domains", known, f"without repeats, capitals aside: {twice}")
    for key, named in {"sources": s.data.sources, "counts": s.data.counts}.items():
        for domain, value in named.items():
            require(domain in known, f"data.{key}.{domain}", value, "for one of data.domains: " + ", ".join(known))
    _check_weights("mixture.weights", s.mixture.weights, known)
    for name, stage in s.mixture.stages.items():
        _check_weights(f"mixture.stages.{name}.weights", stage.weights, known)
        require(len(stage.weights) > 0, f"mixture.stages.{name}.weights", "{}", "a weight for at least one domain")
        begin = steps_of(stage.start, s.steps)
        require(begin > 0 or not s.tokens, f"mixture.stages.{name}.start", stage.start, "after the first step")
        require(begin < s.steps or not s.tokens, f"mixture.stages.{name}.start", stage.start, "within the run")
    begins = [steps_of(stage.start, s.steps) for stage in s.mixture.stages.values()]
    apart = not s.tokens or len(set(begins)) == len(begins)
    require(apart, "mixture.stages", list(s.mixture.stages), "at different steps")
    block = s.mixture.block
    require(block & (block - 1) == 0, "mixture.block", block, "a power of two")
    _check_focus(s)


def _check_focus(s: Settings) -> None:
    """`share` needs a domain to set apart, and others beside it."""
    known, focus = s.data.domains, s.data.focus
    if s.mixture.share is not None:
        require(focus in known and len(known) > 1, "data.focus", focus, f"one of several domains: {known}")
    if s.mixture.share is not None and s.mixture.weights:
        others = sum(weight for domain, weight in s.mixture.weights.items() if domain != focus)
        require(others > 0, "mixture.weights", s.mixture.weights, f"above 0 for a domain beside {focus}")


def _check_techniques(s: Settings) -> None:
    """A curriculum and an average must begin within the run, and the curriculum end there; matrices stay whole."""
    if s.averaging.kind != "none":
        start = s.averaging.start
        require(steps_of(start, s.steps) < s.steps, "averaging.start", start, "within the run")
    name, strategy = s.optimizer.name, s.where.strategy
    allowed = f"adamw with where.strategy={strategy}, which cuts parameters in pieces; single and ddp do not"
    require(name == "adamw" or strategy in ("single", "ddp"), "optimizer.name", name, allowed)
    lerac = s.optimizer.lerac
    if lerac.lowest < 1:
        until = steps_of(lerac.until, s.steps)
        require(1 <= until <= s.steps, "optimizer.lerac.until", lerac.until, "within the run and after the first step")


def _check_devices(s: Settings) -> None:
    """Several processes need a strategy that shares the work, and average whole weights only where some are whole."""
    where = s.where
    alone = where.devices * where.nodes == 1 or where.strategy != "single"
    require(alone, "where.devices", where.devices, "1 with where.strategy=single; where.strategy=ddp takes several")
    allowed = "false with where.compile=false: graphs are of compiled blocks"
    require(where.compile or not where.graphs, "where.graphs", where.graphs, allowed)
    seen = not where.compile or where.recompute != "selective"
    allowed = "true or false with where.compile=true: what is inside a compiled block is not seen"
    require(seen, "where.recompute", where.recompute, allowed)
    whole = s.averaging.kind == "none" or where.strategy not in ("fsdp", "zero3")
    allowed = f"none with where.strategy={where.strategy}, where no process has all weights; zero2 has them"
    require(whole, "averaging.kind", s.averaging.kind, allowed)


def _check_command(s: Settings) -> None:
    """A line that names the run, and nothing that is not known of it."""
    command = s.where.command
    if s.where.executor == "command":
        try:
            names = {name for _, name, _, _ in string.Formatter().parse(command) if name is not None}
        except ValueError:
            names = {""}
        fits = names <= COMMAND and names & {"run", "quoted", "file"}
        parts = ", ".join(f"{{{name}}}" for name in sorted(COMMAND))
        allowed = f"a line with {{run}}, {{quoted}} or {{file}}, no parts but {parts}, and {{{{ for a brace"
        require(bool(fits), "where.command", command or "''", allowed)


def _check_keep(s: Settings) -> None:
    """Kept weights are of steps of the run."""
    for moment in s.where.keep if isinstance(s.where.keep, list) else []:
        within = 1 <= steps_of(moment, s.steps) <= s.steps
        require(within, "where.keep", s.where.keep, f"moments of the run: its {s.steps} steps, or parts of them")


def _check_monitor(s: Settings) -> None:
    """Nothing said of what does not act."""
    asked, usual = s.monitor, vars(Monitor())
    for name, value in vars(asked).items() if asked.act == "none" else ():
        allowed = f"{usual[name]} with monitor.act=none, which looks at nothing"
        require(name == "skip" or value == usual[name], f"monitor.{name}", value, allowed)
    require(asked.least <= asked.window, "monitor.least", asked.least, f"at most monitor.window={asked.window}")
    margin, usually = asked.margin, usual["margin"]
    allowed = f"{usually} with monitor.act={asked.act}; rollback has it"
    require(asked.act == "rollback" or margin == usually, "monitor.margin", margin, allowed)
    least = f"below the {s.steps} steps of the run with monitor.act={asked.act}, which else judges none"
    require(asked.act == "none" or asked.least < s.steps, "monitor.least", asked.least, least)


def _check_clipping(s: Settings) -> None:
    """Constants of the clipping that is chosen; and who steps by itself clips by itself."""
    optimizer, strategy = s.optimizer, s.where.strategy
    for name, one in {"zclip": optimizer.zclip, "adagc": optimizer.adagc}.items():
        for key, value in vars(one).items():
            usual = getattr(type(one)(), key)
            allowed = f"{usual} with optimizer.clipping={optimizer.clipping}"
            require(optimizer.clipping == name or value == usual, f"optimizer.{name}.{key}", value, allowed)
    if optimizer.clipping != "norm":
        allowed = f"false with optimizer.clipping={optimizer.clipping}, which does not tell what it has made smaller"
        require(not s.where.gradient_norms, "where.gradient_norms", s.where.gradient_norms, allowed)
    if strategy.startswith("zero"):
        why = f"with where.strategy={strategy}: DeepSpeed clips and steps at once; single, ddp and fsdp can"
        require(optimizer.clipping == "norm", "optimizer.clipping", optimizer.clipping, f"norm {why}")
        require(s.monitor.act == "none", "monitor.act", s.monitor.act, f"none {why}")


def _check_trouble(s: Settings) -> None:
    asked, usual = s.trouble, vars(Trouble())
    unused = {"none": vars(asked), "rate": ("domain",)}.get(asked.kind, ("factor",))
    for name in unused:
        value, allowed = getattr(asked, name), f"left out with trouble.kind={asked.kind}"
        require(value == usual[name], f"trouble.{name}", value, allowed)
    require(asked.kind != "rate" or asked.factor != 1, "trouble.factor", asked.factor, "another than 1, which is none")
    if asked.kind != "none":
        require(steps_of(asked.start, s.steps) < s.steps, "trouble.start", asked.start, "within the run")
        known = s.data.domains
        require(asked.domain in ("", *known), "trouble.domain", asked.domain, f"empty or one of {', '.join(known)}")


def _check_averaging(s: Settings) -> None:
    """A plain mean never forgets, so it begins after the last switch of phase."""
    if s.averaging.kind != "uniform":
        return
    begins = {f"mixture.stages.{name}.start": stage.start for name, stage in s.mixture.stages.items()}
    begins |= {f"schedule.stages.{name}.start": stage.start for name, stage in s.schedule.stages.items()}
    for key, begin in begins.items():
        allowed = f"at or after {key}={begin}: a plain mean never forgets what was before"
        within = steps_of(s.averaging.start, s.steps) >= steps_of(begin, s.steps)
        require(within, "averaging.start", s.averaging.start, allowed)


def _check_seeds(s: Settings) -> None:
    """Blocks of runs, each of its own; of further seeds each must be one too."""
    seeds, controls = s.study.seeds, s.study.controls
    require(len(seeds) > 0, "study.seeds", seeds, "at least one seed")
    require(len(set(seeds)) == len(seeds), "study.seeds", seeds, "without repeats: a run trained again shows no noise")
    null = controls.null_seeds
    require(null <= len(seeds), "study.controls.null_seeds", null, f"at most the {len(seeds)} of study.seeds")
    require(max(seeds) + controls.aa_seeds < SEEDS, "study.seeds", seeds, "below 2^63 with study.controls.aa_seeds")


def _check_budget(s: Settings) -> None:
    """Looks in order; a search only where a curve that lies behind midway tends to end behind."""
    budget = s.study.budget
    in_order = budget.looks == sorted(set(budget.looks))
    require(in_order, "study.budget.looks", budget.looks, "in increasing order")
    require(len(budget.looks) > 0, "study.budget.looks", budget.looks, "at least one number of seeds")
    known = (budget.noise > 0) == (budget.noise_df > 0)
    require(known, "study.budget.noise_df", budget.noise_df, f"above 0 just when study.budget.noise={budget.noise} is")
    if budget.race == "search":
        late = [key for key in s.study.factor if Mark.CROSSES_LATE in find(Settings, key).marks]
        require(not late, "study.budget.race", "search", f"another with factor {late}: such arms cross late")
        require(not s.study.phases, "study.budget.race", "search", "another with phases: a search is of one phase")


def _check_weights(key: str, weights: Weights, known: list[str]) -> None:
    for domain, weight in weights.items():
        require(domain in known, f"{key}.{domain}", weight, "for one of data.domains: " + ", ".join(known))
        require(weight >= 0, f"{key}.{domain}", weight, "at least 0")
    require(not weights or sum(weights.values()) > 0, key, weights, "above 0 for at least one domain")
