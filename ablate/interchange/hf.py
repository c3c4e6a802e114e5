"""Form `hf`: what `AutoModelForCausalLM` and `AutoTokenizer` load, with the same logits to rounding.

    config.json  generation_config.json  model.safetensors
    tokenizer.json  tokenizer_config.json
    chat_template.jinja, of text with dialogues
    reward_head.safetensors, of runs with objective=reward

`model.convert` says which architectures have a class there.
"""

from pathlib import Path

import numpy as np

from ablate.compress.forms import rounds_inputs
from ablate.interchange import tokens
from ablate.interchange.contract import Form, Leaving, same

REWARD = "reward_head.safetensors"  # one row: its product with the last hidden state of a text is what that is worth


def misfit(leaving: Leaving, type: str) -> str:
    if rounds_inputs(to := leaving.settings.compress.to):
        return f"compress.to={to}: its inputs are rounded, which no weights say"
    return unknown(leaving)


def unknown(leaving: Leaving, *more: str) -> str:
    """Why transformers has no class for it; parts of the model may be from `more` modules than those of `model`."""
    from ablate.model.convert import OURS, config_to_hf

    try:
        config_to_hf(leaving.language, known=(*OURS, *more))
    except ValueError as error:
        return f"{error}; --to safetensors writes every model"
    return ""


def write(leaving: Leaving, type: str, folder: Path) -> None:
    from safetensors.torch import save_file
    from transformers.utils.logging import disable_progress_bar

    from ablate.model.convert import to_hf

    disable_progress_bar()
    theirs = to_hf(leaving.language, positions=leaving.span, end=leaving.end)
    theirs.generation_config.update(eos_token_id=leaving.end, pad_token_id=leaving.end)
    theirs.save_pretrained(folder)
    tokens.write_hf(leaving, folder)
    if leaving.language.value is not None:  # of a model of rewards, whose body alone has a class there
        save_file({"score.weight": leaving.language.value.weight.detach().contiguous()}, folder / REWARD)


class Reader:
    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
        self.tokenizer = tokens.auto(folder)

    def tokens(self, text: str) -> list[int]:
        return self.tokenizer(text).input_ids

    def logits(self, tokens_T: list[int]) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.model(torch.tensor([tokens_T]), use_cache=False).logits[0].float().numpy()


FORM = Form((), misfit, write, Reader, same)
