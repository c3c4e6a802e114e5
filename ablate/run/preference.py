"""What the objective preference asks of two responses: the group `preference` of the settings."""

from typing import Literal

from ablate.run.fields import NonNegative, strict


@strict
class Preference:
    """Of the objective preference: how far the better response should lead (`scores.pairs.LOSSES`)."""

    # sigmoid is DPO; chosen, a control, learns the better response alone; it and simpo ask nothing of the start
    kind: Literal["sigmoid", "ipo", "simpo", "chosen"] = "sigmoid"
    beta: NonNegative = 0.1  # how dear it is to leave the start; of simpo: the scale of the lead
    gamma: NonNegative = 0.5  # of simpo: the lead that is asked for, times beta
