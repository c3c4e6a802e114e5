"""Train one run, or with -m a whole study.

python -m ablate.train key=value ...                 one configuration -> one record
python -m ablate.train +experiment=mix_sweep -m      a study -> its runs, a verdict and a report
"""

from ablate.console.compose import command
from ablate.run.settings import Settings, UserError
from ablate.sweep.worker import alone, train_claimed


def train(settings: Settings) -> None:
    """Train one configuration and say what came out."""
    if settings.study.name:
        print(f"one run, the base of {settings.study.name}; -m trains the whole study", flush=True)
    task = alone(settings)
    result = train_claimed(task)
    print(f"{task.record.folder}: {result['outcome']}, {result['tokens']:,} tokens, {result['seconds']:.1f} s")
    if result["reason"]:
        raise UserError(f"the run diverged: {result['reason']}")
    for name, value in result["bpb"].items():
        print(f"  {name:12} {value:.4f} bits per byte")


main = command(train)

if __name__ == "__main__":
    main()
