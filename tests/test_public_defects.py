"""Defects of a public trainer: each has a test that would find it here, and is planted to show that it would.

The trainer is `step325/elleci-training` on GitHub, which set out to train 1.5 B parameters with latent
attention, Mamba-2, ternary weights, WSD, LeRaC and weight averaging, the ingredients that are here
too. What is said of it in the docstrings was read in its code and its commits of January 2026.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from runs import elsewhere, interrupt, record_of, train_run
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.optim.swa_utils import SWALR

from ablate.data.batches import Steps, training_spans
from ablate.data.tokens import Corpus, prepare
from ablate.fit import checkpoint
from ablate.fit import optimizer as optimizers
from ablate.model import mamba
from ablate.model.language import Block, build
from ablate.model.latent import LatentAttention
from ablate.model.linear import Ternary
from ablate.model.mixers import MIXERS
from ablate.model.parts import RMSNorm
from ablate.plan import lerac, schedule
from ablate.plan.order import Order
from ablate.plan.timeline import timeline
from ablate.run.optimizer import LeRaC
from ablate.run.settings import Latent, Mamba, Model, Settings, SettingsError, Size
from ablate.scores import loss
from ablate.scores.loss import Sums

SIZE = Size(width=32, depth=2, heads=2, kv_heads=1, hidden=48)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rates() -> Iterator[list[list[float]]]:
    """The rates in the optimizer at every step taken in a test, one a group."""
    seen: list[list[float]] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        seen.append([group["lr"] for group in optimizer.param_groups])

    handle = register_optimizer_step_pre_hook(note)
    yield seen
    handle.remove()


# ---- 1. Labels that are not shifted


LOSS_SUMS = loss.loss_sums


def unshifted(hidden_BLD: Tensor, head_VD: Tensor, targets_BL: Tensor, *rest: Any, **how: Any) -> Sums:
    """Each token is its own target, but for the first of a row."""
    return LOSS_SUMS(hidden_BLD, head_VD, torch.cat((targets_BL[:, :1], targets_BL[:, :-1]), dim=1), *rest, **how)


either_loss = pytest.mark.parametrize(("losses", "right"), [(LOSS_SUMS, True), (unshifted, False)])


@either_loss
def test_targets_are_the_next_tokens(tiny, monkeypatch, losses, right):
    """Until commit 42cc13a the loss was that of logits[t] against input[t]: no label was shifted.

    Before anything is learned the loss is that of a guess; but a tied model already prefers the token it was given.
    """
    monkeypatch.setattr(loss, "loss_sums", losses)
    train_run(settings := tiny())
    first = record_of(settings).rows("train")[0]["nats"]
    assert (abs(first - math.log(settings.data.vocabulary)) < 0.2) == right


@pytest.mark.slow
@either_loss
def test_a_loss_too_good_to_be_true_stops_the_run(tiny, monkeypatch, losses, right):
    """Same defect: a loss of 0.0004 was taken for overfitting (commit 2b93cb2) and answered with dropout."""
    monkeypatch.setattr(loss, "loss_sums", losses)
    result = train_run(tiny(optimizer={"lr": 0.03}, tokens=81_920))
    assert (result["outcome"] == "finished") == right
    assert right or "targets not shifted" in result["reason"]


@pytest.mark.parametrize("letter", MIXERS)
@pytest.mark.parametrize(("behind", "right"), [(1, True), (0, False)])
def test_no_token_sees_its_target(letter, behind, right):
    """Same defect from the other side: what the model says at t does not depend on token t + 1; it does on t."""
    model = build(Model(pattern=letter, init_scale=3.0), SIZE, 64, seed=0)
    tokens_BL = torch.randint(64, (2, 30), generator=generator())
    other_BL = tokens_BL.clone()
    other_BL[:, 20] = (other_BL[:, 20] + 1) % 64
    same = torch.equal(model(tokens_BL)[:, 20 - behind], model(other_BL)[:, 20 - behind])
    assert same == right


# ---- 2. A schedule in steps of the wrong kind


ACCUMULATED = {"where": {"micro_tokens": 128}, "schedule": {"warmup": 4, "decay": 8, "final": 0.1}}


@pytest.mark.usefixtures("unprobed")
def test_the_decay_comes_with_accumulation_and_after_a_resume(tiny, rates):
    """WSD was indexed in micro-steps and stepped once an optimizer step: at 4 to 1 its decay never came.

    A resume then stepped it `start_step` times, and went on at another rate.
    """
    settings = tiny(**ACCUMULATED)
    interrupt(settings, 13)
    train_run(settings)
    warmup, plateau = [0.25, 0.5, 0.75], [1.0] * 9
    decay = [1 - 0.9 * (i + 1) / 8 for i in range(8)]
    planned = warmup + plateau + decay
    found = [step[0] / settings.optimizer.lr for step in rates]
    assert found == pytest.approx(planned[:13] + planned[12:])  # the last save was after 12 steps


SET_RATES = optimizers.set_rates


class MicroSteps:
    """In place of `set_rates`: a scheduler told of micro-steps, and stepped once an optimizer step."""

    def __init__(self, settings: Settings, parts: int, done: int) -> None:
        self.peak, self.done = settings.optimizer.lr, done
        self.multiples = schedule.rates(settings.schedule, 1.0, settings.steps * parts)
        self.scheduler: LambdaLR | None = None

    def __call__(self, optimizer: torch.optim.Optimizer, row: Any, factors: Any) -> None:
        SET_RATES(optimizer, row, factors)
        if self.scheduler is not None:
            self.scheduler.step()
            return
        for group in optimizer.param_groups:
            group["lr"] = self.peak
        self.scheduler = LambdaLR(optimizer, lambda step: float(self.multiples[step]))
        for _step in range(self.done):
            self.scheduler.step()


@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize("done", [0, 12])
def test_a_schedule_in_micro_steps_stops_the_run(tiny, monkeypatch, done):
    """The same defect planted, from the beginning and at a resume: the run stops where the decay should begin."""
    settings = tiny(**ACCUMULATED)
    if done:
        interrupt(settings, done)
    monkeypatch.setattr(optimizers, "set_rates", MicroSteps(settings, 4, done * 4))
    with pytest.raises(RuntimeError, match=r"^step 13: .* \(0\.003, 0\.1\), planned \(0\.0026"):
        train_run(settings)


# ---- 3. An average that touches the rates, or mixes phases


LAYERWISE = {"optimizer": {"lerac": {"lowest": 0.1, "until": 1.0}}}
AVERAGED = LAYERWISE | {"averaging": {"kind": "uniform", "start": 0.5}}


@pytest.mark.usefixtures("unprobed")
def test_an_average_leaves_the_rates_of_layers_alone(tiny, rates):
    """SWALR set every group to half the base rate as soon as averaging began, and wiped the rates of layers."""
    train_run(tiny(**LAYERWISE))
    train_run(settings := tiny(**AVERAGED))
    plain, averaged = rates[: settings.steps], rates[settings.steps :]
    assert averaged == plain
    assert all(len(set(step)) == settings.size.depth + 2 for step in averaged)


def test_one_rate_for_all_layers_stops_the_run(tiny, monkeypatch):
    """The same defect planted: torch's own SWALR, from the first average on."""
    settings = tiny(**AVERAGED)
    start = settings.steps // 2

    def wiping(optimizer: torch.optim.Optimizer, row: Any, factors: Any) -> None:
        SET_RATES(optimizer, row, factors)
        if row["average"]:
            SWALR(optimizer, swa_lr=0.5 * settings.optimizer.lr, anneal_epochs=1).step()

    monkeypatch.setattr(optimizers, "set_rates", wiping)
    with pytest.raises(RuntimeError, match=f"^step {start + 1}: .*planned"):
        train_run(settings)


