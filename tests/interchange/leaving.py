"""Models on their way out that nobody trained: no norm is one and no matrix small, so what is lost or moved shows."""

import dataclasses

import torch

from ablate.compress.forms import Recipe
from ablate.compress.smaller import apply, smaller
from ablate.data.tokens import prepare_for
from ablate.interchange.contract import Leaving
from ablate.model import match
from ablate.model.language import build
from ablate.run.compress import Compress
from ablate.run.settings import Settings

SIZE = {"depth": 2, "width": 64, "heads": 4, "kv_heads": 2}
GROUPS = {
    "llama": {},
    "llama, normed queries and keys, untied": {"qk_norm": True, "tied": False},
    "mla": {"pattern": "L", "latent": {"kv_rank": 16, "q_rank": 12}},
    "mamba2": {"pattern": "M", "mamba": {"head_width": 16}},
    "hybrid": {"pattern": "MMMA", "mamba": {"head_width": 16}},
    "bitnet": {"linear": "ternary"},
}


def whole(settings: Settings) -> Leaving:
    corpus = prepare_for(settings)
    language = build(settings.model, match.sized(settings), settings.data.vocabulary, seed=1).eval()
    for number, parameter in enumerate(language.parameters()):
        parameter.data += torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) / 20
    return Leaving(language, None, settings.data.span, corpus.end, corpus.folder, settings)


def compressed(settings: Settings, recipe: Recipe) -> Leaving:
    """As a run of the recipe leaves; on rows of the first domain."""
    leaving = whole(settings)
    rows_RT = torch.arange(8 * 64).view(8, 64) % settings.data.vocabulary
    packed = smaller(leaving.language, recipe, rows_RT)
    apply(packed, leaving.language).eval()
    asked = {name: vars(recipe)[name] for name in ("to", "method", "group", "symmetric")}
    settings = dataclasses.replace(settings, tokens=0, start=f"run:x@{'0' * 64}", compress=Compress(**asked))
    return leaving._replace(packed=packed, settings=settings)
