"""Parameters, FLOPs and memory: counted by formula and by watching what really happens."""

import dataclasses

import pytest
import torch
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode

from ablate.model import budget
from ablate.model.language import LanguageModel, build
from ablate.run.settings import Averaging, Data, Latent, Length, Mamba, Model, Settings, Size, Where

CONVOLUTION, CONVOLUTION_BACKWARD = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
SIZES = [
    Size(width=64, depth=2, heads=4, kv_heads=2, hidden=96),
    Size(width=96, depth=3, heads=3, kv_heads=3, hidden=160),
    Size(width=128, depth=4, heads=8, kv_heads=1, hidden=384),
]
MAMBA = Mamba(state=16, head_width=16, chunk=32)
MODELS = {
    "attention": Model(),
    "attention, normed": Model(qk_norm=True),
    "latent": Model(pattern="L"),
    "latent queries": Model(pattern="AL", latent=Latent(kv_rank=48, q_rank=24, rope_width=8)),
    "relu2": Model(feed="relu2"),
    "ternary": Model(linear="ternary"),
    "mamba": Model(pattern="M", mamba=MAMBA),
    "hybrid": Model(pattern="MMMA", mamba=MAMBA),
    "ternary hybrid": Model(pattern="MA", mamba=MAMBA, linear="ternary"),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def on_meta(size, model, vocabulary=512):
    with torch.device("meta"):
        return LanguageModel(model, size, vocabulary)


@pytest.mark.slow
@every_model
@pytest.mark.parametrize(("size", "length"), zip(SIZES, [96, 256, 96], strict=True))
def test_flops_are_those_counted(model, size, length):
    settings = Settings(size=size, model=model, data=Data(vocabulary=512), length=Length(lengths=[length]))
    model, tokens_BL = on_meta(size, model), torch.zeros(2, length, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as forward:
        logits = model.logits(tokens_BL)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    ahead, back = (mode.get_flop_counts()["Global"] for mode in (forward, backward))
    # In the backward pass torch counts a grouped convolution as if it were dense
    if CONVOLUTION in ahead:
        back[CONVOLUTION_BACKWARD] = 2 * ahead[CONVOLUTION]
    assert model.flops(length) == pytest.approx(sum(ahead.values()) / (2 * length), rel=0.01)
    training = (sum(ahead.values()) + sum(back.values())) / (2 * length)
    assert budget.of(settings).training_flops[length] == pytest.approx(training, rel=0.01)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_the_formula(tied):
    d, f, v, head = 96, 160, 512, 16
    size = Size(width=d, depth=3, heads=6, kv_heads=2, hidden=f)
    settings = Settings(size=size, model=Model(tied=tied), data=Data(vocabulary=v))
    block = d * (6 + 2 + 2) * head + 6 * head * d + 3 * d * f + 2 * d
    embedding = v * d * (1 if tied else 2)
    found = budget.of(settings)
    assert (found.parameters, found.embedding) == (3 * block + d + embedding, embedding)


def test_parameters_of_latent_attention_are_those_of_the_formula():
    d, f, v, heads, c, q, p = 96, 160, 512, 6, 40, 24, 8
    model = Model(pattern="L", feed="relu2", latent=Latent(kv_rank=c, q_rank=q, rope_width=p))
    size = Size(width=d, depth=3, heads=heads, kv_heads=2, hidden=f)
    queries = d * q + q + q * (d + heads * p)
    keys_and_values = d * c + c + c * 2 * d + d * p
    block = queries + keys_and_values + d * d + 2 * d * f + 2 * d
    found = budget.of(Settings(size=size, model=model, data=Data(vocabulary=v)))
    assert found.parameters - found.embedding == 3 * block + d


def test_a_large_model_is_counted_without_being_built():
    size = Size(width=960, depth=32, heads=15, kv_heads=5, hidden=2560)
    settings = Settings(size=size, data=Data(vocabulary=128_256), where=Where(micro_tokens=1024))
    found = budget.of(settings)
    assert found.parameters == pytest.approx(0.438e9, rel=0.01)
    assert found.memory.weights == 4 * found.parameters
    assert found.memory.total > 16 * found.parameters


@pytest.mark.parametrize(
    ("strategy", "parts"),
    [
        ("ddp", (1, 1, 1)),
        ("zero1", (1, 1, 4)),
        ("zero2", (1, 4, 4)),
        ("zero3", (4, 4, 4)),
        ("fsdp", (2, 2, 2)),  # inside a node; nodes hold copies
    ],
)
def test_what_is_held_in_parts_is_divided_by_the_devices(strategy, parts):
    whole, found = (
        budget.of(Settings(size=SIZES[0], where=where)).memory
        for where in (Where(), Where(strategy=strategy, devices=2, nodes=2))
    )
    for name, divisor in zip(("weights", "gradients", "optimizer"), parts, strict=True):
        assert getattr(found, name) == pytest.approx(getattr(whole, name) / divisor, abs=1)
    assert found.master == {"zero1": whole.weights / 4, "zero2": whole.weights / 4}.get(strategy, 0)


@pytest.mark.parametrize(
    ("where", "gpu", "keeps"),
    [
        (Where(device="cpu"), True, True),
        (Where(), False, True),
        (Where(), True, False),  # it is kept, but in the memory of the host
        (Where(compile=True), False, False),
        (Where(strategy="ddp", devices=2), False, False),
    ],
)
def test_a_cpu_keeps_the_state_before_the_last_step(monkeypatch, where, gpu, keeps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    found = budget.of(Settings(size=SIZES[0], where=where)).memory
    assert found.kept == (found.weights + found.optimizer if keeps else 0)


def test_weights_in_parts_are_whole_for_the_moment():
    """What belongs to no block, and of the largest block: its weights, its gradients and the weights fetched next."""
    where, size = Where(strategy="fsdp", devices=8), Size(width=256, depth=4, heads=4, kv_heads=2, hidden=512)
    block = 2 * 256**2 + 2 * 256 * 128 + 3 * 256 * 512 + 2 * 256
    assert budget.of(Settings(size=size, where=where)).memory.gathered == 4 * (3 * block + 2048 * 256 + 256)


def test_fsdp_gathers_16_bits_and_keeps_whole_gradients_while_it_accumulates():
    where = Where(strategy="fsdp", devices=4)
    one, several = (Settings(size=SIZES[0], where=where, step_tokens=tokens) for tokens in (65_536, 131_072))
    wide, narrow = budget.of(one).memory, budget.of(dataclasses.replace(one, precision="bf16-mixed")).memory
    others = 4 * budget.of(one).embedding  # float32 in both, beside a norm
    assert (wide.gathered - others) == pytest.approx(2 * (narrow.gathered - others), rel=1e-3)
    assert budget.of(several).memory.gradients == 4 * wide.gradients


MB, GB = 10**6, 10**9


@pytest.mark.parametrize(
    ("memory_gb", "runs_per_device", "rows"),
    [(10, 1, 4), (12, 1, 5), (11.9, 1, 4), (24, 2, 5), (2, 1, 1), (0.1, 1, 1)],
)
def test_micro_tokens_are_the_rows_that_fit(monkeypatch, memory_gb, runs_per_device, rows):
    """A device that holds 1.6 GB beside the rows and 1.6 GB a row, of which 80 % may be used."""

    def memory_of(settings, size, rows, length, average, in_parts):
        assert average, "arms with and without an average share trunks"
        assert in_parts, "so do those of other batches"
        return budget.Memory(
            weights=GB, gradients=0, optimizer=0, average=0, activations=rows * 16 * GB // 10, loss=6 * GB // 10
        )

    monkeypatch.setattr(budget, "memory_of", memory_of)
    settings = Settings(where=Where(runs_per_device=runs_per_device))
    assert budget.micro_tokens(settings, round(memory_gb * GB)) == rows * settings.data.span


@pytest.mark.parametrize("changes", [{"recompute": True}, {}])
def test_micro_tokens_fit_a_real_model_into_the_memory(changes):
    """1.1 B parameters of 2048-token rows on 80 GB: as many rows as fit, and not one more."""
    size = Size(width=2048, depth=22, heads=16, kv_heads=4, hidden=5632)
    settings = Settings(size=size, data=Data(vocabulary=32_000, span=2048), where=Where(**changes))
    tokens = budget.micro_tokens(settings, 80 * GB)
    rows, beyond = divmod(tokens, 2048)
    assert (beyond, rows) >= (0, 1)
    held = [budget.memory_of(settings, size, count, 2048, average=True).total for count in (rows, rows + 1)]
    assert held[0] <= budget.USABLE * 80 * GB < held[1]


@pytest.mark.parametrize(
    "changes", [{"tokens": 10**7}, {"length": Length(lengths=[256])}, {"averaging": Averaging(kind="ema")}]
)
def test_micro_tokens_are_those_of_every_run_that_shares_a_beginning(changes):
    settings = Settings(size=SIZES[0])
    assert budget.micro_tokens(dataclasses.replace(settings, **changes), GB) == budget.micro_tokens(settings, GB)


def test_flops_grow_with_row_length_by_attention_alone():
    lengths = Length(lengths=[256, 1024], starts=[0, 0.5])
    flops = budget.of(Settings(size=SIZES[0], length=lengths)).forward_flops
    assert flops[1024] - flops[256] == 2 * 4 * 64 * (1024 - 256)


def test_vocabulary_of_the_tokenizer_overrides_that_of_the_settings():
    small, large = (budget.of(Settings(), vocabulary=vocabulary) for vocabulary in (300, 301))
    assert large.parameters - small.parameters == Size().width


def test_state_is_the_key_value_cache():
    assert budget.of(Settings(size=SIZES[0])).state_bytes == 2 * (2 * 2 * 16) * 1024 * 2


def test_state_of_latent_attention_is_one_latent_and_one_rotary_key():
    settings = Settings(size=SIZES[0], model=Model(pattern="LA"))
    assert budget.of(settings).state_bytes == (64 + 16 + 2 * 2 * 16) * 1024 * 2


@pytest.mark.slow
@every_model
@pytest.mark.parametrize(("precision", "length"), [("fp32", 96), ("fp32", 1088), ("bf16-mixed", 1088)])
def test_activations_are_those_kept_by_a_real_model(model, precision, length):
    settings = Settings(size=SIZES[0], model=model, precision=precision)
    model, tokens_BL = build(settings.model, settings.size, 512, seed=0), torch.zeros(3, length, dtype=torch.long)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed")
    with profile(profile_memory=True) as allocations, autocast:
        kept = model(tokens_BL)
    real = sum(event.self_cpu_memory_usage for event in allocations.key_averages())
    assert kept.requires_grad
    assert budget.activation_bytes(settings, 512, 3, length) == pytest.approx(real, rel=0.1)


def test_what_is_equal_is_counted_once_and_memory_only_when_asked_for(monkeypatch):
    """The plan of a study of a thousand runs must not take a thousand times as long."""
    counted = []
    monkeypatch.setattr(budget, "count", lambda model: counted.append(model) or 1)
    monkeypatch.setattr(budget, "memory_of", lambda *_: pytest.fail("nobody asked"))
    models = [Model(init_scale=0.5), Model(init_scale=0.51)]
    for seed in range(10):
        for model in models:
            budget.of(Settings(seed=seed, model=model, tokens=2_000_000 + seed))
    assert len(counted) == len(models)


def test_more_rows_or_longer_rows_keep_more():
    settings = Settings(size=SIZES[0])
    one, two, long = (budget.activation_bytes(settings, 512, b, n) for b, n in ((1, 256), (2, 256), (1, 512)))
    assert one < two < long < 4 * one


def test_peak_is_a_speed():
    assert budget.peak_flops(torch.device("cpu"), torch.float32) > 1e9