@pytest.mark.parametrize("start", [0.8, 0.9])
def test_a_mean_across_a_switch_of_phase_is_refused(tiny, start):
    """SWA averaged from 80 % on, across the switch to the second mixture at 90 %."""
    late = {"mixture": {"stages": {"late": {"start": 0.9, "weights": {"qa": 1}}}}}
    averaging = {"averaging": {"kind": "uniform", "start": start}}
    if start >= 0.9:
        assert tiny(**late, **averaging).averaging.start == start
    else:
        with pytest.raises(SettingsError, match=r"averaging\.start=0\.8: must be at or after mixture\.stages\.late"):
            tiny(**late, **averaging)


# ---- 4. A curriculum of rates that never ends


def forever(lerac: LeRaC, layers: int, total: int) -> np.ndarray:
    """As it was there: 5.0 at the first block, 1.0 at the last, at every step."""
    return np.broadcast_to(np.linspace(5.0, 1.0, layers), (total, layers))


def downwards(settings: LeRaC, layers: int, total: int) -> np.ndarray:
    """The order that its documentation states: the last layer begins highest."""
    return FACTORS(settings, layers, total)[:, ::-1]


FACTORS = lerac.factors


@pytest.mark.usefixtures("unprobed")
@pytest.mark.parametrize(("factors", "right"), [(FACTORS, True), (forever, False), (downwards, False)])
def test_layers_meet_at_one_rate(tiny, monkeypatch, rates, factors, right):
    """`LeRaC` there was a fixed multiple by layer, 5.0 to 1.0 times the rate of 1.5e-3, which never converged."""
    monkeypatch.setattr(lerac, "factors", factors)
    train_run(settings := tiny(optimizer={"lerac": {"lowest": 0.1, "until": 10}}))
    peak = settings.optimizer.lr
    by_layer = [[rate for _, rate in sorted(zip(groups_of(settings), step, strict=True))] for step in rates]
    falls = all(a >= b for step in by_layer[:10] for a, b in pairwise(step))
    spread = all(len(set(step)) > 1 for step in by_layer[:10])
    met = all(len(set(step)) == 1 for step in by_layer[10:])
    assert (falls and spread and met and max(map(max, by_layer)) <= peak) == right


