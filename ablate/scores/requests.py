"""Log-likelihoods of many continuations, each after its context: what every task asks a model for.

    score(language, [Request(context, continuation), ...], longest=span)  ->  [Scored, ...], in the same order

Equal contexts are one prompt, which the model reads once for all that may follow it:

    straight     a b c d e 1 2 .     one continuation, or several of one token (letters): a row each
                 a b c d|.
    branched     a b c d e           several: first the contexts, then a row for each continuation, which goes on
                     |1 2 .          from what the model keeps of its context (`model.cache`)
                     |4 5 6

Prompts are sorted by length and padded on the right, where nothing that counts can see the padding, in batches of
about `batch_tokens` tokens.

Logits are worked out at the places of continuations only, and in pieces: never all at once (`scores.loss`).

Ternary models round what goes into each product, and the last bit of a sum, which depends on the batch, can tip an
input to the next whole number: then one request in a thousand moves by some hundredths of a nat.

Shapes: P prompts, B rows, L tokens of a row, N places of tokens that are asked for, D width, V vocabulary.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ablate.model.cache import Cache
from ablate.model.language import LanguageModel
from ablate.model.linear import product
from ablate.scores.loss import chunks, compute_dtype

BATCH_TOKENS = {"cpu": 8192, "cuda": 2**17}


Places = list[range | list[int]]  # of each request: where its tokens are foretold, in hidden states


class Request(NamedTuple):
    context: tuple[int, ...]  # a token at least
    continuation: tuple[int, ...]


class Scored(NamedTuple):
    nats: float  # of the continuation, given its context; 0 of an empty one
    greedy: bool  # whether each of its tokens was the likeliest one
    tokens: int
    cut: int  # tokens of the context that did not fit, at its beginning


class Prompt(NamedTuple):
    """A context and all that is asked to follow it."""

    context: tuple[int, ...]
    continuations: list[tuple[int, ...]]

    @property
    def branched(self) -> bool:
        return len(self.continuations) > 1 and max(map(len, self.continuations)) > 1

    @property
    def rows(self) -> int:
        """Sequences that are held at once."""
        return len(self.continuations) if self.branched else 1

    @property
    def length(self) -> int:
        """Tokens that the model reads: nothing is asked after the last one."""
        return len(self.context) + max(map(len, self.continuations)) - 1


def score(
    language: LanguageModel,
    requests: Sequence[Request],
    *,
    longest: int,
    batch_tokens: int = 0,
    beat: Callable[[], None] = lambda: None,
) -> list[Scored]:
    """Nats of each request, in the order given; `beat` is called after every batch.

    A context is cut at its beginning where the model would read more than `longest` tokens. Raises ValueError for a
    continuation that alone is longer.
    """
    fitted = [fit(request, longest) for request in requests]
    found: dict[Request, tuple[float, bool]] = {}
    device = language.head_weight.device.type
    with torch.no_grad():
        asked = prompts([request for request in fitted if request.continuation])
        for batch in batches(asked, batch_tokens or BATCH_TOKENS[device]):
            found |= _answers(language, batch)
            beat()
    return [
        Scored(*found.get(one, (0.0, True)), len(one.continuation), len(request.context) - len(one.context))
        for request, one in zip(requests, fitted, strict=True)
    ]


@torch.no_grad()
def last_states(
    language: LanguageModel, contexts: Sequence[tuple[int, ...]], batch_tokens: int = 0
) -> list[list[float]]:
    """Of each context, the model's hidden state behind its last token, in the order given."""
    device = language.head_weight.device
    found: dict[tuple[int, ...], list[float]] = {}
    whole = [Prompt(context, [(0,)]) for context in dict.fromkeys(contexts)]
    for batch in batches(whole, batch_tokens or BATCH_TOKENS[device.type]):
        x_BLD = language(padded([prompt.context for prompt in batch]).to(device))
        for x_LD, prompt in zip(x_BLD, batch, strict=True):
            found[prompt.context] = x_LD[len(prompt.context) - 1].float().tolist()
    return [found[context] for context in contexts]


def fit(request: Request, longest: int) -> Request:
    """The end of a context that leaves its continuation room."""
    room = longest + 1 - len(request.continuation)
    if room < 1:
        raise ValueError(f"a continuation of {len(request.continuation)} tokens: the model reads at most {longest}")
    if not request.context:
        raise ValueError("a request without context: at least the token that ends a document stands before it")
    return Request(tuple(request.context[-room:]), tuple(request.continuation))


