"""The very rows that a run will read, as running digests: worked out by who launches the run, without torch.

The run notes the same of what enters its model (`fit.trace`, stream `rows`), in another process and later.
"""

from collections.abc import Collection

import numpy as np

from ablate.data.inserted import Inserted
from ablate.data.tokens import Corpus, num_spans
from ablate.data.troubled import troubled
from ablate.data.windows import Stream, Windows
from ablate.plan.digests import START, link, of_rows
from ablate.plan.order import Order
from ablate.plan.timeline import Timeline


def rows(timeline: Timeline, corpus: Corpus, at: Collection[int]) -> dict[int, str]:
    """The digest of all rows of the first steps, for every number of steps in `at`."""
    settings = timeline.settings
    streams = [Stream.of(corpus, domain, "train", settings.objective) for domain in settings.data.domains]
    spans = [num_spans(corpus.num_tokens(domain, "train"), settings.data.span) for domain in settings.data.domains]
    order, inserted, head, found = Order(timeline, spans), Inserted.of(timeline, corpus), START, {}
    for step in range(max(at, default=0)):
        read = order.step(step)
        windows = Windows.of(streams, read.domain_R, read.start_R, read.length)
        numbers_R = np.arange(len(read.domain_R))
        windows = troubled(settings, corpus, step, windows, read.domain_R, numbers_R)
        windows = inserted.put(step, windows, numbers_R)
        head = link(head, *of_rows(read.domain_R, windows.tokens_RT[:, :-1], windows.targets_RL))
        if step + 1 in at:
            found[step + 1] = head
    return found
