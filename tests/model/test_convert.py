"""The same logits as Hugging Face's Llama, in both directions."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ablate.model.convert import from_hf, to_hf
from ablate.model.language import build
from ablate.settings import Model, Size

SIZE = Size(width=48, depth=3, heads=6, kv_heads=2, hidden=80)
tied_or_not = pytest.mark.parametrize("tied", [True, False])


@pytest.fixture
def tokens_BL():
    return torch.randint(97, (2, 75), generator=torch.Generator().manual_seed(1))


def llama(**changes) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**shape, intermediate_size=80, vocab_size=97, **changes)).eval()


@tied_or_not
def test_to_hf_gives_the_same_logits(tokens_BL, tied):
    model = build(Model(tied=tied, init_scale=0.6, rope_theta=500.0, norm_eps=1e-4), SIZE, 97, seed=3)
    with torch.no_grad():
        torch.testing.assert_close(to_hf(model)(tokens_BL).logits, model.logits(tokens_BL), atol=1e-5, rtol=0)


@tied_or_not
def test_from_hf_gives_the_same_logits(tokens_BL, tied):
    theirs = llama(tie_word_embeddings=tied, initializer_range=0.1)
    with torch.no_grad():
        torch.testing.assert_close(from_hf(theirs).logits(tokens_BL), theirs(tokens_BL).logits, atol=1e-5, rtol=0)


def test_from_hf_gives_the_same_gradients(tokens_BL):
    theirs = llama(tie_word_embeddings=False)
    ours = from_hf(theirs)
    theirs(tokens_BL).logits.square().mean().backward()
    ours.logits(tokens_BL).square().mean().backward()
    for mine, its in ((ours.embedding.weight, theirs.model.embed_tokens), (ours.head_weight, theirs.lm_head)):
        torch.testing.assert_close(mine.grad, its.weight.grad, atol=1e-6, rtol=1e-4)


@tied_or_not
def test_there_and_back_is_exact(tied):
    model = build(Model(tied=tied), SIZE, 97, seed=3)
    back = from_hf(to_hf(model))
    assert (back.model, back.size) == (model.model, model.size)
    for name, value in model.state_dict().items():
        assert torch.equal(value, back.state_dict()[name]), name


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_act", "gelu"), ("attention_bias", True), ("head_dim", 16), ("mlp_bias", True)],
)
def test_what_has_no_form_here_is_named(key, value):
    with pytest.raises(ValueError, match=key):
        from_hf(llama(**{key: value}))
