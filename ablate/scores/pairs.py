"""Losses of pairs: what a better response should have over a worse one, and what both are worth.

    sigmoid    -log s(beta d), d the lead of the better one in log p, less that at the start  (DPO, arXiv 2305.18290)
    ipo        (d - 1 / (2 beta))^2, of means over tokens, as trl has it                      (IPO, arXiv 2310.12036)
    simpo      -log s(beta d - gamma), d of means over tokens, without a start              (SimPO, arXiv 2405.14734)
    chosen     -log p of the better one alone: what the others gain on as many tokens of the same pairs
    reward     -log s(r - r'), of what the value head gives                                (Bradley and Terry 1952)

Logits are worked out of the tokens that count alone, and of no column behind the last of them: prompts and padding
cost no product with the head.

Shapes: B responses, the better and the worse one of each pair in turn; P pairs, 2 = better, worse; L tokens of a row.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ablate.data.windows import IGNORED
from ablate.model.language import LanguageModel
from ablate.run.preference import Preference
from ablate.scores.loss import Sums, plain_nats

COLUMNS = 16  # a batch is as long as its longest response, in whole blocks of so many tokens


class Likelihoods(NamedTuple):
    """Of every pair: log p of its responses, that at the start, and their tokens with the end; float64."""

    now_P2: Tensor
    start_P2: Tensor
    tokens_P2: Tensor


def _sigmoid(of: Likelihoods, by: Preference) -> Tensor:
    return -F.logsigmoid(by.beta * _lead(of.now_P2 - of.start_P2))


def _ipo(of: Likelihoods, by: Preference) -> Tensor:
    return (_lead((of.now_P2 - of.start_P2) / of.tokens_P2) - 1 / (2 * by.beta)) ** 2


def _simpo(of: Likelihoods, by: Preference) -> Tensor:
    return -F.logsigmoid(by.beta * _lead(of.now_P2 / of.tokens_P2) - by.gamma)


def _chosen(of: Likelihoods, by: Preference) -> Tensor:
    return -of.now_P2[:, 0]


LOSSES: dict[str, Callable[[Likelihoods, Preference], Tensor]] = {
    "sigmoid": _sigmoid,
    "ipo": _ipo,
    "simpo": _simpo,
    "chosen": _chosen,
}


def _lead(score_P2: Tensor) -> Tensor:
    return score_P2[:, 0] - score_P2[:, 1]


def likelihoods(model: LanguageModel, tokens_BL: Tensor, targets_BL: Tensor, start_BK: Tensor) -> Likelihoods:
    """With their gradient. `start_BK`: log p at the start, K = 1; with K = 0 it is not known, and counts as 0."""
    tokens_BL, targets_BL = trimmed(tokens_BL, targets_BL)
    counted_BL = targets_BL != IGNORED
    hidden_BLD = model(tokens_BL)
    nats_N = plain_nats(hidden_BLD[counted_BL], model.head_weight, targets_BL[counted_BL])
    nats_BL = torch.zeros(counted_BL.shape, device=nats_N.device).masked_scatter(counted_BL, nats_N)
    now_P2 = -nats_BL.double().sum(1).view(-1, 2)
    start_P2 = start_BK.view(-1, 2) if start_BK.shape[1] else torch.zeros_like(now_P2)
    return Likelihoods(now_P2, start_P2, counted_BL.double().sum(1).view(-1, 2).clamp(min=1))


def values(model: LanguageModel, tokens_BL: Tensor, targets_BL: Tensor) -> Tensor:
    """What each response is worth, by the hidden state of the end token behind it, shape (B,)."""
    tokens_BL, targets_BL = trimmed(tokens_BL, targets_BL)
    return worth(model, model(tokens_BL), targets_BL)


def worth(model: LanguageModel, hidden_BLD: Tensor, targets_BL: Tensor) -> Tensor:
    """As `values`, of hidden states that are known."""
    assert model.value is not None
    width = hidden_BLD.shape[1]
    last_B = ((targets_BL != IGNORED) * torch.arange(width, device=targets_BL.device)).amax(1)
    end_B = (last_B + 1).clamp(max=width - 1)  # behind the last target that counts, which is the end token
    rows_B = torch.arange(len(end_B), device=end_B.device)
    return model.value(hidden_BLD[rows_B, end_B])[:, 0].double()


def rewarded(values_B: Tensor) -> Tensor:
    """The loss of each pair."""
    return -F.logsigmoid(_lead(values_B.view(-1, 2)))


def sums(losses_P: Tensor, domain_P: Tensor, num_domains: int) -> Sums:
    """Of losses of pairs: what counts is a pair, and no bytes are learnt."""
    of_domain_SP = (domain_P == torch.arange(num_domains, device=domain_P.device)[:, None]).double()
    losses = losses_P.detach().double()
    rows_P3 = torch.stack([losses, torch.ones_like(losses), torch.zeros_like(losses)], dim=1)
    nats_S, pairs_S, bytes_S = (of_domain_SP @ x_P.contiguous() for x_P in rows_P3.unbind(1))
    return Sums(losses_P.sum().float(), nats_S, pairs_S, bytes_S, rows_P3)


def trimmed(tokens_BL: Tensor, targets_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Without the columns behind the end of the longest response; what is before them knows nothing of them."""
    counted_L = (targets_BL != IGNORED).any(0).nonzero()
    needed = int(counted_L[-1]) + 2 if len(counted_L) else 1  # the last target, and its own place
    needed = -(-needed // COLUMNS) * COLUMNS
    return tokens_BL[:, :needed], targets_BL[:, :needed]


@torch.no_grad()
def worths(model: LanguageModel, texts: Sequence[Sequence[int]]) -> list[float]:
    """What texts are worth that end in the end token, one at a time: for best of n."""
    assert model.value is not None
    device = model.value.weight.device
    return [float(model.value(model(torch.tensor([list(text)], device=device))[0, -1])) for text in texts]
