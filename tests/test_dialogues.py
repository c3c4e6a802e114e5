"""Dialogues, from rows to an exported model: what it was trained on is what transformers would ask it."""

import re
from pathlib import Path
from typing import Any

import pytest
from data.small import write_jsonl
from runs import train_run
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from ablate import export, generate
from ablate.data.tokenizer import END
from ablate.data.tokens import prepared
from ablate.run.record import Record
from ablate.run.settings import UserError


def chat(number: int) -> list[dict[str, str]]:
    first, second = (f"{number} and {number + more}?" for more in (1, 2))
    answers = f"That is {2 * number + 1}.", f"That is {2 * number + 2}."
    return [
        {"role": "system", "content": f"Add up. {END} is text."},
        *(
            {"role": role, "content": text}
            for role, text in zip(["user", "assistant"] * 2, [first, answers[0], second, answers[1]], strict=True)
        ),
    ]


# Names tokens as templates of other models do: where a dialogue begins, and behind what each role says
NAMING = """{% for m in messages %}{% set head = '<' + m.role + '>\\n' %}
{%- set head = bos_token + head if loop.first else '\\n' + head %}
{%- if m.role == 'assistant' %}{{ head }}{% generation %}{{ m.content + eos_token }}{% endgeneration %}
{%- else %}{{ head + m.content + eos_token }}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '\\n<assistant>\\n' }}{% endif %}"""


@pytest.fixture
def record(tiny, tmp_path) -> Record:
    return trained(tiny, tmp_path)


def trained(tiny, tmp_path, template: str = "") -> Record:
    write_jsonl(tmp_path / "text" / "chat" / "rows.jsonl", [{"messages": chat(number)} for number in range(300)])
    data = {"source": "folder", "root": str(tmp_path / "text"), "domains": ["chat"], "focus": "chat"}
    settings = tiny(data=data | {"template": template}, mixture={"weights": {}}, objective="answers", tokens=2048)
    train_run(settings)
    [folder] = (Path(settings.where.outputs) / "runs").iterdir()
    return Record(folder)


@pytest.mark.parametrize("template", ["", NAMING], ids=["the usual", "one that names tokens"])
def test_transformers_writes_a_dialogue_as_it_was_trained_on(tiny, tmp_path, template):
    (tmp_path / "t.jinja").write_text(template)
    record = trained(tiny, tmp_path, str(tmp_path / "t.jinja") if template else "")
    export.export(record, "hf", tmp_path / "model")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "model")
    corpus = prepared(record.folder.parents[1], record.fingerprint)
    stream, marks = corpus.tokens("chat", "train").tolist(), corpus.marks("chat", "train")
    assert marks is not None
    end = stream.index(corpus.end)
    text = corpus.tokenizer().decode(stream[:end])
    number = int(re.findall(r"(\d+) and", text)[0])
    assert tokenizer.apply_chat_template(chat(number), tokenize=False) == text
    found = tokenizer.apply_chat_template(chat(number), return_dict=True, return_assistant_tokens_mask=True)
    assert found["assistant_masks"] == [int(mark) for mark in marks[:end]]


def test_a_prompt_is_asked_as_a_user_would(record, tmp_path, capsys):
    outputs = ["--outputs", str(record.folder.parents[1]), "--tokens", "4", "--temperature", "0"]
    generate.main([record.id, "1 and 2?", "--chat", *outputs])
    said = capsys.readouterr().out
    generate.main([record.id, "User: 1 and 2?\nAssistant:", *outputs])
    assert capsys.readouterr().out == said


def test_a_model_of_plain_text_is_asked_nothing(tiny, capsys):
    settings = tiny(tokens=1024)
    train_run(settings)
    [folder] = (Path(settings.where.outputs) / "runs").iterdir()
    with pytest.raises((UserError, SystemExit)):
        generate.main([folder.name, "1?", "--chat", "--outputs", settings.where.outputs])
    assert "has no chat_template.jinja" in capsys.readouterr().err


def test_an_exported_tokenizer_puts_nothing_before_a_text(tiny, tmp_path):
    """As the run was trained: its text was cut without the token that the given tokenizer would begin with."""
    words: Any = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|end_of_text|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    words.train_from_iterator(["to be or not to be"], trainer)
    words.post_processor = processors.TemplateProcessing(single=f"{special[0]} $A", special_tokens=[(special[0], 0)])
    words.save(str(tmp_path / "words.json"))
    settings = tiny(data={"tokenizer": str(tmp_path / "words.json"), "vocabulary": 300}, tokens=1024)
    train_run(settings)
    [folder] = (Path(settings.where.outputs) / "runs").iterdir()
    export.export(Record(folder), "hf", tmp_path / "model")
    exported: Any = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert exported.convert_ids_to_tokens(exported("to be").input_ids) == words.encode("to be").tokens[1:]