def groups_of(settings: Settings) -> list[tuple[int, int]]:
    """Layer and number of each group of the optimizer."""
    model = build(settings.model, settings.size, settings.data.vocabulary, settings.seed)
    groups = optimizers.build(model, settings.optimizer).param_groups
    return [(group["layer"], number) for number, group in enumerate(groups)]


# ---- 5. Ternary weights in the feed-forward alone


def not_ternary(model: nn.Module) -> list[str]:
    """Linear maps of the blocks that are not ternary with a norm in front, and norms that these replace."""
    named = dict(model.get_submodule("blocks").named_modules())
    plain = [name for name, part in named.items() if isinstance(part, nn.Linear) and not isinstance(part, Ternary)]
    bare = [name for name, part in named.items() if isinstance(part, Ternary) and not isinstance(part.norm, nn.RMSNorm)]
    outer = [name for name, part in named.items() if name.endswith(("mixer_norm", "feed_norm"))]
    return plain + bare + [name for name in outer if not isinstance(named[name], nn.Identity)]


@pytest.mark.parametrize("letter", MIXERS)
def test_every_linear_map_is_ternary_and_brings_its_norm(letter):
    """BitLinear stood in the feed-forward only, and the norm of the block before its own: two in a row."""
    ternary, dense = Model(pattern=letter, linear="ternary"), Model(pattern=letter)
    model = build(ternary, SIZE, 64, seed=0)
    assert not_ternary(model) == []
    for block in cast(list[Block], list(model.blocks)):
        block.mixer, block.feed_norm = MIXERS[letter](dense, SIZE), RMSNorm(SIZE.width, dense.norm_eps)
    found = not_ternary(model)
    assert any("mixer." in name for name in found)
    assert "0.feed_norm" in found


