"""Windows of a step with the trouble that is planted in the run, for who reads them and for who promises them."""

import numpy as np

from ablate.data.tokens import Corpus
from ablate.data.windows import Windows
from ablate.plan import trouble
from ablate.run.settings import Settings


def troubled(
    settings: Settings, corpus: Corpus, step: int, windows: Windows, domain_B: np.ndarray, numbers_B: np.ndarray
) -> Windows:
    """The windows as they are, but where trouble is planted in this step; `numbers_B`: of the rows in the step."""
    if not trouble.spoils(settings, step):
        return windows
    spoilt_BT = trouble.spoilt(settings, step, numbers_B, windows.tokens_RT, corpus.bytes_per_token)
    domain, domains = settings.trouble.domain, settings.data.domains
    mine_B = domain_B == domains.index(domain) if domain else np.full(len(domain_B), True)
    return windows._replace(tokens_RT=np.where(mine_B[:, None], spoilt_BT, windows.tokens_RT))
