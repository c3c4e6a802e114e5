"""Raw text for `level_sweep`: pages and manuals of the installed system, with known dirt among them.

    python experiments/level_sweep/text.py outputs/level_text

    outputs/level_text/pages/...      html of /usr/share/doc
    outputs/level_text/manuals/...    manual pages
    outputs/level_text.good/...       read-me files: what level 3 takes for good

Every fifth file is there once more under another name, every tenth nearly once more, every fourth as dirt, that of the
tests of level 2 (tests/corpus/dirt.py). Equal files of the system give equal text.
"""

import gzip
import hashlib
import html
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "corpus"))
from dirt import DIRT, can, edited  # pyrefly: ignore  # of the tests

LIMIT_BYTES = 6_000_000  # of each kind of file, before copies and dirt
SMALLEST, LARGEST = 2_000, 200_000  # bytes of a file
COPIED, NEARLY, DIRTY = 5, 10, 4  # every so many


def main(out: Path) -> None:
    found = {
        "pages": Path("/usr/share/doc").rglob("*.html"),
        "manuals": (path for n in range(1, 9) for path in Path(f"/usr/share/man/man{n}").glob("*.gz")),
    }
    for name, paths in found.items():
        for number, (path, text) in enumerate(_texts(paths)):
            _write(out / name, path.stem if name == "manuals" else path.name, text)
            rng = np.random.default_rng(number)
            if number % COPIED == 0:
                _write(out / name / "mirror", path.stem if name == "manuals" else path.name, text)
            if number % NEARLY == 1:
                _write(out / name / "edition", path.stem if name == "manuals" else path.name, edited(text, rng, 0.02))
            if number % DIRTY == 2:
                kind = [dirt for dirt in DIRT if can(dirt, text)][number // DIRTY % (len(DIRT) - 1)]
                dirty = html.escape(DIRT[kind](text, rng))
                _write(out / name / "dirty", f"{kind.replace(' ', '-')}.html", f"<html><body><pre>{dirty}</pre>")
    for path, text in _texts(Path("/usr/share/doc").glob("*/README*")):
        _write(out.with_name(f"{out.name}.good"), f"{path.parent.name}.txt", text)


def _texts(paths: Iterator[Path]) -> Iterator[tuple[Path, str]]:
    """Files in the order of their hash, none twice, until there are enough bytes."""
    left, seen = LIMIT_BYTES, set[bytes]()
    for path in sorted(paths, key=lambda path: hashlib.sha256(str(path).encode()).digest()):
        if not path.is_file() or path.is_symlink():
            continue
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        digest = hashlib.sha256(raw).digest()
        if SMALLEST <= len(raw) <= LARGEST and digest not in seen and b"\0" not in raw:
            seen.add(digest)
            left -= len(raw)
            yield path, raw.decode("utf-8", errors="replace")
        if left < 0:
            return


def _write(folder: Path, name: str, text: str) -> None:
    """A file of its own, whatever others are called."""
    folder = folder / hashlib.sha256(text.encode()).hexdigest()[:8]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