# ---- 6. Latent attention whose keys are turned, or whose latent has no norm


class TurnedKeys(LatentAttention):
    """Positions turn the keys that are made from the latent."""

    def _content(self, latent_BLC: Tensor) -> tuple[Tensor, ...]:
        keys, values = super()._content(latent_BLC)
        return self.rotary(keys), values


def latent_mixer(kind: type[LatentAttention], q_rank: int = 0) -> LatentAttention:
    model = Model(pattern="L", latent=Latent(kv_rank=12, q_rank=q_rank, rope_width=8), init_scale=3.0)
    mixer = kind(model, SIZE)
    mixer.load_state_dict(build(model, SIZE, 64, seed=0).get_submodule("blocks.0.mixer").state_dict())
    return mixer


def from_the_cache(m: LatentAttention, x_BLD: Tensor) -> Tensor:
    """The last token's output from the latents and the shared rotary keys alone: W_UK merged into the query."""
    c_BLC, shared_BLP = m.kv_norm(m.kv_down(x_BLD)), m.rotary(m.k_rope(x_BLD)[:, :, None])[:, :, 0]
    k_up_HKC, v_up_HKC = m.kv_up.weight.view(m.heads, 2, m.width, -1).unbind(1)
    q_BHK, turned_BHP = m._queries(x_BLD)[:, -1].split((m.width, m.rope_width), -1)
    scores = torch.einsum("bhk,hkc,blc->bhl", q_BHK, k_up_HKC, c_BLC)
    scores = (scores + torch.einsum("bhp,blp->bhl", turned_BHP, shared_BLP)) / math.sqrt(m.width + m.rope_width)
    return m.out(torch.einsum("bhl,blc,hkc->bhk", scores.softmax(-1), c_BLC, v_up_HKC).flatten(1))


@pytest.mark.parametrize(("kind", "right"), [(LatentAttention, True), (TurnedKeys, False)])
def test_the_latent_is_all_that_is_cached(kind, right):
    """Rotary positions were applied to keys made from the latent, so the products around it could not be merged.

    Its cache of 128 numbers a token had to be expanded to keys and values anew at every token.
    """
    mixer, x_BLD = latent_mixer(kind), torch.randn(2, 30, SIZE.width, generator=generator())
    difference = (from_the_cache(mixer, x_BLD) - mixer(x_BLD)[:, -1]).abs().max()
    assert (difference < 1e-4) == right


@pytest.mark.parametrize("norm", ["kv_norm", "q_norm"])
@pytest.mark.parametrize("removed", [False, True])
def test_latents_are_normed(norm, removed):
    """No latent had a norm: what the down-projection made large stayed large."""
    mixer, x_BLD = latent_mixer(LatentAttention, q_rank=12), torch.randn(2, 30, SIZE.width, generator=generator())
    if removed:
        setattr(mixer, norm, nn.Identity())
    before = mixer(x_BLD)
    with torch.no_grad():
        mixer.get_submodule(norm.replace("norm", "down")).get_parameter("weight").mul_(10)
    moved = (mixer(x_BLD) - before).abs().max() / before.abs().max()
    assert (moved > 1e-2) == removed


# ---- 7. Not the block of Mamba-2


def mamba_mixer() -> mamba.Mamba2:
    # With expand = 1 the matrix also fits a convolved x, as the order of Mamba-1 wants it
    shape = Mamba(state=16, head_width=16, expand=1, chunk=16)
    model = build(Model(pattern="M", mamba=shape, init_scale=3.0), SIZE, 64, seed=0)
    return cast(mamba.Mamba2, model.get_submodule("blocks.0.mixer"))


