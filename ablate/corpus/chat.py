"""Dialogues as parts of text, by a chat template: a file of Jinja as transformers has it, exported with the model.

    {% generation %} ... {% endgeneration %}    in the template, around what is written by one role

The template is asked with `mark_all` to mark every message; one that marks those of the assistant alone leaves the
rest to nobody, and it never counts.

The end token closes a document and stands in none, and nothing stands before one. So `bos_token` and `eos_token`, which
templates of other models name, are empty here, and in the template that is exported.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablate.corpus.document import Document
from ablate.corpus.turns import PARTS, Part
from ablate.run.settings import SettingsError

USUAL = Path(__file__).with_name("chat.jinja")
FRAME = "template"  # the role of what the template writes
WITHOUT = "{% set bos_token, eos_token = '', '' %}"  # before a template that names them
NAME = "chat_template.jinja"  # beside a tokenizer, where transformers looks for it


@functools.cache
def template(path: str) -> str:
    """The text of a template; of the usual one without a path. Raises SettingsError for one that cannot be used."""
    key = f"data.template={path}"
    try:
        text = (Path(path) if path else USUAL).read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{key}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{key}: must be text in UTF-8") from None
    if "generation %}" not in text.replace("generation -%}", "generation %}"):
        raise SettingsError(f"{key}: must say what the assistant writes: {{% generation %}} ... {{% endgeneration %}}")
    return WITHOUT + text if "bos_token" in text or "eos_token" in text else text


def parts(messages: Sequence[Mapping[str, Any]], template: str) -> list[Part]:
    """The messages as the template writes them. Raises ValueError for messages that are none, or not its own."""
    _check(messages)
    text, marked = _written(
        [dict(message) for message in messages], template, return_assistant_tokens_mask=True, mark_all=True
    )
    places = [(int(start), int(stop)) for start, stop in marked]
    roles = [message["role"] for message in messages]
    roles = roles if len(places) == len(roles) else [role for role in roles if role == "assistant"]
    if len(places) != len(roles):
        raise ValueError(f"the template marks {len(places)} passages, where the assistant has {len(roles)} messages")
    found, end = [], 0
    for role, (start, stop) in zip(roles, places, strict=True):
        found += [Part(FRAME, text[end:start]), Part(role, text[start:stop])]
        end = stop
    return [part for part in (*found, Part(FRAME, text[end:])) if part.text]


def pair(better: Any, worse: Any, template: str) -> list[list[Part]]:
    """Two dialogues that differ in what the assistant says last, each as what the template writes before that, and it.

    Raises ValueError for dialogues that differ elsewhere or end otherwise.
    """
    both = [_last(messages, template) for messages in (better, worse)]
    if both[0][0] != both[1][0]:
        raise ValueError("the better and the worse dialogue must be equal to their last message")
    return both


def _last(messages: Any, template: str) -> list[Part]:
    _check(messages)
    if messages[-1]["role"] != "assistant":
        raise ValueError(f"a dialogue must end with the assistant, not {str(messages[-1])[:80]!r}")
    found = parts(messages, template)
    place = max(number for number, part in enumerate(found) if part.role == "assistant")
    return [Part(FRAME, "".join(part.text for part in found[:place])), found[place]]


def asked(content: str, template: str) -> str:
    """What a user says, as the assistant is to go on with it. Raises ValueError for a template that cannot write it."""
    return _written([{"role": "user", "content": content}], template, add_generation_prompt=True)[0]


def is_chat(document: Document) -> bool:
    return any(role == FRAME for role, _ in document.meta.get(PARTS, ()))


def _written(messages: list[dict[str, Any]], template: str, **how: Any) -> tuple[str, Any]:
    """The text, and the passages that the template marks if it is asked to."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template  # a second, for those who have dialogues

    try:
        texts, marked = render_jinja_template([messages], chat_template=template, bos_token="", eos_token="", **how)
    except (TemplateError, TypeError) as error:
        raise ValueError(f"the template says: {error}") from None
    return texts[0], marked[0] if marked else ()


def _check(messages: Any) -> None:
    if not isinstance(messages, list) or not messages:
        raise ValueError("a dialogue must be a list of messages")
    for message in messages:
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise ValueError(f"a message must have a role and a content, not {str(message)[:80]!r}")
        if not all(isinstance(message[key], str) for key in ("role", "content")):
            raise ValueError(f"role and content of a message must be strings, not {str(message)[:80]!r}")
        if not message["role"]:
            raise ValueError(f"a message must have a role, not {str(message)[:80]!r}")
