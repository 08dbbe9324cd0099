"""What a network costs to run."""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(run: Callable[[], object]) -> int:
    """Count the multiply-adds that torch does in convolutions and matrix products while `run` is called.

    Biases, norms, activations and interpolation are left out, as is usual. What other libraries compute is not seen.
    """
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2