def of_the_paper(m: mamba.Mamba2, x_BLD: Tensor, defect: str = "") -> Tensor:
    """Figure 6 and equation 1 of arXiv:2405.21060, token by token, or with one defect."""
    parts = (m.inner, m.inner, m.states, m.states, m.heads)
    z, x, B, C, dt = m.in_proj(x_BLD).split(parts, -1)
    xbc = F.silu(mamba.causal_convolution(torch.cat((x, B, C), -1), *m.conv1d.parameters()))
    convolved = xbc.split(parts[1:4], -1)
    if defect == "B, C and dt from the convolved x":
        x = convolved[0]
        B, C, dt = m.in_proj(x).split(parts, -1)[2:]
    elif defect == "convolution of x alone":
        x = convolved[0]
    else:
        x, B, C = convolved
    x, dt = x.unflatten(-1, (m.heads, -1)), F.softplus(dt + m.dt_bias)
    decay = torch.exp(-m.A_log.exp() * (dt.cumsum(1) if defect == "sums of dt as decay of a step" else dt))
    state, ys = torch.zeros(len(x_BLD), m.heads, x.shape[-1], m.states), []
    for t in range(x.shape[1]):
        written = (dt[:, t, :, None] * x[:, t])[..., None] * B[:, t, None, None]
        state = decay[:, t, :, None, None] * state + written
        ys.append((state * C[:, t, None, None]).sum(-1))
    y = (torch.stack(ys, 1) + m.D[:, None] * x).flatten(2)
    if defect == "layer norm after the gate":
        return m.out_proj(F.layer_norm(y * F.silu(z), (m.inner,), m.norm.weight))
    return m.out_proj(F.rms_norm(y * F.silu(z), (m.inner,), m.norm.weight, m.norm.eps))


MAMBA_DEFECTS = [
    "B, C and dt from the convolved x",
    "convolution of x alone",
    "sums of dt as decay of a step",
    "layer norm after the gate",
]


@pytest.mark.parametrize("defect", ["", *MAMBA_DEFECTS])
def test_the_block_is_that_of_the_paper(defect):
    """dt, B and C came from the convolved x, as in Mamba-1; the convolution left B and C out; a LayerNorm followed
    the gate; and `Mamba2Block.chunk_forward` took exp(A cumsum(dt)) for the decay of a single step."""
    mixer, x_BLD = mamba_mixer(), torch.randn(2, 40, SIZE.width, generator=generator())
    ours = mixer(x_BLD)
    difference = (of_the_paper(mixer, x_BLD, defect) - ours).abs().max() / ours.abs().max()
    assert (difference < 1e-4) == (not defect)


class NoNorm(nn.Module):
    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return y * F.silu(z)


@pytest.mark.parametrize("removed", [False, True])
def test_the_block_does_not_blow_up_what_it_reads(removed):
    """Commit 2dcd27a: the norm was commented out, and one block took activations from 1e-4 to 168,088."""
    mixer, x_BLD = mamba_mixer(), torch.randn(2, 40, SIZE.width, generator=generator())
    if removed:
        mixer.norm = cast(Any, NoNorm())
    small, large = (mixer(x_BLD * scale).square().mean().sqrt() for scale in (1, 1000))
    assert (large < 10 * small) == (not removed)


def by_ratios(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int, seq_idx: None = None) -> Tensor:
    """The scan with decays as ratios of running products: right until one of them is 0."""
    left_BLH11 = (dt * A).cumsum(1).exp()[..., None, None]
    written_BLHPN = (dt[..., None] * x)[..., None] * B[:, :, :, None]
    return ((written_BLHPN / left_BLH11).cumsum(1) * left_BLH11 * C[:, :, :, None]).sum(-1)


