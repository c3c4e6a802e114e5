"""README, DECISIONS and docs/: short sentences, links that lead somewhere, and commands that work.

Of a page of docs/ a block of `yaml` or `python` is written to the file that its comment names. Commands of a block
`sh run` are then run as they stand, in order, but for settings that make every run tiny; those of a block `sh` are
composed.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typed import typed

from ablate.__main__ import COMMANDS
from ablate.console import compose
from ablate.console.words import SettingsParser

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "DECISIONS.md", *DOCS]
README_WORDS = 900
SENTENCE_WORDS = 35

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
BLOCK = re.compile(r"^```(\w*)( run)?\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
TINY = {"size": "tiny", "size.width": "16", "size.hidden": "32", "tokens": "5120", "step_tokens": "128"}
TINY |= {"data.domain_bytes": "60000", "data.vocabulary": "400", "data.span": "128", "length.lengths": "[128]"}
TINY |= {"evaluation.times": "4", "evaluation.spans": "1", "where.wandb": "off", "where.progress": "false"}


def prose(text: str) -> str:
    """The text without blocks of code, and with headings and items of lists as paragraphs of their own."""
    text = BLOCK.sub("\n", text)
    text = re.sub(r"^ {4}.*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"^(?:#+|\s*[-*]|\d+\.) (.*)$", r"\n\n\1\n", text, flags=re.MULTILINE)


def sentences(text: str) -> list[str]:
    """Each ends with a mark and a space, with its paragraph, or with its cell of a table."""
    parts = re.split(r"(?<=[.!?])[\"')*`]*\s|\n\s*\n|\|", prose(text))
    return [" ".join(part.split()) for part in parts if re.search(r"\w", part)]


def words(text: str) -> int:
    return len([word for word in text.split() if re.search(r"\w", word)])


def test_sentences_are_told_apart():
    text = "# Head\nOne **two.** Three (`a.b`) four: five\n\n- six\n- seven\n\n"
    text += "| eight | nine |\n|---|---|\n\n```sh\nten. ten\n```\n"
    assert [words(one) for one in sentences(text)] == [1, 2, 4, 1, 1, 1, 1]


@each_page
def test_no_sentence_is_longer_than_a_breath(page):
    long = {one: words(one) for one in sentences(page.read_text(encoding="utf-8")) if words(one) > SENTENCE_WORDS}
    assert not long


def test_the_readme_is_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


@each_page
def test_links_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in target or (page.parent / target).exists(), target


def commands(block: str) -> Iterator[list[str]]:
    """The commands of ours, as words."""
    for line in block.replace("\\\n", " ").splitlines():
        if line.split()[:1] == ["ablate"]:
            yield shlex.split(line, comments=True)[1:]


def write_file(block: str, folder: Path) -> None:
    name = re.search(r"^# (\S+\.(?:yaml|py))$", block, flags=re.MULTILINE)
    assert name, f"no file is named in: {block[:80]}"
    (folder / name[1]).parent.mkdir(parents=True, exist_ok=True)
    (folder / name[1]).write_text(block, encoding="utf-8")


def tiny(command: list[str]) -> list[str]:
    if command[0] != "train" and "--begin" not in command:
        return command
    return [word for word in command if word.partition("=")[0] not in TINY] + [f"{key}={TINY[key]}" for key in TINY]


@pytest.mark.slow
@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_the_commands_of_a_page_work(page, tmp_path):
    (folder := tmp_path / "there").mkdir()
    for language, run, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language in ("yaml", "python"):
            write_file(block, folder)
        for command in commands(block) if run else ():
            done = typed(*tiny(command), there=folder)
            assert done.returncode == 0, f"ablate {' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@each_page
def test_every_command_is_understood(page):
    """Also of commands that are not run here, and of each of their settings."""
    for _, _, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        for name, *rest in commands(block):
            assert name in COMMANDS
            if name in ("train", "prepare") and "--config-dir" not in rest:
                line = SettingsParser(name, "").read(
                    [word for word in rest if not re.search(r"^hydra/|interval\(", word)]
                )
                line.words = compose.loaded(line)[-1][0]  # of a multirun, the first of its combinations
                compose.single(line, lambda settings: None)


def test_tasks_that_pages_judge_by_are_in_their_group():
    judged = re.compile(r"evaluate=(\w+) study\.metric=task:(\w+):")
    found = [pair for page in DOCS for pair in judged.findall(page.read_text(encoding="utf-8"))]
    assert found
    for group, task in found:
        assert task in yaml.safe_load((ROOT / "conf" / "evaluate" / f"{group}.yaml").read_text())["tasks"]


def test_the_claims_of_the_readme_are_those_of_the_lab_book():
    rows = [line.split(" | ") for line in (ROOT / "README.md").read_text().splitlines() if line.endswith("] |")]
    book = [line.split(" | ") for line in (ROOT / "experiments/README.md").read_text().splitlines()]
    asked = [(row[2].strip("* "), row[4]) for row in book if row[0].startswith("| **") and "[" in row[4]]
    assert len(rows) == 10
    for (_, answer, effect), (told, found) in zip(rows, asked[:10], strict=True):
        assert (answer, effect.strip("| ")) == (told, found.removesuffix(" bits per byte"))
