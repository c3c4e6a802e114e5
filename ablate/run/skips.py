"""Whether the steps that a run or a study is told to leave out are steps of a run, and leave it some to learn from."""

from ablate.run.monitor import windows
from ablate.run.settings import Settings, SettingsError, require


def check(s: Settings) -> None:
    """Raises SettingsError for `monitor.skip` and `study.skips`; windows of a study may lie behind the end of an arm
    that has fewer steps than others."""
    skip, steps = s.monitor.skip, s.steps
    some = f"some of the {steps} steps, and not all"
    if skip:
        require(s.tokens > 0, "monitor.skip", skip, "empty with tokens=0, which takes no step")
        require(0 < _left(s, "monitor.skip", skip) < steps, "monitor.skip", skip, some)
    skips, seeds = s.study.skips, s.study.seeds
    require(not (skips and s.study.phases), "study.skips", skips, "empty with study.phases: steps of which phase?")
    for seed, skip in skips.items():
        key = f"study.skips.{seed}"
        require(seed in seeds, key, skip, f"for a seed of the study: {', '.join(map(str, seeds))}")
        require(_left(s, key, skip) > 0, key, skip, some)


def _left(s: Settings, key: str, skip: list[str]) -> int:
    """Steps that a run learns from without these windows."""
    try:
        told = windows(skip)
    except ValueError as error:
        allowed = "windows of steps: 120-140 is from step 120 up to step 140"
        raise SettingsError(f"{key}=[{error}]: must be {allowed}") from None
    return s.steps - sum(min(end, s.steps) - min(first, s.steps) for first, end in told)