@pytest.mark.parametrize("ratios", [False, True])
def test_a_decay_that_vanishes_is_no_nan(monkeypatch, ratios):
    """Commit a812b74: NaN from a vanishing decay. The quick way to write the scan, by ratios, does the same."""
    mixer, x_BLD = mamba_mixer(), torch.randn(2, 40, SIZE.width, generator=generator())
    mild = mixer(x_BLD)
    if ratios:
        monkeypatch.setattr(mamba, "kernel", lambda device: by_ratios)
        torch.testing.assert_close(mixer(x_BLD), mild, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        mixer.dt_bias.fill_(20.0)
    gradients = torch.autograd.grad(mixer(x_BLD).sum(), list(mixer.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients) == (not ratios)


# ---- 8. Text cut off, state left out, steps that grow in secret


class Truncating(Order):
    """A row is the beginning of a document, and the rest of the document is never read."""

    documents: np.ndarray

    def _start(self, domain: int, position: np.ndarray) -> np.ndarray:
        row = position // int(self.timeline.table["length"][0])
        return self.documents[row % len(self.documents)]


@pytest.mark.parametrize(("kind", "right"), [(Order, True), (Truncating, False)])
def test_every_token_is_read_once_an_epoch(tiny, monkeypatch, kind, right):
    """Documents were cut to the row length and their rest thrown away (packed from commit de28acd on)."""
    settings = one_epoch(tiny)
    corpus = corpus_of(settings)
    stream = corpus.tokens("qa", "train")
    ends = np.flatnonzero(np.asarray(stream) == corpus.end)
    beginnings = np.concatenate([[0], ends[:-1] + 1])
    monkeypatch.setattr(Truncating, "documents", beginnings[beginnings < len(stream) - 64], raising=False)
    order = kind(timeline(settings), training_spans(corpus, settings))
    read = np.zeros(len(stream), dtype=int)
    for step in range(len(order.timeline)):
        for start in order.step(step).start_R:
            read[start : start + 64] += 1
    whole = training_spans(corpus, settings)[0] * 64
    assert (bool((read[:whole] == 1).all()) and whole > len(stream) - 64) == right


def one_epoch(tiny: Callable[..., Settings]) -> Settings:
    data = {"domains": ["qa"]}
    spans = training_spans(corpus_of(tiny(data=data)), tiny(data=data))[0]
    return tiny(data=data, length={"lengths": [64], "starts": [0]}, step_tokens=64, tokens=spans * 64)


def corpus_of(settings: Settings) -> Corpus:
    return prepare(settings.data, Path(settings.where.outputs))


@pytest.mark.parametrize("forgotten", ["", "optimizer_states"])
def test_a_checkpoint_holds_the_optimizer(tiny, tmp_path, monkeypatch, forgotten):
    """Checkpoints held weights alone: neither optimizer nor schedule nor the place in the data."""
    undisturbed = tiny()
    disturbed = elsewhere(undisturbed, tmp_path / "disturbed")
    interrupt(disturbed, 13)
    load = checkpoint.SafetensorsIO.load_checkpoint

    def loading(*args: Any, **more: Any) -> dict[str, Any]:
        state = load(*args, **more)
        for optimizer in state.get(forgotten, []):
            optimizer["state"] = {}
        return state

    monkeypatch.setattr(checkpoint.SafetensorsIO, "load_checkpoint", loading)
    same = train_run(disturbed)["weights_sha256"] == train_run(undisturbed)["weights_sha256"]
    assert same == (not forgotten)


@pytest.mark.parametrize(("constant", "right"), [("tokens", True), ("rows", False)])
def test_longer_rows_are_fewer(tiny, constant, right):
    """Its curriculum of lengths kept the rows of a step, so tokens a step doubled twice while the rate stayed.

    Here the tokens of a step are constant, unless `length.constant=rows` says otherwise in so many words.
    """
    settings = tiny(length={"lengths": [16, 32, 64], "starts": [0, 0.3, 0.7], "constant": constant})
    corpus = corpus_of(settings)
    steps = Steps(Order(timeline(settings), training_spans(corpus, settings)), corpus)
    shapes = {tuple(steps[step].targets_BL.shape) for step in range(len(steps))}
    assert len(shapes) == 3
    assert (len({rows * length for rows, length in shapes}) == 1) == right
