"""What weights that became smaller cost: damage over held-out rows, and bytes.

    damages(child, parent, domains)     {"macro": Passages, "code": Passages, ...} of two results

The interval of such a damage is over rows of held-out text: it is about this model only. What a recipe costs is asked
of several models, by a study whose seeds are models (`compare`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ablate.run.identity import flatten
from ablate.verdict.passages import Passages, of_rows


def damages(child: Mapping[str, Any], parent: Mapping[str, Any], domains: Sequence[str]) -> dict[str, Passages | None]:
    """By domain, after their mean `macro`: bits per byte that were lost; None of too few rows, or of others."""
    terms = [(1.0, child.get("validation", {})), (-1.0, parent.get("validation", {}))]
    groups = {"macro": [[domain] for domain in domains]} | {domain: [[domain]] for domain in domains}
    return {name: of_rows(terms, group) for name, group in groups.items()}


def kept(result: Mapping[str, Any]) -> dict[str, str]:
    """Of a compressed run: {matrix: why it was not compressed}."""
    return flatten(result["compressed"]["kept"])  # a lab book cuts names at their dots
