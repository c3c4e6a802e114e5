"""Prepared data: what is on disk, what identifies it, and what happens when something goes wrong."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from small import intact, small_data, splits_of, write_corpora, write_jsonl  # pyrefly: ignore  # beside this file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from ablate.data.heldout import texts_of
from ablate.data.tokens import num_spans, opened, prepare, prepared
from ablate.prepare import describe
from ablate.run import whole
from ablate.run.settings import Data, UserError
from ablate.run.whole import sha256_of

SECONDS = 300  # that another process may take to say something
# Put before a program: it stops itself when it has said so
STOPS = """
import builtins, os, signal
tell = print
def told(text, **how):
    tell(text, **how)
    if {word!r} in str(text): os.kill(os.getpid(), signal.SIGSTOP)
builtins.print = told
"""


def refused(data: Data, outputs: Path) -> str:
    """The one line that preparing ends in."""
    with pytest.raises(UserError) as caught:
        prepare(data, outputs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def mended(data: Data, outputs: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said of damaged text that is set aside and prepared again, to the byte."""
    folder, written = (found := prepared_before(outputs)), (found / "manifest.json").exists()
    with pytest.raises(UserError, match=r"; ablate prepare and train prepare it again$"):
        opened(folder)
    capsys.readouterr()
    corpus = prepare(data, outputs)
    assert corpus.folder == folder
    assert intact(corpus)
    aside = folder.with_name(f".{folder.name}.damaged")
    assert (aside / "manifest.json").exists() == written
    said = capsys.readouterr().out.splitlines()
    (line,) = [line for line in said if "set aside" in line]
    assert line.endswith(f"; set aside as {aside.name}, and prepared again")
    return line.removeprefix(f"{folder}: ").partition("; set aside")[0]


