"""What the second score of a run (`fit.saved`) is computed from, known without torch.

    basis(record)     {"weights": size and time of the file, "scorer": digest, "text": digest}

A score that was noted beside a run is believed as long as none of these has changed. What cannot be read here, because
the text is gone, say, is left out: a run whose basis is not known cannot be scored again either.
"""

import contextlib
import hashlib

from ablate.data.tokens import Corpus, held_out, prepared
from ablate.run.identity import SEMANTICS, canonical, digest
from ablate.run.record import Record
from ablate.run.settings import Settings, UserError


def basis(record: Record) -> dict[str, str]:
    """Of a finished run whose weights are there."""
    file = record.weights.stat()
    found = {"weights": f"{file.st_size} bytes, {file.st_mtime_ns}"}
    with contextlib.suppress(UserError):
        settings, environment = record.settings(), record.environment()
        machine = [environment.get(name) for name in ("threads", "device")]
        found["scorer"] = digest([canonical(settings, complete=True), SEMANTICS, *machine])
        # beside the run, for the folder may have been moved since the run was configured
        found["text"] = _text(prepared(record.folder.parents[1], record.fingerprint), settings)
    return found


def _text(corpus: Corpus, settings: Settings) -> str:
    """Of the rows that are scored, and of the bytes that their tokens stand for."""
    hasher = hashlib.blake2b(corpus.bytes_per_token.tobytes(), digest_size=8)
    for domain in settings.data.domains:
        windows = held_out(corpus, domain, settings.data.span, settings.evaluation.spans, settings.evaluation.part)
        hasher.update(windows.tokens_RT.tobytes())
        if windows.marks_RT is not None:
            hasher.update(windows.marks_RT.tobytes())
    return hasher.hexdigest()
