#!/usr/bin/env python3
"""How many path steps per second does QuantLib make? Beside `cargo bench -p tessera-risk`, not part of it.

    python3 -m venv /tmp/quantlib && /tmp/quantlib/bin/pip install QuantLib
    /tmp/quantlib/bin/python risk/benches/quantlib.py

Not equal to the Rust loop: QuantLib draws from a Mersenne twister and inverts, and builds a path object over
a time grid per scenario; its Ornstein-Uhlenbeck process has no jumps. The process with jumps
(ExtOUWithJumpsProcess: exponential jumps, Kluge) takes its level from a Python function when called from
Python, which is called at every step; its figure says nothing about C++.
"""

import time

import QuantLib as ql

STEPS = 500
KAPPA, SIGMA, LAMBDA = 0.35 / 24.0, 0.22 / 24.0**0.5, 0.06 / 24.0


def rate(generator, paths):
    generator.next()
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(paths):
            generator.next()
        best = max(best, paths * STEPS / (time.perf_counter() - start))
    return best


def gaussian(numbers):
    return ql.GaussianRandomSequenceGenerator(
        ql.UniformRandomSequenceGenerator(numbers, ql.UniformRandomGenerator(42))
    )


plain = ql.OrnsteinUhlenbeckProcess(KAPPA, SIGMA, 0.0, 0.0)
paths = ql.GaussianPathGenerator(plain, float(STEPS), STEPS, gaussian(STEPS), False)
print(f"QuantLib {ql.__version__}")
print(f"Ornstein-Uhlenbeck, no jumps: {rate(paths, 4000) / 1e6:.2f} M steps/s")

try:
    base = ql.ExtendedOrnsteinUhlenbeckProcess(KAPPA, SIGMA, 0.0, lambda t: 0.0)
    jumps = ql.ExtOUWithJumpsProcess(base, 0.0, KAPPA, LAMBDA, 2.0)
    grid = ql.TimeGrid(float(STEPS), STEPS)
    many = gaussian(STEPS * jumps.factors())
    paths = ql.GaussianMultiPathGenerator(jumps, list(grid), many, False)
    print(f"with jumps, level from Python: {rate(paths, 200) / 1e6:.2f} M steps/s")
except (TypeError, AttributeError, RuntimeError) as error:
    print(f"with jumps: not available in this version ({error})")
