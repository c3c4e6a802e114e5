"""Mutants of what judges: metrics, statistics, races, checks of a study. m27 and the like name those of the review."""

Listed = tuple[str, str, str, str, tuple[str, ...]]


def of(file: str, test: str, *changes: tuple[str, str, str]) -> list[Listed]:
    """Changes (name, old text, new text) of one file, which one test file must notice."""
    return [(name, file, old, new, (test,)) for name, old, new in changes]


VERDICTS: list[Listed] = [
    *of(
        "ablate/verdict/statistics/paired.py",
        "tests/verdict/statistics/test_paired.py",
        (
            "m27: Holm without its monotone step",
            "adjusted[order] = np.maximum.accumulate(scaled)",
            "adjusted[order] = scaled",
        ),
        (
            "m47: the equivalence interval at the level, not at twice the level",
            "interval(differences[arm], 2 * equivalence_levels[i], known[arm])",
            "interval(differences[arm], equivalence_levels[i], known[arm])",
        ),
        (
            "a one-sided p of a difference",
            "min(1.0, 2 * _tail(abs(_mean(d)), d, prior))",
            "_tail(abs(_mean(d)), d, prior)",
        ),
        (
            "equivalence tested on one side alone",
            "_tail(margin - abs(_mean(d)), d, prior)",
            "_tail(margin - _mean(d), d, prior)",
        ),
    ),
    *of(
        "ablate/verdict/statistics/paired.py",
        "tests/verdict/statistics/test_paired.py",
        (
            "a smallest detectable effect without its family",
            "detectable(differences[arm], share[i] * alpha / len(arms), known[arm])",
            "detectable(differences[arm], share[i] * alpha, known[arm])",
        ),
        (
            "words that forget the metric's direction",
            "word=word_of(sign * _mean(differences[arm])",
            "word=word_of(_mean(differences[arm])",
        ),
    ),
    *of(
        "ablate/verdict/statistics/stream.py",
        "tests/verdict/statistics/test_stream.py",
        ("a gate that bets for what it has seen", "1 - np.tanh(effect * size)", "1 + np.tanh(effect * abs(size))"),
        ("a stake that is given back whole", "stake * np.minimum(1.0, wealth)", "stake * np.maximum(1.0, wealth)"),
        ("a stake that is lost too late", "wealth <= rule.hopeless", "wealth <= 0"),
    ),
    *of(
        "ablate/verdict/statistics/moderated.py",
        "tests/verdict/statistics/test_moderated.py",
        ("m30: no caution in the moderated t", "CAUTION = 0.5", "CAUTION = 0.0"),
        (
            "an arm's own larger noise ignored",
            "Noise(max(own, (prior.df * prior.variance + (n - 1) * own) / df) or math.inf, df)",
            "Noise((prior.df * prior.variance + (n - 1) * own) / df or math.inf, df)",
        ),
    ),
    *of(
        "ablate/verdict/statistics/looks.py",
        "tests/verdict/statistics/test_looks.py",
        (
            "m32: the constant of the bounds from the last look alone",
            "found = np.maximum(found, z * (n / planned) ** SHAPE)",
            "found = z * (n / planned) ** SHAPE",
        ),
    ),
    *of(
        "ablate/verdict/race.py",
        "tests/verdict/test_race.py",
        ("futility reversed", "if chance < least:", "if chance > least:"),
        ("a margin on one side of a race's interval", "if -margin < low and high < margin:", "if high < margin:"),
    ),
    *of(
        "ablate/verdict/compare.py",
        "tests/verdict/test_compare.py",
        (
            "an arm that diverged is equivalent",
            'diverged and effect.word in ("better", "equivalent")',
            'diverged and effect.word == "better"',
        ),
    ),
    *of(
        "ablate/verdict/registry.py",
        "tests/verdict/test_registry.py",
        (
            "a region of noise without its tokens",
            "for a, b in ((self.parameters, other.parameters), (self.tokens, other.tokens))",
            "for a, b in ((self.parameters, other.parameters),)",
        ),
        (
            "earlier studies read with their own focus",
            "arms_of(seen if focus is None else seen.with_focus(focus))",
            "arms_of(seen)",
        ),
    ),
    *of(
        "ablate/verdict/standing.py",
        "tests/verdict/test_standing.py",
        ("a race that forgets the metric's direction", "{s: metric.sign * v for s, v", "{s: v for s, v"),
    ),
    *of(
        "ablate/verdict/validity/confounds.py",
        "tests/verdict/validity/test_confounds.py::test_no_factor_explains_other_windows_of_a_domain",
        ("m44: streams of a domain never compared", "    yield from _windows(one, other)\n", ""),
    ),
    *of(
        "ablate/verdict/validity/controls.py",
        "tests/verdict/validity/test_controls.py",
        ("a null control without its weights", "if None in digests or digests[0] != digests[1]:", "if False:"),
        (
            "a positive control without its family",
            '(1 - evidence.declaration["confidence"]) / max(1, len(evidence.arms))',
            '1 - evidence.declaration["confidence"]',
        ),
    ),
    *of(
        "ablate/verdict/validity/controls.py",
        "tests/verdict/test_direction.py::test_controls_are_judged_in_the_metrics_direction",
        (
            "a positive control that forgets the metric's direction",
            "better_or_worse(metric.sign * low)",
            "better_or_worse(low)",
        ),
    ),
    *of(
        "ablate/scores/metrics.py",
        "tests/scores/test_metrics.py",
        (
            "m19: rest is the focus alone",
            "for domain in scope.domains if domain != scope.focus]",
            "for domain in scope.domains if domain == scope.focus]",
        ),
        (
            "rest is every domain",
            "for domain in scope.domains if domain != scope.focus]",
            "for domain in scope.domains]",
        ),
        ("bits per token", 'for what in ("nats", "bytes"))', 'for what in ("nats", "tokens"))'),
        ("nats per byte", "nats / (math.log(2) * num_bytes)", "nats / num_bytes"),
        ("micro is macro", "lambda scope: [list(scope.domains)]", "_each"),
        (
            "the direction of a metric reversed",
            '1 if self.better == "lower" else -1',
            '1 if self.better == "higher" else -1',
        ),
    ),
    *of(
        "ablate/scores/loss.py",
        "tests/scores/test_loss.py",
        (
            "ignored targets have bytes",
            "bytes_per_token_V[targets_BL.clamp(min=0)] * counted_BL",
            "bytes_per_token_V[targets_BL.clamp(min=0)]",
        ),
    ),
    *of(
        "ablate/sweep/contrast.py",
        "tests/sweep/test_study.py",
        (
            "m24: a factor covers every key that begins like it",
            'key.startswith((factor + ".", factor + "@"))',
            "key.startswith(factor)",
        ),
        (
            "arms may differ in where they run",
            '    outside += [f"where.{key}" for key in where_a if where_a[key] != where_b[key]]\n',
            "",
        ),
    ),
    *of(
        "ablate/sweep/study.py",
        "tests/sweep/test_phases.py::test_arms_are_chains_and_what_is_equal_is_one_run",
        (
            "a phase that begins where another seed's ended",
            "self.before.run(self.before.named(arm.name), seed)",
            "self.before.run(self.before.named(arm.name), self.study.seeds[0])",
        ),
        (
            "a phase that begins where the base's ended",
            "self.before.run(self.before.named(arm.name), seed)",
            "self.before.run(self.before.arms[0], seed)",
        ),
    ),
]
