"""Whether a run that asks for computed weights (`mixture.adapt`) has what they are computed from."""

from ablate.run.settings import Settings, require
from ablate.run.start import parse


def check(s: Settings) -> None:
    """Raises SettingsError where no record can tell of the weights, or where there is nothing to choose."""
    mixture, start = s.mixture, parse(s.start)
    if mixture.adapt == "none":
        return
    whence = "run:<id of a finished run>, or none in a phase after the first"
    allowed = f"{whence}, with mixture.adapt={mixture.adapt}: weights are computed from the record of the run before"
    require(start is not None and start.kind == "run", "start", s.start, allowed)
    allowed = f"left out with mixture.adapt={mixture.adapt}, which gives one mixture for the whole run"
    require(not mixture.stages, "mixture.stages", list(mixture.stages), allowed)
    read = [domain for domain, weight in s.mixture_stages[0][1].items() if weight > 0]
    allowed = f"none where one domain has all the weight: {read[0]}"
    require(len(read) > 1, "mixture.adapt", mixture.adapt, allowed)
    allowed = f"saturation or none with two domains, {' and '.join(read)}: a move as far is the rule's, or undoes it"
    require(len(read) > 2 or mixture.adapt != "random", "mixture.adapt", mixture.adapt, allowed)
