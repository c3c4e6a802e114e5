"""A matched model costs what the model of attention costs that its size describes."""

from dataclasses import replace

import pytest
import torch
import yaml
from hypothesis import given, reject
from hypothesis import strategies as st

from ablate.model import budget, match
from ablate.model.language import LanguageModel, build
from ablate.run.identity import difference
from ablate.run.settings import Data, Length, Mamba, Model, Settings, SettingsError, Size
from bench.rounds import ROOT

MODELS = {
    "attention": Model(),
    "latent": Model(pattern="L"),
    "mamba": Model(pattern="M"),
    "hybrid": Model(pattern="MMMA"),
    "ternary": Model(linear="ternary"),
    "relu2": Model(feed="relu2"),
    "normed": Model(qk_norm=True),
    "untied": Model(pattern="M", tied=False),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
both_sizes = pytest.mark.parametrize("name", ["nano", "micro"])


def preset(name: str) -> Size:
    return Size(**yaml.safe_load((ROOT / "conf" / "size" / f"{name}.yaml").read_text()))


def settings(model: Model, size: Size, what) -> Settings:
    return Settings(model=model, size=replace(size, match=what), data=Data(vocabulary=4096))


def cost(settings: Settings, what: str) -> int:
    found = budget.of(settings)
    span = settings.data.span
    return {"parameters": found.parameters, "flops": found.training_flops[span], "state": found.state_bytes}[what]


def reference(model: Model, size: Size) -> Settings:
    """What `size` describes, by itself."""
    return settings(Model(tied=model.tied), size, "none")


@every_model
@both_sizes
@pytest.mark.parametrize("what", ["parameters", "flops"])
def test_parameters_and_flops_are_matched_to_one_percent(model, name, what):
    matched = settings(model, preset(name), what)
    assert cost(matched, what) == pytest.approx(cost(reference(model, preset(name)), what), rel=0.01)
    made = match.sized(matched)
    assert (made.depth, made.heads, made.kv_heads) == (matched.size.depth, matched.size.heads, matched.size.kv_heads)


@pytest.mark.parametrize("pattern", ["M", "MMMA", "A"])
@both_sizes
def test_state_is_matched_as_near_as_widths_permit(pattern, name):
    model = Model(pattern=pattern)
    matched, wanted = settings(model, preset(name), "state"), cost(reference(model, preset(name)), "state")
    assert cost(matched, "state") == pytest.approx(wanted, rel=0.05)
    made, unit = match.sized(matched), match.width_unit(model, matched.size)
    for width in (made.width - unit, made.width + unit):
        other = cost(settings(model, replace(made, width=width), "none"), "state")
        assert abs(other - wanted) >= abs(cost(matched, "state") - wanted)


@pytest.mark.parametrize("what", ["none", "parameters", "flops", "state"])
@pytest.mark.parametrize("name", ["tiny", "nano", "micro"])
def test_attention_matches_itself(what, name):
    assert match.sized(settings(Model(), preset(name), what)) == preset(name)


def test_feed_forwards_make_up_for_each_other():
    """Two matrices in place of three: 3/2 as wide, at the same width of the model."""
    matched = match.sized(settings(Model(feed="relu2"), preset("nano"), "parameters"))
    assert (matched.width, matched.hidden) == (128, 576)


def test_flops_are_matched_at_the_span_whatever_the_curriculum():
    short = Length(lengths=[256, 1024], starts=[0, 0.5])
    matched = settings(Model(pattern="MMMA"), preset("nano"), "flops")
    assert match.sized(replace(matched, length=short)) == match.sized(matched)


def test_state_that_no_width_changes_is_refused_in_one_line():
    with pytest.raises(
        SettingsError, match=r"^size.match=state: model.pattern=L comes no nearer to .* than [\d,]+, at "
    ):
        match.sized(settings(Model(pattern="L"), preset("nano"), "state"))


def test_arms_differ_in_their_model_alone_however_they_are_built():
    base, arm = (settings(model, preset("nano"), "parameters") for model in (Model(), Model(pattern="M")))
    assert match.sized(base) != match.sized(arm)
    assert difference(base, arm) == {"model.pattern": ("A", "M")}


def test_a_declared_size_is_not_built():
    with pytest.raises(AssertionError, match="sized"):
        LanguageModel(Model(), Size(match="flops"), 512)


shapes = st.builds(
    lambda head, heads, groups, depth, ratio: Size(
        width=2 * head * heads, depth=depth, heads=heads, kv_heads=heads // groups, hidden=int(2 * head * heads * ratio)
    ),
    *(st.integers(4, 24), st.sampled_from([2, 4, 6]), st.sampled_from([1, 2]), st.integers(1, 5), st.floats(1.5, 4)),
)
models = st.builds(
    Model,
    pattern=st.text("ALM", min_size=1, max_size=4),
    linear=st.sampled_from(["dense", "ternary"]),
    feed=st.sampled_from(["swiglu", "relu2"]),
    tied=st.booleans(),
    mamba=st.builds(
        Mamba, state=st.sampled_from([8, 16, 32]), expand=st.integers(1, 3), head_width=st.sampled_from([8, 16, 20])
    ),
)


@pytest.mark.slow
@given(shapes, models, st.sampled_from(["parameters", "flops"]))
def test_whatever_is_found_is_close_and_can_be_built(size, model, what):
    matched = settings(model, size, what)
    try:
        made = match.sized(matched)
    except SettingsError:  # too small for steps of a percent
        reject()
    assert cost(matched, what) == pytest.approx(cost(reference(model, size), what), rel=0.01)
    assert made.width % (2 * made.heads) == 0
    build(model, made, 300, seed=0).logits(torch.zeros(1, 9, dtype=torch.long))
