"""What a GPU wants besides the work: transfers from page-locked memory, and launches that are replayed as graphs.

A deep network launches thousands of kernels, and for a few small pictures each of them takes less time than its launch.
A CUDA graph holds all launches for batches of one shape and starts them together.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from faceup.runtime.batching import SPARE, out_of_memory
from faceup.types import Pixels

Run = Callable[[Tensor], Tensor]

# Graphs that are kept at once; each has memory of its own for the features of a batch.
GRAPHS = 4
# Runs on the side before a capture, so that the libraries have chosen their kernels and have their workspaces.
WARM_UPS = 3
_CAPTURING = Lock()


class Replayed:
    """A function of one tensor on a GPU, replayed as a CUDA graph for every shape that recurs.

    A shape is captured when it comes for the second time or, if its graph has had to make room for another's since,
    for the 4th, 8th, 16th ... time: shapes that keep pushing each other out are run as they are rather than captured
    for ever. A function that cannot be captured, e.g. because it looks at a value to decide what to do next, is run as
    it is from then on. A shape for which memory has run out is never captured, and all graphs are freed then.

    Args:
        run: gives for a tensor another one, of a shape that follows from the shape of the first.

    Attributes:
        failure: why there are no graphs any more; empty while there is no reason.
    """

    def __init__(self, run: Run) -> None:
        self.failure = ""
        self._run = run
        self._graphs: OrderedDict[torch.Size, Run] = OrderedDict()
        self._seen: Counter[torch.Size] = Counter()
        self._too_large: set[torch.Size] = set()
        SPARE.add(self)

    def __call__(self, x: Tensor) -> Tensor:
        """Return what `run` gives for `x`; it holds until the next call."""
        graph = self._graphs.get(x.shape) or self._captured(x)
        if graph is not None:
            self._graphs.move_to_end(x.shape)
            return graph(x)
        try:
            return self._run(x)
        except RuntimeError as error:
            if out_of_memory(error):
                self._too_large.add(x.shape)
            raise

    def free(self) -> bool:
        """Forget all graphs, and tell whether there were any; shapes that go on coming get new ones."""
        held = bool(self._graphs)
        self._graphs.clear()
        return held

    def _captured(self, x: Tensor) -> Run | None:
        """Return a new graph for the shape of `x`, None if it is not yet, or no longer, worth one."""
        if self.failure or x.shape in self._too_large:
            return None
        self._seen[x.shape] += 1
        times = self._seen[x.shape]
        if times == 1 or times.bit_count() > 1:
            return None
        if len(self._graphs) == GRAPHS:
            self._graphs.popitem(last=False)
        try:
            self._graphs[x.shape] = capture(self._run, x)
        except RuntimeError as error:
            if out_of_memory(error):
                self._too_large.add(x.shape)
            else:
                self.failure = str(error) or type(error).__name__
            self.free()
            return None
        return self._graphs[x.shape]


def capture(run: Run, x: Tensor) -> Run:
    """Return a function for inputs of the shape of `x` that copies them to a fixed place and replays a graph of `run`.

    What it returns is the same memory every time.

    Raises:
        RuntimeError: `run` waits for the GPU, or does something else that a graph cannot hold; memory runs out.
    """
    given = x.clone()
    here, side = torch.cuda.current_stream(x.device), _side_stream(x.device)
    graph = torch.cuda.CUDAGraph()
    with _CAPTURING:
        try:
            side.wait_stream(here)
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    run(given)
            here.wait_stream(side)
            # What other threads do on the GPU meanwhile neither gets into the graph nor breaks it.
            with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
                result = run(given)
        finally:
            torch.cuda.set_stream(here)  # torch does not when a capture fails

    def replay(x: Tensor) -> Tensor:
        given.copy_(x)
        graph.replay()
        return result

    return replay


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream for captures on a device; the libraries keep a workspace for every stream they have met."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class Staged:
    """A function of uint8 batches on a GPU, called with arrays: they come and go through page-locked memory.

    Not for several threads at once: all calls share that memory.

    Args:
        run: gives for a uint8 tensor on `device` another uint8 tensor there.
        device: of `run`; on a CPU the memory is not page-locked.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        self._run, self._device = run, device
        self._sent, self._back = (_Buffer(pinned=device.type == "cuda") for _ in range(2))

    def __call__(self, arrays: Sequence[Pixels]) -> Pixels:
        """Return the result for a batch of arrays of one shape; it is the caller's own."""
        sent = self._sent.view((len(arrays), *arrays[0].shape))
        np.stack(arrays, out=sent.numpy())
        result = self._run(sent.to(self._device, non_blocking=True))
        back = self._back.view(result.shape)
        back.copy_(result, non_blocking=True)
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()  # before anyone reads or writes the buffers again
        return np.array(back.numpy())


class _Buffer:
    """Memory of the host for one tensor at a time; grows, and never shrinks."""

    def __init__(self, *, pinned: bool) -> None:
        self._pinned = pinned
        self._bytes = torch.empty(0, dtype=torch.uint8)

    def view(self, shape: Sequence[int]) -> Tensor:
        """Return a uint8 tensor of the shape; it holds until the next call."""
        size = math.prod(shape)
        if len(self._bytes) < size:
            self._bytes = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned)
        return self._bytes[:size].view(*shape)
