"""A flow gives the same, whoever works on it and whatever ends it, and accounts for every document."""

import contextlib
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet
import pytest
from corpus.steps import TEXTS, Each, Halves, Short, Silent, Twins, Upper, contents, documents_of, made, written
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.corpus import flow, parts
from ablate.corpus.document import Document
from ablate.corpus.flow import How
from ablate.corpus.passes import NEAREST, id_of
from ablate.corpus.step import Measured, Result
from ablate.run.corpus import Prepare
from ablate.run.settings import UserError

STEPS = [Upper(), Short(), Twins(), Halves(), Twins("twins again")]


def how(workers: int = 1, most: float = 1.0, allow: Sequence[str] = ()) -> How:
    return How("web", 2, Prepare(workers=workers), allow, most)


def judged(folder: Path, what: str) -> list[dict]:
    return [row for path in sorted(folder.glob(f"{what}-*")) for row in pyarrow.parquet.read_table(path).to_pylist()]


def test_any_number_of_workers_gives_equal_bytes(tmp_path):
    inputs = written(tmp_path / "in", TEXTS)
    found = [contents(flow.run(inputs, tmp_path / str(n) / "web-l2", STEPS, how(n))) for n in (1, 2, 4)]
    assert found[0] == found[1] == found[2]
    assert len([name for name in found[0] if name.startswith("part-")]) == len(inputs)


def test_what_the_steps_do_is_what_they_would_do_one_after_the_other(tmp_path):
    inputs = written(tmp_path / "in", TEXTS)
    found = documents_of(flow.run(inputs, tmp_path / "web", STEPS, how(2)))
    for number, step in enumerate(STEPS):
        inputs = parts.paths_of(flow.run(inputs, tmp_path / f"step-{number}", [step], how()))
    assert found == documents_of(inputs[0].parent)
    assert [document.meta["domain"] for document in found] == ["web"] * len(found)


def test_every_document_is_accounted_for(tmp_path):
    folder = flow.run(written(tmp_path / "in", TEXTS), tmp_path / "web", STEPS, how())
    manifest, removed = flow.manifest_of(folder), judged(folder, "removed")
    found, originals = documents_of(folder), {id_of(Document(text, f"s{len(text)}")) for text in TEXTS}
    reached = {one for d in found for one in d.meta.get("parents", [d.meta["id"]])}
    assert reached | {row["id"].split("/")[0] for row in removed} == originals
    assert manifest["documents"] == len(found)
    assert manifest["bytes"] == sum(document.bytes for document in found)
    by_step = {count.step: count for count in flow.counts_of(folder)}
    assert by_step["upper"].changed == by_step["upper"].kept == len(TEXTS)
    assert by_step["upper"].noted == {"letters": sum(map(len, TEXTS))}
    assert by_step["halves"].made == 2 * by_step["halves"].replaced > 0
    went = {(row["step"], row["rule"]): 0 for row in removed} | Counter((row["step"], row["rule"]) for row in removed)
    assert went == {(c.step, rule): n for c in by_step.values() for rule, (n, _) in c.removed.items()}


def test_what_went_is_shown_with_its_evidence_and_what_nearly_went_beside_it(tmp_path):
    texts = ["two words", *(" ".join(["word"] * n) for n in range(4, 20))]
    folder = flow.run(written(tmp_path / "in", texts), tmp_path / "web", [Short(least=4)], how())
    [gone] = judged(folder, "removed")
    assert (gone["rule"], gone["value"], gone["bound"], gone["evidence"]) == ("short.words", -2, -4, "two")
    assert (gone["text"], gone["bytes"], gone["step"]) == ("two words", 9, "short")
    assert [-row["value"] for row in judged(folder, "near")][:NEAREST] == [4, 5, 6, 7, 8]


def test_equal_text_and_steps_are_found_again_under_one_key(tmp_path):
    first = flow.run(written(tmp_path / "a", TEXTS), tmp_path / "out/web", STEPS, how(2))
    at = (first / flow.MANIFEST).stat().st_mtime_ns
    assert flow.run(written(tmp_path / "b", TEXTS), tmp_path / "out/web", STEPS, how(1)) == first
    assert (first / flow.MANIFEST).stat().st_mtime_ns == at
    others = [
        flow.run(written(tmp_path / "c", [*TEXTS[:-1], "another text here"]), tmp_path / "out/web", STEPS, how()),
        flow.run(written(tmp_path / "d", TEXTS), tmp_path / "out/web", [Short(least=2), *STEPS], how()),
    ]
    assert len({first, *others}) == 3


