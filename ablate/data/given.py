"""The tokenizer.json that `data.tokenizer` names: the file, a folder that has it, or a model of the Hugging Face
hub.

Of the hub it is fetched once: what lies there is taken to stay, and later starts need no network.
"""

from pathlib import Path

from ablate.run.failures import first_line
from ablate.run.files import endless
from ablate.run.settings import UserError

NAME = "tokenizer.json"


def tokenizer_file(name: str) -> Path:
    """Raises UserError, one line, for a name of the hub that cannot be had, and for a pipe."""
    path = Path(name) / NAME if Path(name).is_dir() else Path(name)
    if kind := endless(path):
        raise UserError(f"data.tokenizer={name}: is a {kind}, not a file")
    of_hub = not path.exists() and path.suffix != ".json" and not path.is_absolute() and name.count("/") < 2
    return _of_hub(name) if of_hub else path


def _of_hub(name: str) -> Path:
    import huggingface_hub.utils.logging

    huggingface_hub.utils.logging.set_verbosity_error()  # it reports every retry; the line at the end says what counts
    try:
        cached = huggingface_hub.try_to_load_from_cache(name, NAME)
        return Path(cached if isinstance(cached, str) else huggingface_hub.hf_hub_download(name, NAME))
    except Exception as error:  # of names, of repositories, of files, of clients for HTTP: each has its own
        raise UserError(
            f"data.tokenizer={name}: is no file and no folder here, and the hub does not give its {NAME}: "
            f"{first_line(error)}"
        ) from None
