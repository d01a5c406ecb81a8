"""Run simulations by hand: `python -m tests.simulation.run --seed 7`, or `--seeds 0..2000` for many."""

import argparse
import logging
import sys
import time
from collections import Counter

import structlog

from tests.simulation.world import MUST_COME_UP, RULED_MUST_COME_UP, Outcome, simulate

STEPS = 400


def shown(seed: int, steps: int, error: Exception) -> str:
    """Return what people need of a failed run: its last events, what broke, and how to see it again."""
    lines = "\n".join(getattr(error, "trace").lines)  # noqa: B009  set by `simulate` on any error
    again = f"python -m tests.simulation.run --seed {seed} --steps {steps}"
    return f"{lines}\n\nseed {seed}: {type(error).__name__}: {error}\nagain: {again}"


def quiet() -> None:
    """Silence the engine's log: what it would say of broken messages is in the trace."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def main() -> int:
    """Run; 1 when a seed failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", help="A..B, B left out")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--world", choices=("plain", "rules"), help="default: rules where the seed is odd")
    arguments = parser.parse_args()
    quiet()
    first, _, last = (arguments.seeds or "").partition("..")
    seeds = range(int(first), int(last)) if last else (arguments.seed if arguments.seed is not None else 1,)
    ruled = None if arguments.world is None else arguments.world == "rules"
    failed: list[int] = []
    fired: Counter[str] = Counter()
    messages = events = 0
    outcome: Outcome | None = None
    began = time.monotonic()
    for seed in seeds:
        try:
            outcome = simulate(seed, arguments.steps, ruled=ruled)
        except Exception as error:  # noqa: BLE001  any error is a finding; it is shown with its seed
            failed.append(seed)
            sys.stdout.write(shown(seed, arguments.steps, error) + "\n\n")
            continue
        fired.update(outcome.faults.fired)
        messages += outcome.messages
        events += outcome.events
    took = time.monotonic() - began
    for point, count in sorted(fired.items()):
        sys.stdout.write(f"{count:8,} {point}\n")
    if outcome is not None and len(seeds) == 1:
        sys.stdout.write(f"trace {outcome.digest} ({outcome.trace.count} entries)\n")
    elif missing := sorted({*MUST_COME_UP, *RULED_MUST_COME_UP} - set(fired)):
        sys.stdout.write(f"never came up: {', '.join(missing)}\n")
    sys.stdout.write(
        f"{len(seeds)} seed(s), {messages:,} messages, {events:,} events, {took:.1f} s; failed: {failed or 'none'}\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
