"""Log-likelihoods in batches against the plainest way: one request at a time, all logits."""

import random

import pytest
import torch

from ablate.model.language import LanguageModel, build
from ablate.run.settings import Mamba, Model, Size
from ablate.scores import loss
from ablate.scores.requests import Request, batches, prompts, score

SIZE = Size(width=32, depth=4, heads=4, kv_heads=2, hidden=48)
VOCABULARY, LONGEST = 300, 48
MAMBA = Mamba(head_width=16, state=8)
MODELS = {
    "attention": Model(),
    "normed queries and keys": Model(qk_norm=True),
    "latent": Model(pattern="L"),
    "mamba": Model(pattern="M", mamba=MAMBA),
    "hybrid": Model(pattern="MMA", mamba=MAMBA),
    "ternary": Model(linear="ternary"),
    "ternary hybrid": Model(pattern="LM", linear="ternary", mamba=MAMBA),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def language(model: Model = MODELS["attention"]) -> LanguageModel:
    return build(Model(**vars(model) | {"init_scale": 1.5}), SIZE, VOCABULARY, seed=0).eval()


def naive(model: LanguageModel, context: tuple[int, ...], continuation: tuple[int, ...]) -> tuple[float, bool]:
    """Nats and greedy or not; of an empty continuation nothing is asked."""
    with torch.no_grad():
        logits = model.logits(torch.tensor([context + continuation]))[0, len(context) - 1 : -1].double()
    targets = torch.tensor(continuation).long()
    nats = torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item() if continuation else 0.0
    return nats, bool((logits.argmax(-1) == targets).all()) if continuation else True


def drawn(seed: int, contexts: int = 12) -> list[Request]:
    """Contexts of all lengths with one to four continuations, unequal, some of one token, some twice."""
    rng = random.Random(seed)

    def some(least: int, most: int) -> tuple[int, ...]:
        return tuple(rng.randrange(VOCABULARY) for _ in range(rng.randint(least, most)))

    found = []
    for _ in range(contexts):
        context, most = some(1, 30), rng.choice([1, 1, 9])
        found += [Request(context, some(1, most)) for _ in range(rng.randint(1, 4))]
    found += found[:3]
    rng.shuffle(found)
    return found


@every_model
@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_batches_give_what_one_request_at_a_time_gives(model, batch_tokens):
    model, requests = language(model), drawn(batch_tokens)
    found = score(model, requests, longest=LONGEST, batch_tokens=batch_tokens)
    for request, one in zip(requests, found, strict=True):
        nats, greedy = naive(model, *request)
        assert one.nats == pytest.approx(nats, abs=1e-5)
        assert (one.greedy, one.tokens, one.cut) == (greedy, len(request.continuation), 0)


def test_the_likeliest_continuation_is_greedy_and_no_other():
    model, context = language(), (5, 9, 200)
    best: list[int] = []
    for _ in range(4):
        with torch.no_grad():
            best.append(int(model.logits(torch.tensor([[*context, *best]]))[0, -1].argmax()))
    other = [*best[:3], (best[3] + 1) % VOCABULARY]
    found = score(model, [Request(context, tuple(best)), Request(context, tuple(other))], longest=LONGEST)
    assert [one.greedy for one in found] == [True, False]


def test_large_vocabularies_are_worked_off_in_pieces(monkeypatch):
    model, requests = language(), drawn(1)
    whole = score(model, requests, longest=LONGEST)
    monkeypatch.setattr(loss, "LEAST_ROWS", 3)
    monkeypatch.setitem(loss.CHUNK_LOGITS, "cpu", 1)
    for one, piecewise in zip(whole, score(model, requests, longest=LONGEST), strict=True):
        assert piecewise.nats == pytest.approx(one.nats, abs=1e-5)


def test_a_context_that_does_not_fit_is_cut_at_its_beginning_and_that_is_counted():
    model, context, continuation = language(), tuple(range(100, 150)), (1, 2, 3)
    [one] = score(model, [Request(context, continuation)], longest=20)
    nats, _ = naive(model, context[-18:], continuation)  # the last token is not read
    assert one.nats == pytest.approx(nats, abs=1e-5)
    assert one.cut == 50 - 18
    [whole] = score(model, [Request(context[-18:], continuation)], longest=20)
    assert whole.cut == 0


def test_what_cannot_be_asked_is_said():
    model = language()
    with pytest.raises(ValueError, match="a continuation of 9 tokens: the model reads at most 8"):
        score(model, [Request((1,), tuple(range(9)))], longest=8)
    with pytest.raises(ValueError, match="without context"):
        score(model, [Request((), (1,))], longest=8)
    [longest] = score(model, [Request((3, 1), tuple(range(8)))], longest=8)
    assert (longest.tokens, longest.cut) == (8, 1)


def test_an_empty_continuation_costs_nothing_and_none_is_asked():
    model = language()
    found = score(model, [Request((1, 2), ()), Request((1, 2), (7,))], longest=8)
    assert (found[0].nats, found[0].tokens, found[0].greedy) == (0.0, 0, True)
    assert found[1].nats == pytest.approx(naive(model, (1, 2), (7,))[0], abs=1e-5)
    assert score(model, [], longest=8) == []


def test_equal_contexts_are_one_prompt_and_letters_cost_one_row():
    letters = [Request((1, 2, 3), (letter,)) for letter in (10, 11, 12, 13)]
    [prompt] = prompts(letters * 2)
    assert prompt.continuations == [(10,), (11,), (12,), (13,)]
    assert (prompt.rows, prompt.length) == (1, 3)


def test_other_continuations_branch_from_one_prompt():
    several = [Request((1, 2, 3), line) for line in ((10,), (11, 12), (13, 14, 15))]
    [prompt] = prompts(several)
    assert (prompt.branched, prompt.rows, prompt.length) == (True, 3, 5)
    assert not prompts(several[2:])[0].branched


@every_model
def test_the_model_reads_a_prompt_once_for_all_that_follow_it(model, monkeypatch):
    model, read = language(model), []
    forward = LanguageModel.forward

    def counted(self, tokens_BL, *rest, **more):
        read.append(tokens_BL.numel())
        return forward(self, tokens_BL, *rest, **more)

    monkeypatch.setattr(LanguageModel, "forward", counted)
    context = tuple(range(40, 70))
    score(model, [Request(context, (choice, 7, 8, 9)) for choice in range(4)], longest=LONGEST)
    assert read == [30, 4 * 3]


def test_batches_are_sized_by_tokens_and_the_longest_comes_first():
    made = prompts([Request((0,) * length, (1,)) for length in (3, 8, 5, 2, 8)])
    sizes = [[prompt.length for prompt in batch] for batch in batches(made, batch_tokens=16)]
    assert sizes == [[8, 5], [3, 2]]
    beats = []
    score(language(), drawn(3), longest=LONGEST, batch_tokens=16, beat=lambda: beats.append(1))
    assert len(beats) > 5