def prompts(requests: Sequence[Request]) -> list[Prompt]:
    """Each context once, with its different continuations."""
    continuations: dict[tuple[int, ...], dict[tuple[int, ...], None]] = {}
    for request in requests:
        continuations.setdefault(request.context, {})[request.continuation] = None
    return [Prompt(context, list(several)) for context, several in continuations.items()]


def batches(prompts: Sequence[Prompt], batch_tokens: int) -> Iterator[list[Prompt]]:
    """Prompts of a kind and of like length, the longest first: what does not fit in memory fails at once."""
    batch, rows = list[Prompt](), 0
    for prompt in sorted(prompts, key=lambda prompt: (not prompt.branched, -prompt.length)):
        full = batch and (rows + prompt.rows) * batch[0].length > batch_tokens
        if full or (batch and batch[0].branched != prompt.branched):
            yield batch
            batch, rows = [], 0
        batch.append(prompt)
        rows += prompt.rows
    if batch:
        yield batch


def _answers(language: LanguageModel, batch: list[Prompt]) -> dict[Request, tuple[float, bool]]:
    """Nats and greedy or not, of every request of a batch."""
    hidden_ND, places = (_branched if batch[0].branched else _straight)(language, batch)
    asked = [Request(prompt.context, continuation) for prompt in batch for continuation in prompt.continuations]
    targets = [token for request in asked for token in request.continuation]
    index = torch.tensor([place for of_request in places for place in of_request], device=hidden_ND.device)
    nats_N, greedy_N = _read(hidden_ND[index.long()], language.head_weight, torch.tensor(targets).long())
    counts = [len(request.continuation) for request in asked]
    by_request = zip(nats_N.split(counts), greedy_N.split(counts), strict=True)
    answers = [(nats.double().sum().item(), bool(greedy.all())) for nats, greedy in by_request]
    return dict(zip(asked, answers, strict=True))


def _straight(language: LanguageModel, batch: list[Prompt]) -> tuple[Tensor, Places]:
    """Hidden states of one row a prompt, laid end to end, and the places before the tokens of each continuation."""
    rows = [prompt.context + max(prompt.continuations, key=len)[:-1] for prompt in batch]
    hidden_BLD = language(padded(rows).to(language.head_weight.device))
    length = hidden_BLD.shape[1]
    places: Places = [
        _from(row * length + len(prompt.context) - 1, len(continuation))
        for row, prompt in enumerate(batch)
        for continuation in prompt.continuations
    ]
    return hidden_BLD.flatten(0, 1), places


def _branched(language: LanguageModel, batch: list[Prompt]) -> tuple[Tensor, Places]:
    """The same of contexts that several continuations follow: the end of each context, then one row a continuation."""
    device, cache = language.head_weight.device, Cache(language, len(batch), batch[0].length)
    contexts = [prompt.context for prompt in batch]
    lengths_P = torch.tensor([len(context) for context in contexts])
    hidden_PLD = language(padded(contexts).to(device), cache, new_B=lengths_P)
    ends_PD = hidden_PLD[torch.arange(len(batch), device=device), lengths_P.to(device) - 1]
    branches = [(p, continuation) for p, prompt in enumerate(batch) for continuation in prompt.continuations]
    rows = [(p, continuation[:-1]) for p, continuation in branches if len(continuation) > 1]
    of_rows = cache.of_rows(torch.tensor([p for p, _ in rows]))
    read_B = torch.tensor([len(row) for _, row in rows])
    hidden_BLD = language(padded([row for _, row in rows]).to(device), of_rows, new_B=read_B)
    starts = itertools.count(len(batch), hidden_BLD.shape[1])
    places: Places = [[p, *_from(next(starts), len(line) - 1)] if len(line) > 1 else [p] for p, line in branches]
    return torch.cat((ends_PD, hidden_BLD.flatten(0, 1))), places


def _from(start: int, count: int) -> range:
    return range(start, start + count)


def padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """int64 (B, L): rows filled up on the right with token 0."""
    length = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])


def _read(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """On the CPU: nats of each target, and whether it was the likeliest token."""
    dtype, targets_N = compute_dtype(hidden_ND), targets_N.to(hidden_ND.device)
    nats, greedy, head = [torch.zeros(0)], [torch.zeros(0, dtype=torch.bool)], head_VD.to(dtype)
    for rows in chunks(len(targets_N), len(head), hidden_ND.device.type):
        logits = product(hidden_ND[rows].to(dtype), head).float()
        nats.append(F.cross_entropy(logits, targets_N[rows], reduction="none").cpu())
        greedy.append((logits.argmax(-1) == targets_N[rows]).cpu())
    return torch.cat(nats), torch.cat(greedy)
