"""Runs asked for tasks: weights, items and protocol brought together, and a file for each in `runs/<id>/scores`.

Items are made of the held-out text of the run (`scores.tasks`), and those that stand in its training text are noted
(`scores.contamination`). An evaluation that was interrupted goes on where it was.
"""

import functools
import importlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from ablate.data.heldout import HeldOut
from ablate.data.tokenizer import end_of, pieces
from ablate.data.tokens import Corpus, prepare, prepared
from ablate.fit import saved
from ablate.fit.asking import Ask, Foreign
from ablate.run.evaluate import Task
from ablate.run.lineage import lineage
from ablate.run.progress import Progress
from ablate.run.record import Record
from ablate.run.settings import Data
from ablate.scores import answers, asked, contamination
from ablate.scores.candidate import Candidate
from ablate.scores.items import Item, Sheet
from ablate.scores.tasks.table import KINDS, Drawn, NoItems, drawn


def answer(asks: Sequence[Ask], shown: bool) -> None:
    """Ask all that is to be asked, run by run and step by step. Raises UserError for what cannot be."""
    tasks = {ask.name: ask.task for ask in asks}
    makers: dict[tuple[Path, ...], Maker] = {}
    with Progress(len(asks), shown=shown, unit="task") as progress:
        for (record, step), group in itertools.groupby(asks, key=lambda ask: (ask.record, ask.step)):
            corpus, *before = _corpora(record)
            folders = tuple(one.folder for one in (corpus, *before))
            if folders not in makers:
                progress.tell(f"making items of {len(tasks)} tasks, and looking for them in the training text")
                progress.stop()  # there is one bar at a time, and a search of much text has its own
                makers[folders] = Maker(corpus, tasks, before, shown)
                progress.start()
                for why in makers[folders].empty.values():
                    progress.tell(f"not asked: {why}")
            with _seated(record, step, corpus) as candidate:
                for ask in group:
                    progress.begin(f"{record.id}  step {step}  {ask.name}  {ask.protocol}")
                    if ask.name not in makers[folders].empty:
                        _answer(candidate, makers[folders], ask)


def _corpora(record: Record) -> list[Corpus]:
    """The one whose held-out text items are made of, and those that the phases before were trained on.

    Of a foreign folder, that of the settings as they come.
    """
    if isinstance(record, Foreign):
        return [prepare(Data(), record.outputs, progress=True)]
    chain = [link.record for link in reversed(lineage(record)) if link.record]
    fingerprints = dict.fromkeys(one.fingerprint for one in chain)
    return [prepared(record.folder.parents[1], fingerprint) for fingerprint in fingerprints]


def _answer(candidate: Candidate, maker: "Maker", ask: Ask) -> None:
    sha, folder, beat = ask.record.kept()[ask.step], ask.record.scores, ask.record.beat
    if ask.name in maker.made:
        shots, items = maker.made[ask.name]
        out, settings = maker.contaminated[ask.name], answers.plain(ask.task)
        asked.ask(candidate, Sheet(ask.name, ask.protocol, ask.step, sha, items, shots, out, settings), folder, beat)
    else:  # of lm-eval, which takes seconds to import
        harness = importlib.import_module("ablate.scores.harness")
        search = functools.partial(maker.contaminated_of, ask.name)
        harness.ask(candidate, ask.name, ask.task, ask.step, sha, folder, beat, search)
    (ask.record.folder / "pulse").unlink(missing_ok=True)  # of the beats: the run itself takes no steps


class Maker:
    """The items of tasks, of the held-out text of one corpus, and which of them stand in its training text, or in that
    of the phases before.

    `empty` says of which tasks the text makes none, and why. Raises UserError if that is so of all of them.
    """

    def __init__(
        self, corpus: Corpus, tasks: Mapping[str, Task], before: Sequence[Corpus] = (), shown: bool = False
    ) -> None:
        text, self.made, self.empty = HeldOut(corpus), dict[str, Drawn](), dict[str, NoItems]()
        for name, task in tasks.items():
            try:
                if KINDS[task.kind].make:
                    shots, items = drawn(name, task, text)
                    self.made[name] = Drawn(shots, joined(items))
            except NoItems as error:
                self.empty[name] = error
        if len(self.empty) == len(tasks):
            raise next(iter(self.empty.values()))
        self.read = (corpus, *before)
        self.contaminated = self._found({name: one.items for name, one in self.made.items()}, shown)

    def contaminated_of(self, name: str, items: Sequence[Item]) -> list[str]:
        """Keys of items that another hand has made."""
        return self._found({name: items}, shown=False)[name]

    def _found(self, made: Mapping[str, Sequence[Item]], shown: bool) -> dict[str, list[str]]:
        found = [contamination.search(made, corpus, shown) for corpus in self.read]
        return {name: sorted({place.item for one in found for place in one[name]}) for name in made}


def joined(items: Sequence[Item]) -> list[Item]:
    """The items with one source for all that are asked the same, whatever they were made from, and for all that share
    a source with one of them: what is there twice tells nothing new."""
    leader: dict[str, str] = {}

    def of(source: str) -> str:
        while leader.get(source, source) != source:
            source = leader[source]
        return source

    first: dict[tuple[str, frozenset[str], str], str] = {}
    for item in items:
        same = first.setdefault((item.context, frozenset(item.choices), item.choices[item.gold]), item.source)
        leader[of(item.source)] = of(same)
    return [replace(item, source=of(item.source)) for item in items]


@contextmanager
def _seated(record: Record, step: int, corpus: Corpus) -> Iterator[Candidate]:
    """The model of a run after a step, where it can be asked as fast as it goes, with the types that it had."""
    if isinstance(record, Foreign):
        with torch.no_grad():
            yield _foreign(record.folder)
        return
    settings = record.settings()
    device = torch.device("cuda" if torch.cuda.is_available() and settings.where.device != "cpu" else "cpu")
    tokenizer = corpus.tokenizer()
    language = saved.load(record, step).to(device)
    with saved.as_there(settings, record.threads, device):
        yield Candidate(
            language,
            lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
            pieces(tokenizer, settings.data.vocabulary),
            corpus.end,
            settings.data.span,
        )


def _foreign(folder: Path) -> Candidate:
    """The model of a folder that transformers loads. Raises UserError for one that cannot be ours."""
    language, tokenizer, span = saved.of_folder(folder)
    language = language.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    parts, end = pieces(tokenizer, len(language.head_weight)), end_of(tokenizer)
    assert end is not None  # `of_folder` says it politely
    return Candidate(language, lambda text: tokenizer.encode(text, add_special_tokens=False).ids, parts, end, span)