def prepared_before(outputs: Path) -> Path:
    (manifest,) = (outputs / "data").glob("[!.]*/tokenizer.json")
    return manifest.parent


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """start(data, outputs): another process that prepares, says what it does, and prints the fingerprint or the
    error. None is left behind."""
    started = []

    def process(data: Data, outputs: Path, before: str = "") -> subprocess.Popen:
        script = (
            f"{before}\n"
            "from pathlib import Path\n"
            "from ablate.data.tokens import prepare\n"
            "from ablate.run.settings import Data, UserError\n"
            "try: print(prepare("
            f"Data(source='folder', root={data.root!r}, domains={data.domains!r}, vocabulary={data.vocabulary}, "
            f"span={data.span}, validation={data.validation}), Path({str(outputs)!r}), progress=True).fingerprint)\n"
            "except UserError as error: print(error)"
        )
        started.append(subprocess.Popen([sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield process
    for one in started:
        one.kill()
        one.wait()


def read_until(process: subprocess.Popen, word: str) -> None:
    """Fails when a process ends, or SECONDS pass, before it has said a word."""
    assert process.stdout is not None
    deadline = threading.Timer(SECONDS, process.kill)  # its output then ends
    deadline.start()
    try:
        assert any(word in line for line in process.stdout), f"never said {word}"
    finally:
        deadline.cancel()


def test_shards_hold_the_documents_one_after_the_other(corpora, tmp_path):
    data = small_data(corpora)
    corpus = prepare(data, tmp_path)
    tokenizer = corpus.tokenizer()
    for domain in data.domains:
        for name, part in splits_of(data)[domain].items():
            tokens = corpus.tokens(domain, name)
            assert tokens.dtype == np.uint16
            assert len(tokens) == corpus.num_tokens(domain, name)
            pieces = np.split(tokens, np.flatnonzero(tokens == corpus.end) + 1)
            assert [tokenizer.decode(piece[:-1].tolist()) for piece in pieces[:-1]] == [d.text for d in part]
            assert len(pieces[-1]) == 0
            assert corpus.bytes_per_token[tokens].sum() == sum(document.bytes for document in part)
    assert corpus.domains == ("asked", "told")
    assert corpus.bytes_per_token.shape == (corpus.vocabulary,) == (400,)
    assert intact(corpus)


def test_large_vocabularies_take_four_bytes(corpora, tmp_path):
    corpus = prepare(small_data(corpora, vocabulary=2**16 + 1), tmp_path)
    assert corpus.tokens("asked", "train").dtype == np.uint32
    assert corpus.vocabulary == len(corpus.bytes_per_token) == 2**16 + 1


@pytest.mark.parametrize(("tokens", "spans"), [(0, 0), (1, 0), (64, 0), (65, 1), (128, 1), (129, 2)])
def test_num_spans(tokens, spans):
    assert num_spans(tokens, 64) == spans


def test_fingerprint_is_of_content_alone(corpora, tmp_path):
    corpus = prepare(small_data(corpora), tmp_path / "a")
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(corpora, moved, copy_function=shutil.copy)
    (moved / "told" / "rows.jsonl").rename(moved / "told" / "renamed.jsonl")
    for path in moved.rglob("*.jsonl"):
        os.utime(path, (1, 1))
    again = prepare(small_data(moved), tmp_path / "b")
    assert again.folder.name != corpus.folder.name
    assert again.fingerprint == corpus.fingerprint
    backwards = prepare(small_data(corpora, domains=["told", "asked"]), tmp_path / "a")
    assert backwards.domains == ("told", "asked")
    assert backwards.fingerprint == corpus.fingerprint


def test_fingerprint_moves_with_the_text(corpora, tmp_path):
    before = prepare(small_data(corpora), tmp_path).fingerprint
    with (corpora / "told" / "rows.jsonl").open("a") as file:
        file.write('{"text": "one more", "source": "new"}\n')
    assert prepare(small_data(corpora), tmp_path).fingerprint != before


def test_text_of_the_same_size_and_time_is_other_text(corpora, tmp_path):
    path = corpora / "told" / "rows.jsonl"
    before, first = path.stat(), prepare(small_data(corpora), tmp_path)
    path.write_text(path.read_text().replace("Question", "Quastion"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert prepare(small_data(corpora), tmp_path).fingerprint != first.fingerprint


def test_fingerprint_moves_with_every_setting_that_matters(corpora, tmp_path):
    changes = [{}, {"vocabulary": 410}, {"validation": 0.3}, {"domain_bytes": 20_000}, {"domains": ["told"]}]
    prints = {prepare(small_data(corpora, **change), tmp_path).fingerprint for change in changes}
    assert len(prints) == len(changes)


def test_spans_and_focus_share_prepared_data(corpora, tmp_path):
    folder = prepare(small_data(corpora), tmp_path).folder
    assert prepare(small_data(corpora, span=32, focus="told"), tmp_path).folder == folder
    assert [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()] == [folder.name]


def test_prepared_data_opens_with_few_imports(start, corpora, tmp_path):
    data = small_data(corpora)
    corpus = prepare(data, tmp_path)
    assert prepare(data, tmp_path).fingerprint == corpus.fingerprint
    heavy = ["torch", "tokenizers", "datasets", "pyarrow", "hydra", "rich"]
    process = start(data, tmp_path, "import atexit, sys; atexit.register(lambda: print(*sys.modules))")
    printed, _ = process.communicate()
    assert corpus.fingerprint in printed
    assert not set(heavy) & set(printed.split())


def test_a_corpus_can_be_sent_to_another_process(corpora, tmp_path):
    corpus = prepare(small_data(corpora), tmp_path)
    assert len(corpus.bytes_per_token) == 400  # loaded here, and there again or along
    copy = pickle.loads(pickle.dumps(corpus))
    assert copy == corpus
    assert (copy.tokens("told", "train") == corpus.tokens("told", "train")).all()


def test_description(corpora, tmp_path):
    corpus = prepare(small_data(corpora), tmp_path)
    table = describe(corpus)
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert cells["domain"] == ["asked", "told"]
    assert cells["sources"] == ["30", "30"]
    assert cells["documents"] == ["300", "300"]
    assert table.caption is None  # nothing that is held out stands in training text
    assert str(cells["train tokens"][0]).replace(",", "") == str(corpus.num_tokens("asked", "train"))


# --- Text that will not do ---


def test_empty_domain(corpora, tmp_path):
    write_jsonl(corpora / "void" / "x.jsonl", [{"text": " \n", "source": "a"}, {"text": "", "source": "b"}])
    assert refused(small_data(corpora, domains=["asked", "void"]), tmp_path).startswith("domain void: no text")


def test_domain_of_one_source(corpora, tmp_path):
    write_jsonl(corpora / "book" / "x.jsonl", [{"text": f"chapter {n}", "source": "book"} for n in "ab"])
    assert "domain book: all text is of one source (book)" in refused(small_data(corpora, domains=["book"]), tmp_path)


@pytest.mark.parametrize(("share", "part"), [(0.01, "validation"), (0.5, "train")])
def test_domain_shorter_than_a_span(corpora, tmp_path, share, part):
    rows = [{"text": f"{name} " * 20, "source": name} for name in "abcdefghij"]
    write_jsonl(corpora / "brief" / "x.jsonl", rows)
    data = small_data(corpora, domains=["asked", "brief"], span=4096 if part == "train" else 128, validation=share)
    if part == "train":  # enough of the other domain for such spans
        write_corpora(corpora, documents=3000)
    message = refused(data, tmp_path)
    assert message.startswith(f"domain brief: {part} has ")
    assert f"data.span={data.span}" in message


def test_a_domain_that_repeats_held_out_text_says_so(corpora, tmp_path):
    base = prepare(small_data(corpora), tmp_path)
    texts = [text for some in texts_of(base, "told", "validation") for text in some]
    write_jsonl(corpora / "told" / "rows.jsonl", [{"text": text, "source": f"copy {text[:9]}"} for text in texts])
    message = refused(small_data(corpora, held_out=base.fingerprint), tmp_path)
    size = base.manifest["domains"]["told"]["validation"]["bytes"]
    assert message.startswith("domain told: train has 0 tokens, fewer than data.span=64 and one more, once ")
    assert f"once {size:,} bytes that repeat held-out text are cut out: " in message


def test_broken_file(corpora, tmp_path):
    path = corpora / "told" / "rows.jsonl"
    path.write_bytes(path.read_bytes() + b'{"text": "\xff", "source": "s"}\n')
    assert refused(small_data(corpora), tmp_path).startswith(f"{path}, line 301: not UTF-8")
    assert not list((tmp_path / "data").glob("*/"))


# --- Tokenizers that are given ---


def given_tokenizer(path: Path, rewrites: bool = False) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace("Question: ", "") if rewrites else None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["Question Answer Steps"], trainer)
    tokenizer.save(str(path))
    return path


def test_given_tokenizer(corpora, tmp_path):
    path = given_tokenizer(tmp_path / "given.json")
    data = small_data(corpora, tokenizer=str(path))
    corpus = prepare(data, tmp_path)
    assert (corpus.folder / "tokenizer.json").read_bytes() == path.read_bytes()
    assert corpus.tokenizer().id_to_token(corpus.end) == "<|endoftext|>"
    assert corpus.vocabulary == len(corpus.bytes_per_token) == 400
    assert corpus.fingerprint != prepare(small_data(corpora), tmp_path).fingerprint
    elsewhere = path.rename(tmp_path / "renamed.json")
    assert prepare(small_data(corpora, tokenizer=str(elsewhere)), tmp_path).folder == corpus.folder


def test_a_tokenizer_is_given_by_file_folder_or_name(corpora, tmp_path, monkeypatch):
    cache = tmp_path / "hub"
    snapshot = cache / "models--someone--model" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (cache / "models--someone--model" / "refs").mkdir()
    (cache / "models--someone--model" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    path = given_tokenizer(snapshot / "tokenizer.json")
    names = [str(path), str(snapshot), "someone/model"]
    [folder] = {prepare(small_data(corpora, tokenizer=name), tmp_path).folder for name in names}
    assert (folder / "tokenizer.json").read_bytes() == path.read_bytes()
    assert refused(small_data(corpora, tokenizer=str(corpora)), tmp_path).endswith(
        "/tokenizer.json: No such file or directory"
    )
    message = refused(small_data(corpora, tokenizer="someone/else"), tmp_path)
    assert message.startswith("data.tokenizer=someone/else: is no file and no folder here, and the hub does not give")


def test_missing_tokenizer(corpora, tmp_path):
    assert refused(small_data(corpora, tokenizer="nowhere.json"), tmp_path) == (
        "data.tokenizer=nowhere.json: No such file or directory"
    )


def test_tokenizer_that_rewrites_text_is_refused(corpora, tmp_path):
    path = given_tokenizer(tmp_path / "given.json", rewrites=True)
    message = refused(small_data(corpora, tokenizer=str(path)), tmp_path)
    assert "bits per byte would be wrong" in message
    assert "domain asked" in message


# --- Things that go wrong ---


@pytest.mark.parametrize("name", ["told.validation.bin", "tokenizer.json", "bytes_per_token.npy"])
def test_truncated_file_is_named_and_made_again(corpora, tmp_path, capsys, name):
    path = prepare(small_data(corpora), tmp_path).folder / name
    size = path.stat().st_size
    os.truncate(path, size - 2)
    assert mended(small_data(corpora), tmp_path, capsys) == f"{name} has {size - 2} bytes, not {size}"
    path.unlink()
    with pytest.raises(UserError, match=f": {name} is gone; ablate prepare and train prepare it again"):
        opened(path.parent)


@pytest.mark.parametrize("name", ["told.train.bin", "told.validation.bin", "tokenizer.json", "sources.json"])
def test_changed_file_is_found_by_its_hash_and_made_again(corpora, tmp_path, capsys, name):
    """Of the same size, and with the time of the old one."""
    path = prepare(small_data(corpora), tmp_path).folder / name
    before, content = path.stat(), bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    wanted = f"{name} is not what was written: its sha256 is another"
    assert mended(small_data(corpora), tmp_path, capsys) == wanted


def test_a_file_is_hashed_once(corpora, tmp_path, monkeypatch):
    hashed = list[str]()
    monkeypatch.setattr(whole, "sha256_of", lambda path: [hashed.append(path.name), sha256_of(path)][1])
    corpus = prepare(small_data(corpora), tmp_path)
    assert not hashed  # it was when it was written
    copied = shutil.copytree(corpus.folder, tmp_path / "copied")
    for _ in range(2):
        assert opened(copied).fingerprint == corpus.fingerprint
    assert sorted(hashed) == sorted(corpus.manifest["files"])
    (copied / "told.train.bin").touch()
    opened(copied)
    assert hashed[len(corpus.manifest["files"]) :] == ["told.train.bin"]


def test_a_folder_that_cannot_be_written_is_looked_at_all_the_same(corpora, tmp_path):
    folder = prepare(small_data(corpora), tmp_path).folder
    (folder / whole.MARKS).unlink()
    (folder / whole.MARKS).mkdir()  # so that nothing can be written there, by whomever
    assert opened(folder).domains == ("asked", "told")
    assert not list(folder.glob(".*"))


def test_other_manifest_is_told_by_what_differs(corpora, tmp_path, capsys):
    path = prepare(small_data(corpora), tmp_path).folder / "manifest.json"
    written = json.loads(path.read_text())
    for keys, message in {
        ("recipe",): "recipe: 99 instead of ",
        ("settings", "vocabulary"): "settings.vocabulary: 99 instead of 400",
        ("signature", "told/rows.jsonl"): "signature.told/rows.jsonl: 99 instead of ",
        ("tokenizer",): "tokenizer: 99 instead of ",
    }.items():
        changed = json.loads(json.dumps(written))
        del changed["sha256"]
        place = changed["request"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = 99
        path.write_text(json.dumps(changed))
        prepare(small_data(corpora), tmp_path)
        assert f"manifest.json differs in {message}" in capsys.readouterr().out
    for damaged in (b"{", b"{}", b"[]", b"null", b"\xff\xfe"):
        path.write_bytes(damaged)
        said = mended(small_data(corpora), tmp_path, capsys)
        assert said.startswith(("manifest.json cannot be read", "manifest.json: damaged, "))
    path.unlink()
    assert "manifest.json: No such file" in mended(small_data(corpora), tmp_path, capsys)


@pytest.mark.parametrize(
    ("key", "value"), [("end", 5), ("fingerprint", "0" * 64), ("files", {}), ("domains", {"told": {"train": 9}})]
)
def test_an_edited_manifest_is_not_believed(corpora, tmp_path, capsys, key, value):
    path = prepare(small_data(corpora), tmp_path).folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    wanted = "manifest.json is not what was written: its sha256 is another"
    assert mended(small_data(corpora), tmp_path, capsys) == wanted


def test_a_tokenizer_that_is_none_is_one_line(corpora, tmp_path):
    corpus = prepare(small_data(corpora), tmp_path)
    (corpus.folder / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        corpus.tokenizer()


def test_a_damaged_folder_is_no_matter_to_its_neighbours(corpora, tmp_path):
    corpus = prepare(small_data(corpora), tmp_path)
    for number, damaged in enumerate((b"{", b"{}", b"\xff\xfe")):
        neighbour = corpus.folder.with_name(f"a{number}")  # looked at before it
        neighbour.mkdir()
        (neighbour / "manifest.json").write_bytes(damaged)
    assert prepared(tmp_path, corpus.fingerprint) == corpus


@pytest.mark.parametrize("damaged", [b"[]", b"null", b"5", b"\xff", b"{"])
def test_damaged_notes_of_what_was_verified_are_made_anew(corpora, tmp_path, damaged):
    corpus = prepare(small_data(corpora), tmp_path)
    (corpus.folder / whole.MARKS).write_bytes(damaged)
    assert opened(corpus.folder) == corpus
    assert sorted(json.loads((corpus.folder / whole.MARKS).read_text())) == sorted(corpus.manifest["files"])


def test_two_at_once(start, corpora, tmp_path):
    """The first is held up in the middle of its reading, so that the second has to wait for it."""
    data = small_data(corpora)
    first = start(data, tmp_path, STOPS.format(word="reading told"))
    read_until(first, "reading told")
    second = start(data, tmp_path)
    read_until(second, "waiting for another run")
    os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)  # not between its last word and its stop
    first.send_signal(signal.SIGCONT)
    prints = [process.communicate(timeout=500)[0].split() for process in (first, second)]
    assert prints[0][-1] == prints[1][-1]
    assert "tokenising" in prints[0]
    assert prints[1] == prints[1][-1:]


def test_killed_while_reading(start, corpora, tmp_path):
    process = start(small_data(corpora), tmp_path, STOPS.format(word="reading told"))
    read_until(process, "reading told")
    process.kill()
    process.wait()
    left = [path.name for path in (tmp_path / "data").iterdir() if path.is_dir()]
    assert len(left) == 1
    assert left[0].endswith(".part")
    assert intact(prepare(small_data(corpora), tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["training the tokenizer", "tokenising", "tokenised told"])
def test_killed_later(start, tmp_path, moment):
    write_corpora(tmp_path / "corpora", documents=2000)
    data = small_data(tmp_path / "corpora")
    process = start(data, tmp_path / "killed", STOPS.format(word=moment))
    read_until(process, moment)
    process.kill()
    process.wait()
    corpus = prepare(data, tmp_path / "killed")
    assert intact(corpus)
    assert corpus.fingerprint == prepare(data, tmp_path / "whole").fingerprint
    assert not list((tmp_path / "killed" / "data").glob("*.part"))


def test_full_disk(start, corpora, tmp_path):
    """No file may grow beyond 20 kB: the system refuses the write as a full disk would."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    printed, _ = start(small_data(corpora), tmp_path, limited).communicate(timeout=500)
    assert printed.splitlines()[-1].startswith(f"cannot prepare data in {tmp_path}")
    assert ": File too large; what is done is kept" in printed.splitlines()[-1]
    assert intact(prepare(small_data(corpora), tmp_path))
    assert not list((tmp_path / "data").glob("*.part"))


def test_outputs_that_cannot_be_written(corpora, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    message = refused(small_data(corpora), tmp_path / "file" / "outputs")
    assert message.startswith(f"cannot prepare data in {tmp_path / 'file'}")
    assert message.endswith(": Not a directory")


def test_dangling_link(corpora, tmp_path):
    (corpora / "told" / "gone.jsonl").symlink_to(tmp_path / "nothing")
    assert refused(small_data(corpora), tmp_path) == f"cannot read {corpora}/told/gone.jsonl: No such file or directory"


# --- Real text ---


@pytest.mark.slow
def test_installed_text(tmp_path):
    corpus = prepare(Data(vocabulary=512, span=256, domain_bytes=150_000), tmp_path)
    for domain in ("general", "code", "science", "qa"):
        assert num_spans(corpus.num_tokens(domain, "train"), 256) > 50
    assert (
        corpus.fingerprint == prepare(Data(vocabulary=512, domain_bytes=150_000, span=256), tmp_path / "b").fingerprint
    )


REAL = Path(__file__).resolve().parents[2].parent / "shared" / "corpora"


@pytest.mark.skipif(not REAL.is_dir(), reason="the corpora are not here")
def test_real_corpora(tmp_path):
    domains = ["english", "european", "code", "math", "asian"]
    data = Data(
        source="folder", root=str(REAL), domains=domains, focus="math", vocabulary=1024, span=256, domain_bytes=400_000
    )
    corpus = prepare(data, tmp_path)
    assert intact(corpus)
    tokenizer = corpus.tokenizer()
    for domain in domains:
        tokens = corpus.tokens(domain, "validation")
        assert len(tokenizer.decode(tokens.tolist()).encode()) == corpus.bytes_per_token[tokens].sum()
        validation = corpus.manifest["domains"][domain]["validation"]["bytes"]
        assert 0.01 < validation / corpus.total(domain, "bytes") < 0.1