def test_the_digests_of_a_folder_that_a_flow_made_are_those_of_its_files(tmp_path):
    folder = flow.run(written(tmp_path / "in", TEXTS), tmp_path / "web", [Upper()], how())
    known = flow.digests(parts.paths_of(folder))
    (folder / flow.MANIFEST).unlink()
    assert flow.digests(parts.paths_of(folder)) == known


def test_a_rule_that_removes_most_of_a_domain_stops_unless_it_is_allowed(tmp_path):
    inputs = written(tmp_path / "in", TEXTS)
    with pytest.raises(
        UserError, match=r"domain web: rule short\.words removes [56789]\d% of its text.*corpus\.allow="
    ):
        flow.run(inputs, tmp_path / "web", [Short(least=7)], how(most=0.5))
    folder = flow.run(inputs, tmp_path / "web", [Short(least=7)], how(most=0.5, allow=["short.words"]))
    assert all(len(document.text.split()) >= 7 for document in documents_of(folder))


class Both(Each):
    def one(self, document: Document) -> Result:
        return Result([document], Measured("both", 1, 0))


@pytest.mark.parametrize("step", [Silent(), Both()])
def test_a_step_that_loses_a_document_or_keeps_one_that_it_removed_is_stopped(tmp_path, step):
    with pytest.raises(AssertionError, match="each: "):
        flow.run(written(tmp_path / "in", TEXTS), tmp_path / "web", [step], how())


@pytest.mark.parametrize(("texts", "step"), [([], "upper"), (["one", "two"], "twins")])
def test_a_step_that_is_left_without_documents_is_one_line(tmp_path, texts, step):
    with pytest.raises(UserError, match=rf"^domain web, level 2: no document is left for {step}$"):
        flow.run(written(tmp_path / "in", texts), tmp_path / "web", STEPS, how())


CODE = """
import sys
sys.path[:0] = {tests!r}
from pathlib import Path
from corpus.steps import Short, Twins, Upper
from test_flow import how
from ablate.corpus import flow, parts
if __name__ == "__main__":
    inputs = parts.paths_of(Path({folder!r}) / "in")
    print(flow.run(inputs, Path({folder!r}) / "web", [Upper(held=Path({folder!r})), Twins(), Short()], how({workers})))
"""


def finished(folder: Path) -> dict[Path, int]:
    """When each part was written that a run has finished so far."""
    found = {}
    for path in made(folder):
        with contextlib.suppress(FileNotFoundError):  # moved meanwhile
            found[path] = path.stat().st_mtime_ns
    return found


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_anywhere_it_goes_on_and_does_no_finished_part_again(tmp_path, workers):
    inputs = written(tmp_path / "in", TEXTS * 2, each=12)
    program = tmp_path / "program.py"
    program.write_text(
        CODE.format(
            tests=[str(Path(__file__).parents[1]), str(Path(__file__).parent)], folder=str(tmp_path), workers=workers
        )
    )
    killed, seen = 0, {}
    for parts_more in (1, 2, 4, 10**6):  # that each process is left to finish
        (tmp_path / "most").write_text(str(most := len(seen) + parts_more))
        process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        while process.poll() is None and len(finished(tmp_path)) < most:
            time.sleep(0.005)
        now = finished(tmp_path)
        assert all(now[path] == at for path, at in seen.items() if path in now)
        seen |= now
        if process.poll() is not None:
            break
        process.kill()
        process.communicate()  # until those that it has started are gone, too
        killed += 1
    assert killed > 0
    assert process.returncode == 0
    [folder] = [path for path in tmp_path.glob("web-*") if path.is_dir()]
    steps = [Upper(), Twins(), Short()]
    assert contents(folder) == contents(flow.run(inputs, tmp_path / "again", steps, how()))
    assert not list(folder.glob(".*"))


@settings(max_examples=20)
@given(st.lists(st.text("ab ", min_size=1, max_size=9).filter(str.strip), max_size=30), st.integers(1, 9))
def test_how_text_is_cut_into_parts_does_not_matter(tmp_path_factory, texts, each):
    folder, texts = tmp_path_factory.mktemp("cut"), [*texts, "one that stays"]
    inputs = [written(folder / "a", texts, 30), written(folder / "b", texts, each)]
    found = [documents_of(flow.run(one, folder / f"out-{n}", STEPS, how())) for n, one in enumerate(inputs)]
    assert found[0] == found[1]
