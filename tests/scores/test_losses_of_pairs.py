"""Losses of pairs against trl 1.16.0 and against naive forms, however the pairs are padded and spread over batches."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ablate.data.batches import Batch
from ablate.data.windows import IGNORED
from ablate.fit.objectives import OBJECTIVES
from ablate.model.language import LanguageModel, build
from ablate.run.parse import from_plain
from ablate.run.preference import Preference
from ablate.run.settings import Model, Settings, Size

# Prompt, better and worse response, as trl was given them; 0 ends a text
PAIRS = [
    ([0, 5, 6, 7], [8, 9, 0], [10, 0]),
    ([0, 11], [12, 13, 14, 15, 0], [16, 17, 18, 0]),
    ([0, 20, 21], [22, 0], [23, 24, 25, 26, 27, 0]),
    ([0, 30, 31, 32, 33], [34, 35, 0], [36, 37, 38, 0]),
    ([0, 40], [41, 0], [42, 0]),
]
# What DPOTrainer and RewardTrainer of trl 1.16.0 find of them: mean loss, its gradient in the last norm, and the size
# of that in the embedding. The model is `now()`, that of the start `start()`
TRL: dict[tuple[str, float], tuple[float, list[float], float]] = {
    ("sigmoid", 0.1): (
        0.810450553894043,
        [
            0.01169447,
            -0.00164907,
            -0.0022638,
            -0.00902351,
            0.01851482,
            -0.0081226,
            -0.00500158,
            0.00271341,
            0.00677967,
            -0.00265068,
            -0.00676528,
            -0.00233184,
            0.00316986,
            -0.00354826,
            0.01209549,
            -0.0006869,
        ],
        0.37788254022598267,
    ),
    ("sigmoid", 0.5): (
        1.4163607358932495,
        [
            0.08445503,
            -0.01206984,
            -0.007668,
            -0.05789987,
            0.12412813,
            -0.04451228,
            -0.03318452,
            0.01608735,
            0.04611652,
            -0.01352206,
            -0.04198586,
            -0.0143274,
            0.01472263,
            -0.02128688,
            0.08088932,
            0.00248386,
        ],
        2.4896090030670166,
    ),
    ("ipo", 0.1): (
        32.84090042114258,
        [
            1.2754606,
            -0.09841648,
            -0.11040173,
            -0.68272156,
            1.04913843,
            -0.02318655,
            -0.28717393,
            0.59024394,
            0.53464919,
            -0.09207577,
            -0.40080845,
            -0.04008073,
            0.05408408,
            -0.02928812,
            0.26334891,
            -0.26580322,
        ],
        27.567293167114258,
    ),
    ("reward", 0.0): (
        0.6743969917297363,
        [
            0.03742168,
            -0.01047289,
            0.00209963,
            -0.0018494,
            -0.01730124,
            -0.01008952,
            -0.00244253,
            0.00929988,
            -0.00561257,
            4.985e-05,
            0.00518179,
            0.00129462,
            0.00145922,
            0.01236954,
            -0.02540848,
            -0.00058826,
        ],
        0.9782490134239197,
    ),
}


def now(valued: bool = False) -> LanguageModel:
    return build(Model(), SIZE, 64, seed=1, valued=valued)


def start() -> LanguageModel:
    return build(Model(), SIZE, 64, seed=0)


SIZE = Size(width=16, depth=2, heads=2, kv_heads=1, hidden=32)


def naive(model: LanguageModel, prompt: list[int], response: list[int]) -> Tensor:
    """log p of each token of a response, one text at a time."""
    logits_LV = model.logits(torch.tensor([prompt + response]))[0].double()
    return F.log_softmax(logits_LV, dim=-1)[range(len(prompt) - 1, len(prompt + response) - 1), response]


def batch_of(pairs: list[Any], half: int, reference: LanguageModel | None = None) -> Batch:
    """Rows of two halves, padded as `data.pairs` does."""
    tokens, targets, known = [], [], []
    for prompt, *responses in pairs:
        texts = [prompt + response for response in responses]
        windows = [text + [0] * (half - len(text)) for text in texts]
        counts = [[0] * len(prompt) + [1] * len(response) + [0] * half for response in responses]
        tokens.append([token for window in windows for token in window])
        following = [*tokens[-1][1:], 0]
        marks = [mark for count in counts for mark in [*count[1:half], 0]]
        targets.append([t if mark else IGNORED for t, mark in zip(following, marks, strict=True)])
        if reference:
            known.append([float(naive(reference, prompt, response).sum()) for response in responses])
    beside = torch.tensor(known, dtype=torch.float64) if known else torch.empty(len(pairs), 0, dtype=torch.float64)
    return Batch(torch.tensor(tokens), torch.tensor(targets), torch.zeros(len(pairs), dtype=torch.int64), beside)


def settings(objective: str, **preference: Any) -> Settings:
    return from_plain({"objective": objective, "preference": preference})


def objective(kind: str, beta: float) -> Any:
    one = settings("reward") if kind == "reward" else settings("preference", kind=kind, beta=beta)
    return OBJECTIVES[one.objective](one)


def loss_and_gradients(kind: str, beta: float, half: int, parts: int = 1) -> tuple[float, LanguageModel]:
    by, model = objective(kind, beta), now(valued=kind == "reward")
    batch = batch_of(PAIRS, half, start())
    total, counted = 0.0, by.counted(batch).sum()
    for micro in batch.parts(-(-len(PAIRS) // parts)):
        sums = by(model, micro, torch.zeros(64), 1)
        (sums.total / counted).backward()
        total += float(sums.nats_S.sum() / counted)
    return total, model


def gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


@pytest.mark.parametrize("half", [9, 16, 40], ids=["not padded", "padded", "padded much"])
@pytest.mark.parametrize("parts", [1, 2, 5])
@pytest.mark.parametrize(("kind", "beta"), TRL)
def test_loss_and_gradient_are_those_of_trl(kind, beta, parts, half):
    loss, norm, embedding = TRL[kind, beta]
    found, model = loss_and_gradients(kind, beta, half, parts)
    assert found == pytest.approx(loss, rel=1e-5)
    assert gradient(model.norm.weight).tolist() == pytest.approx(norm, rel=1e-5, abs=1e-5 * max(map(abs, norm)))
    assert float(gradient(model.embedding.weight).norm()) == pytest.approx(embedding, rel=1e-5)


NAIVE: dict[str, Any] = {
    "sigmoid": lambda now, start, by: -F.logsigmoid(by * ((now[0] - start[0]).sum() - (now[1] - start[1]).sum())),
    "ipo": lambda now, start, by: ((now[0] - start[0]).mean() - (now[1] - start[1]).mean() - 1 / (2 * by)) ** 2,
    "simpo": lambda now, start, by: -F.logsigmoid(by * (now[0].mean() - now[1].mean()) - 0.5),
    "chosen": lambda now, start, by: -now[0].sum(),
}


@pytest.mark.parametrize("kind", NAIVE)
def test_loss_and_gradient_are_the_naive_ones(kind):
    found, model = loss_and_gradients(kind, 0.3, half=16, parts=2)
    plain, reference = now(), start()
    losses = [
        NAIVE[kind](*([naive(one, prompt, r) for r in responses] for one in (plain, reference)), 0.3)
        for prompt, *responses in PAIRS
    ]
    mean = torch.stack(losses).mean()
    mean.backward()
    assert found == pytest.approx(float(mean), rel=1e-5)
    for (name, ours), theirs in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.allclose(
            gradient(ours), gradient(theirs), rtol=1e-5, atol=1e-5 * float(gradient(theirs).abs().max())
        ), name


def test_a_reward_is_read_off_the_end_token():
    model = now(valued=True)
    assert model.value is not None
    losses = []
    for prompt, *responses in PAIRS:
        better, worse = (model.value(model(torch.tensor([prompt + one]))[0, -1]).double() for one in responses)
        losses.append(-F.logsigmoid(better - worse))
    assert loss_and_gradients("reward", 0.0, half=16)[0] == pytest.approx(float(torch.cat(losses).mean()), rel=1e-6)


def losses(kind: str, beta: float, model: LanguageModel, pairs: list[Any]) -> np.ndarray:
    sums = objective(kind, beta)(model, batch_of(pairs, 16, start()), torch.zeros(64), 1)
    return sums.rows_B3[:, 0].numpy()


def test_a_beta_of_0_and_the_start_itself_give_ln_2():
    assert losses("sigmoid", 0.0, now(), PAIRS) == pytest.approx(math.log(2), abs=1e-12)
    assert losses("sigmoid", 0.1, start(), PAIRS) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("kind", ["sigmoid", "reward"])
def test_swapped_pairs_mirror_the_loss(kind):
    """-log s(x) and -log s(-x) differ by x."""
    model = now(valued=kind == "reward")
    swapped = [(prompt, worse, better) for prompt, better, worse in PAIRS]
    there, back = (losses(kind, 0.5, model, pairs) for pairs in (PAIRS, swapped))
    assert np.exp(-there) + np.exp(-back) == pytest.approx(1, abs=1e-6)
    assert abs(there - back).max() > 0.1


def test_swapped_pairs_mirror_ipo_at_its_target():
    swapped = [(prompt, worse, better) for prompt, better, worse in PAIRS]
    there, back = (losses("ipo", 0.1, now(), pairs) for pairs in (PAIRS, swapped))
    lead = (back - there) / 20  # (d - 5)^2 and (-d - 5)^2 differ by 20 d
    assert (lead - 5) ** 2 == pytest.approx(there, rel=1e-5)


def test_a_response_knows_nothing_of_the_other():
    """Neither in training nor where held-out text is scored."""
    other = [(prompt, better, worse if place else [50, 51, 0]) for place, (prompt, better, worse) in enumerate(PAIRS)]
    scored = OBJECTIVES["next_token"](from_plain({"data": {"pairs": True, "span": 32}, "length": {"lengths": [32]}}))
    one, two = (scored(now(), batch_of(pairs, 16), torch.zeros(64), 1).rows_B3 for pairs in (PAIRS, other))
    assert (one[0] == two[0]).all()
    assert (one[1] != two[1]).any()
    assert (one[2:] == two[2:]).all()


def test_the_default_preference_is_that_of_the_trainer():
    assert Preference() == Preference(kind="sigmoid", beta=0.1)
