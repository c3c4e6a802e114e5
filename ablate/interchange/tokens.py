"""The tokenizer of a folder: as it was trained, and the files that transformers reads beside it."""

import shutil
import sys
from pathlib import Path
from typing import Any

from ablate.corpus import chat
from ablate.interchange.contract import Leaving


def write(leaving: Leaving, folder: Path) -> None:
    """tokenizer.json, to the byte as it is, unless it puts a token before a text: a run that starts from the folder
    knows its text."""
    from ablate.data.tokenizer import as_trained

    text = as_trained((leaving.corpus_folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def write_hf(leaving: Leaving, folder: Path) -> None:
    """The same with all that `AutoTokenizer` reads; the template of dialogues, of text that has them."""
    from transformers import PreTrainedTokenizerFast

    from ablate.data import tokenizer

    path = leaving.corpus_folder / "tokenizer.json"
    end = tokenizer.load(path.read_text(encoding="utf-8")).id_to_token(leaving.end)
    PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        split_special_tokens=True,  # "<|end|>" in a text is seven characters of it, as in training
        eos_token=end,
        pad_token=end,  # what stands behind an end is never looked at
        model_max_length=leaving.span,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    if (leaving.corpus_folder / chat.NAME).exists():
        shutil.copy(leaving.corpus_folder / chat.NAME, folder)
    write(leaving, folder)  # which transformers has written in words of its own


def auto(folder: Path) -> Any:
    """What AutoTokenizer makes of a folder."""
    from transformers import AutoTokenizer

    # Texts longer than a row are no matter here, and a warning elsewhere
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=sys.maxsize)
