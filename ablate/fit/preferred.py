"""What a run thinks of held-out pairs, as sums by domain: for the record, and for what training on pairs hides.

    pairs, right              how many; of how many the better response has the higher score, half for equal ones
    shorter, shorter_right    the same, of pairs whose better response is the shorter one: where length does not help
    chosen, rejected          log p of the better and the worse responses
    likelier                  of how many pairs the former is higher
    chosen_start, ...         the same at the start of the phase
    chosen_tokens, ...        their tokens, with the end

A score is a reward where the model gives one, else by how much log p rose since the start: it means the same whatever
the loss, so that runs of several losses can be arms of one study.
"""

import torch
from torch import Tensor

from ablate.data.batches import Batch
from ablate.data.windows import IGNORED
from ablate.run.settings import Settings

EQUAL = 1e-4  # less is rounding: the start itself has no lead at all


def measured(rows_R3: Tensor, held_out: Batch, settings: Settings) -> dict[str, dict[str, float]]:
    """Of the nats of every held-out response (`Pretraining.evaluate`), by domain."""
    now_P2, known = -rows_R3[:, 0].view(-1, 2), held_out.beside_BK.shape[1] > 0
    tokens_P2 = (held_out.halves().targets_BL != IGNORED).double().sum(1).view(-1, 2)
    start_P2 = held_out.beside_BK if known else torch.zeros_like(now_P2)
    score_P2 = rows_R3[:, 3].view(-1, 2) if rows_R3.shape[1] > 3 else now_P2 - start_P2
    shorter_P = tokens_P2[:, 0] < tokens_P2[:, 1]
    found = {
        "pairs": torch.ones(len(now_P2), dtype=torch.float64),
        "right": _leads(score_P2),
        "shorter": shorter_P.double(),
        "shorter_right": _leads(score_P2) * shorter_P,
        "likelier": _leads(now_P2),
    }
    of_both = {"": now_P2, "_tokens": tokens_P2} | ({"_start": start_P2} if known else {})
    for what, values_P2 in of_both.items():
        found |= {f"{which}{what}": values_P2[:, place] for place, which in enumerate(("chosen", "rejected"))}
    domains = enumerate(settings.data.domains)
    return {
        domain: {name: float(values_P[held_out.domain_B == number].sum()) for name, values_P in found.items()}
        for number, domain in domains
    }


def _leads(score_P2: Tensor) -> Tensor:
    """1 where the better response has more, half where both have as much."""
    lead_P = score_P2[:, 0] - score_P2[:, 1]
    return (torch.where(lead_P.abs() < EQUAL, 0.0, lead_P).sign() + 1) / 2
