"""Dialogues by templates of other models: as they write them, or refused with the template's own words."""

import pytest

from ablate.corpus import chat
from ablate.run.settings import SettingsError

ASKED = [{"role": "user", "content": " Why? "}, {"role": "assistant", "content": " So. "}]
# As Llama 3 has it, which trims
TRIMMING = """{{- bos_token }}{%- for m in messages %}{{- '<|head|>' + m.role + '<|/head|>\n\n' }}
{%- if m.role == 'assistant' %}{% generation %}{{- m.content | trim + '<|eot|>' }}{% endgeneration %}
{%- else %}{{- m.content | trim + '<|eot|>' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|head|>assistant<|/head|>\n\n' }}{%- endif %}"""
# As Mistral has it, which takes turns
STRICT = """{% for m in messages %}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{%- if m.role == 'user' %}{{ m.content }}{% else %}{% generation %}{{ m.content }}{% endgeneration %}{% endif %}
{%- endfor %}"""


def test_a_template_may_trim_and_mark_the_assistant_alone():
    frame = "<|head|>user<|/head|>\n\nWhy?<|eot|><|head|>assistant<|/head|>\n\n"
    assert chat.parts(ASKED, TRIMMING) == [(chat.FRAME, frame), ("assistant", "So.<|eot|>")]
    assert chat.asked(" Why? ", TRIMMING) == frame


@pytest.mark.parametrize(
    ("template", "messages", "words"),
    [
        (STRICT, ASKED[::-1], "^the template says: roles must alternate$"),
        (STRICT.removesuffix("{%- endfor %}"), ASKED, "^the template says: Unexpected end of template"),
        ("{{ 1 + messages[0].content }}{% generation %}{% endgeneration %}", ASKED, "^the template says: unsupported"),
        (STRICT, [{"role": "", "content": "Why?"}], "^a message must have a role, not "),
    ],
)
def test_what_a_template_cannot_write_is_said_in_a_line(template, messages, words):
    with pytest.raises(ValueError, match=words):
        chat.parts(messages, template)


def test_a_template_is_text(tmp_path):
    (tmp_path / "x.jinja").write_bytes(b"{% generation %}\xff")
    with pytest.raises(SettingsError, match=r"^data\.template=.*x\.jinja: must be text in UTF-8$"):
        chat.template(str(tmp_path / "x.jinja"))
