"""Mutants of what trains and is trained on: the plan, the text, the model, a run and its identity.

m10 and the like name those of the review.
"""

from bench.mutants_of_verdicts import Listed, of

RUNS: list[Listed] = [
    *of(
        "ablate/plan/schedule.py",
        "tests/plan/test_schedule.py",
        ("m01: a warmup that begins at zero", "rising = (step + 1) / max(warmup, 1)", "rising = step / max(warmup, 1)"),
        ("m02: a decay a step late", "np.clip((step + 1 - (total - decay))", "np.clip((step - (total - decay))"),
    ),
    *of(
        "ablate/plan/mixture.py",
        "tests/plan/test_mixture.py",
        ("a draw on an edge in the wrong interval", 'draws, side="right")', 'draws, side="left")'),
        (
            "blocks of draws without their offsets",
            "return (shuffled + _offsets(number, seed)) / block",
            "return shuffled / block",
        ),
    ),
    *of(
        "ablate/plan/order.py",
        "tests/plan/test_order.py",
        (
            "tokens read again where rows get longer",
            "return -(-passed_D // length) * length",
            "return passed_D // length * length",
        ),
        ("the same order in every epoch", "self.domains[domain], int(e))", "self.domains[domain], 0)"),
        (
            "an order keyed by the number of the domain",
            '"order", self.domains[domain], int(e))',
            '"order", int(domain), int(e))',
        ),
    ),
    *of(
        "ablate/plan/timeline.py",
        "tests/plan/test_timeline.py",
        (
            "a trunk's key without the rows held out",
            'static["block"], static["spans"] = self.settings.mixture.block, self.settings.evaluation.spans',
            'static["block"] = self.settings.mixture.block',
        ),
        ("FLOPs of the shortest rows alone", "dtype=np.float64)[which]", "dtype=np.float64)[0 * which]"),
        ("a trunk's key without averages", 'self.table["average"], LEFT_OUT', "0.0, LEFT_OUT"),
    ),
    *of(
        "ablate/sweep/trunk.py",
        "tests/sweep/test_trunk.py",
        (
            "a trunk's key without micro_tokens",
            'key not in ("device", "recompute")',
            'key not in ("device", "recompute", "micro_tokens")',
        ),
    ),
    *of(
        "ablate/plan/segments.py",
        "tests/sweep/test_trunk.py",
        ("a trunk over the last step", "min([len(self) - 1, len(other) - 1,", "min([len(self), len(other),"),
    ),
    *of(
        "ablate/sweep/claims.py",
        "tests/sweep/test_claims.py",
        (
            "claims without a lock",
            '    with FileLock(path.with_suffix(".lock")):\n        owner = _owner(path)\n        if',
            "    if True:\n        owner = _owner(path)\n        if",
        ),
    ),
    *of(
        "ablate/data/build.py",
        "tests/data/test_tokens.py",
        ("text prepared without a lock", "            with alone(self.folder, self.shown):", "            if True:"),
    ),
    *of(
        "ablate/data/tokens.py",
        "tests/data/test_batches.py",
        (
            "m10: validation rows are the first spans",
            "starts = np.arange(wanted) * present // wanted * span",
            "starts = np.arange(wanted) * span",
        ),
    ),
    *of(
        "ablate/data/cutting.py",
        "tests/data/test_tokens.py",
        ("bytes of the tokens not checked", "        _check_bytes(task.domain, counts.bytes, token_bytes)\n", ""),
    ),
    *of(
        "ablate/data/batches.py",
        "tests/data/test_batches.py",
        (
            "targets that are the tokens themselves",
            "targets_BL = windows_BT[:, 1:] if",
            "targets_BL = windows_BT[:, :-1] if",
        ),
    ),
    *of(
        "ablate/data/text.py",
        "tests/data/test_text.py",
        ("m13: shares of a source by the hash that orders it", 'order_key(f"share {source}")', "order_key(source)"),
    ),
    *of(
        "ablate/data/documents.py",
        "tests/data/test_documents.py",
        ("m11: held out without the factor of two", "if size < 2 * missing", "if size < missing"),
    ),
    *of(
        "ablate/model/budget.py",
        "tests/model/test_budget.py",
        ("m34: training as two forward passes", "{length: 3 * flops +", "{length: 2 * flops +"),
    ),
    *of(
        "ablate/model/parts.py",
        "tests/model/test_parts.py",
        ("the sign in the gradient of the norm", ".div_(-x.shape[-1])", ".div_(x.shape[-1])"),
    ),
    *of(
        "ablate/model/language.py",
        "tests/model/test_language.py",
        (
            "residual matrices too large",
            "shrink = 1.0 / math.sqrt(2 * len(model.blocks))",
            "shrink = 1.0 / math.sqrt(len(model.blocks))",
        ),
        ("vectors decay", "if parameter.ndim >= 2]", "if parameter.ndim >= 1]"),
    ),
    *of(
        "ablate/fit/averaging.py",
        "tests/fit/test_averaging.py",
        (
            "shares of an average exchanged",
            "new_zeros(()) if bad is None else bad",
            "new_zeros(()) if bad is None else bad; share = 1 - share",
        ),
    ),
    *of(
        "ablate/fit/objectives.py",
        "tests/fit/test_objectives.py",
        (
            "the loss divided by all targets",
            "return (batch.targets_BL != IGNORED).sum(1)",
            "return (batch.targets_BL == batch.targets_BL).sum(1)",
        ),
    ),
    *of(
        "ablate/fit/module.py",
        "tests/fit/parallel/test_strategies.py::test_shares_are_of_one_size_and_count_each_row_once",
        (
            "targets of the padding count",
            "padding = padding._replace(targets_BL=torch.full_like(padding.targets_BL, IGNORED))",
            "pass",
        ),
    ),
    *of(
        "ablate/fit/watch.py",
        "tests/fit/test_objectives.py",
        (
            "the watch counts all targets",
            "counted_B = pl_module.objective.counted(batch)",
            "counted_B = (batch.targets_BL == batch.targets_BL).sum(1)",
        ),
    ),
    *of(
        "ablate/fit/watch.py",
        "tests/fit/test_watch.py",
        (
            "a smoothed loss that fades by rows of the record, not by steps",
            "np.exp(-steps / self.horizon)",
            "np.exp(-1 / self.horizon)",
        ),
        (
            "sums of another domain",
            "named = zip(domains, sums_D3.tolist(), strict=True)",
            "named = zip(domains[::-1], sums_D3.tolist(), strict=True)",
        ),
        ("tokens of a passage for its bytes", '"bytes": part[:, 2].tolist()', '"bytes": part[:, 1].tolist()'),
        (
            "the mixture asked for as a mean over steps",
            "np.average(weights, axis=0, weights=np.diff(self.timeline.tokens) if step else None)",
            "np.average(weights, axis=0)",
        ),
    ),
    *of(
        "ablate/fit/parents.py",
        "tests/fit/test_parents.py::test_damaged_weights_are_refused_before_the_first_step",
        (
            "a parent's weights not looked at",
            "if (found := sha256(tensors)) != start.sha256:",
            "if not (found := sha256(tensors)):",
        ),
    ),
    *of(
        "ablate/run/start.py",
        "tests/run/test_start.py",
        ("an id that knows its parent by name", "    return parent.sha256\n", "    return parent.place\n"),
    ),
    *of(
        "ablate/run/lineage.py",
        "tests/run/test_start.py",
        (
            "a parent whatever its weights",
            'return (record.result() or {}).get("weights_sha256") == weights',
            "return record.result() is not None",
        ),
    ),
    *of(
        "ablate/run/identity.py",
        "tests/run/test_identity.py",
        (
            "1 and 1.0 are two runs",
            "return int(value) if isinstance(value, float) and value.is_integer() else value",
            "return value",
        ),
    ),
    *of(
        "ablate/run/failures.py",
        "tests/run/test_failures.py",
        ("a run that ran out of memory is given up", '"hung", "out of memory", "timeout"', '"hung", "timeout"'),
        (
            "the last process to fail tells the cause",
            'if earlier and not (isinstance(error, RanksFailed) and failure.outcome == "killed"):',
            "if earlier and not isinstance(error, RanksFailed):",
        ),
    ),
    *of(
        "ablate/run/longer.py",
        "tests/run/test_longer.py::test_the_first_steps_are_those_of_the_run",
        (
            "a moment after the first step becomes the whole run",
            "return step if step != 1 else 1 / total",
            "return step",
        ),
    ),
]
