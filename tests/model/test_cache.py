"""With a cache a model says what it says without one: every mixer, fed in pieces, rows of unequal lengths."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ablate.model import linear
from ablate.model.cache import Cache
from ablate.model.language import LanguageModel, build
from ablate.model.mamba import Mamba2
from ablate.model.mixers import MIXERS
from ablate.model.ssd import ssd, ssd_recurrent
from ablate.run.settings import Latent, Mamba, Model, Size

SIZE = Size(width=48, depth=4, heads=4, kv_heads=2, hidden=64)
VOCABULARY, LENGTH = 97, 41
MAMBA = Mamba(state=16, head_width=16, groups=2, chunk=16)  # rows are longer than a chunk
MODELS = {
    "A": Model(),
    "AA, normed, one key-value head in two": Model(pattern="AA", qk_norm=True),
    "L": Model(pattern="L"),
    "L, latent queries": Model(pattern="L", latent=Latent(q_rank=24)),
    "M": Model(pattern="M", mamba=MAMBA),
    "MMMA": Model(pattern="MMMA", mamba=MAMBA),
    "LMMM": Model(pattern="LMMM", mamba=MAMBA, tied=False),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def made(model: Model, seed: int = 0, **changes) -> LanguageModel:
    settings = {field: getattr(model, field) for field in model.__dataclass_fields__} | {"init_scale": 1.2}
    return build(Model(**settings | changes), SIZE, VOCABULARY, seed)


def tokens(rows: int = 3, length: int = LENGTH) -> Tensor:
    return torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(language: LanguageModel, hidden_BLD: Tensor) -> Tensor:
    return F.linear(hidden_BLD, language.head_weight)


def in_pieces(language: LanguageModel, tokens_BL: Tensor, sizes: list[int]) -> Tensor:
    """Logits of rows read in pieces of those sizes, over and over."""
    cache, found, start = Cache(language, *tokens_BL.shape), [], 0
    for size in itertools.cycle(sizes):
        found.append(language(tokens_BL[:, start : start + size], cache))
        start += size
        if start >= tokens_BL.shape[1]:
            return logits(language, torch.cat(found, dim=1))
    raise AssertionError


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@every_model
@pytest.mark.parametrize("sizes", [[1], [3], [7], [20, 1, 1]], ids=str)
def test_pieces_are_the_whole(model, sizes):
    language = made(model)
    same(in_pieces(language, tokens(), sizes), language.logits(tokens()))


@pytest.fixture
def unrounded(monkeypatch):
    """Ternary weights without rounding of inputs: in a sum of another order some inputs round to the next integer."""
    scale = lambda x: x.abs().amax(-1, keepdim=True).clamp(min=linear.TINY) / 127  # noqa: E731
    monkeypatch.setattr(linear, "int8", lambda x: (x / scale(x), scale(x)))


@every_model
def test_pieces_are_the_whole_with_ternary_weights(model, unrounded):
    language = made(model, linear="ternary")
    same(in_pieces(language, tokens(), [3, 1]), language.logits(tokens()))


@every_model
def test_short_ternary_rows_are_the_same_with_rounded_inputs(model):
    """Of five models one or two may have an input that rounds otherwise."""
    worst = []
    for seed in range(5):
        language = made(model, seed, linear="ternary")
        pieces, whole = in_pieces(language, tokens(1, 8), [3, 1]), language.logits(tokens(1, 8))
        worst.append((pieces - whole).abs().max().item())
    assert sorted(worst)[2] <= 1e-4


@every_model
@pytest.mark.parametrize("linear", ["dense", "ternary"])
def test_rows_of_unequal_lengths_know_nothing_of_their_filling(model, linear, unrounded):
    """Each row reads 3 to 9 tokens, then 1 to 5, then 0 to 2, filled up with any tokens."""
    language, counts = made(model, linear=linear), torch.tensor([[3, 5, 2], [9, 1, 0], [6, 4, 1]])
    cache = Cache(language, rows=3, length=16)
    found: list[list[Tensor]] = [[], [], []]
    starts = F.pad(counts.cumsum(1), (1, 0))
    for turn, width in enumerate((9, 6, 2)):
        piece_BL = torch.full((3, width), 7)
        for row in range(3):
            new = int(counts[row, turn])
            piece_BL[row, :new] = tokens()[row, starts[row, turn] : starts[row, turn] + new]
        x_BLD = language(piece_BL, cache, new_B=counts[:, turn])
        for row in range(3):
            found[row].append(logits(language, x_BLD[row, : counts[row, turn]]))
    assert cache.read_B.tolist() == counts.sum(1).tolist() == [10, 10, 11]
    for row in range(3):
        expected = language.logits(tokens()[row : row + 1, : counts[row].sum()])[0]
        same(torch.cat(found[row]), expected)


@every_model
def test_a_prompt_is_read_once_for_all_that_follows_it(model):
    language, prompts_BL, ends = made(model), tokens(2, 20), tokens(4, 6) + 1
    ends = ends % VOCABULARY
    cache = Cache(language, rows=2, length=26)
    language(prompts_BL, cache, new_B=torch.tensor([20, 13]))
    rows = torch.tensor([0, 1, 1, 0])
    before = [{name: kept.clone() for name, kept in state.items()} for state in cache.states]
    found = logits(language, language(ends, cache.of_rows(rows)))
    for i, row in enumerate(rows.tolist()):
        read = prompts_BL[row, : cache.read_B[row]]
        same(found[i], language.logits(torch.cat((read, ends[i]))[None])[0, -6:])
    assert cache.read_B.tolist() == [20, 13]
    for state, earlier in zip(cache.states, before, strict=True):
        assert all(torch.equal(state[name], kept) for name, kept in earlier.items())


class Mean(nn.Module):
    """A mixer of somebody else's, which knows of no cache."""

    def __init__(self, model: Model, size: Size) -> None:
        super().__init__()
        self.out = nn.Linear(size.width, size.width, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.out(x_BLD.cumsum(1) / torch.arange(1, x_BLD.shape[1] + 1)[:, None])


def test_a_mixer_without_a_cached_form_is_run_again(monkeypatch):
    monkeypatch.setitem(MIXERS, "W", Mean)
    model = Model(pattern="WA")
    for sizes in ([1], [3], [20, 1]):
        language = made(model)
        same(in_pieces(language, tokens(), sizes), language.logits(tokens()))
    test_rows_of_unequal_lengths_know_nothing_of_their_filling(model, "dense", None)
    test_a_prompt_is_read_once_for_all_that_follows_it(model)


def test_a_row_without_room_is_refused():
    language = made(Model())
    cache = Cache(language, rows=2, length=8)
    language(tokens(2, 6), cache, new_B=torch.tensor([6, 2]))
    with pytest.raises(ValueError, match="a row of 9 tokens does not fit into a cache of 8"):
        language(tokens(2, 3), cache)


@every_model
def test_autocast_keeps_what_it_computes(model):
    language = made(model)
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = in_pieces(language, tokens(), [9, 1, 5]), language.logits(tokens())
    assert found.dtype == torch.bfloat16
    assert (found - expected).norm() / expected.norm() < 0.03


def test_latent_attention_keeps_what_it_says_it_does():
    language = made(Model(pattern="L"))
    cache = Cache(language, rows=1, length=30)
    language(tokens(1, 30), cache)
    kept = {name: kept.shape[-1] for name, kept in cache.states[0].items()}
    assert kept == {"latent": 64 + 16}
    assert language.state_bytes(30) == SIZE.depth * 30 * sum(kept.values()) * 2


@pytest.mark.parametrize("scan", [ssd, ssd_recurrent])
@pytest.mark.parametrize("first", [1, 16, 23])
def test_a_scan_goes_on_from_where_another_ended(scan, first):
    random = torch.Generator().manual_seed(0)
    shapes = ((2, 40, 4, 6), (2, 40, 4), (2, 40, 2, 8), (2, 40, 2, 8))
    x, dt, B, C = (torch.randn(shape, generator=random) for shape in shapes)
    dt, A = F.softplus(2 * dt - 2), -torch.rand(4, generator=random)
    y, end = ssd_recurrent(x, dt, A, B, C, return_final_states=True)
    head, tail = ([part[:, where] for part in (x, dt, B, C)] for where in (slice(first), slice(first, None)))
    y_head, middle = scan(*head[:2], A, *head[2:], 16, return_final_states=True)
    y_tail, last = scan(*tail[:2], A, *tail[2:], 16, initial_states=middle, return_final_states=True)
    torch.testing.assert_close(torch.cat((y_head, y_tail), 1), y, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last, end, atol=1e-5, rtol=1e-5)


def test_a_state_does_not_grow():
    language = made(Model(pattern="M", mamba=MAMBA))
    mixer = language.get_submodule("blocks.0.mixer")
    assert isinstance(mixer, Mamba2)
    cache = Cache(language, rows=1, length=1000)
    language(tokens(1, 30), cache)
    assert 2 * sum(kept.numel() for kept in cache.states[0].values()) == mixer.state_bytes(30)


def test_ternary_weights_are_rounded_once_for_a_cache_and_anew_for_the_next():
    language = made(Model(), linear="ternary")
    before = in_pieces(language, tokens(), [7])
    with torch.no_grad():
        for parameter in language.parameters():
            parameter.mul_(-1 if parameter.ndim > 1 else 1).add_(0.01)
    after = in_pieces(language, tokens(), [7])
    assert (after - before).abs().max() > 0.1
    assert (after - language.logits(tokens())).abs().median() < 1e-4
