"""ONNX Runtime sessions as faceup wants them: as many threads as torch has, and none that spins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

_ERRORS_ONLY = 3


def open_session(model: bytes, device: str, threads: int | None = None) -> ort.InferenceSession:
    """Return a session for the bytes of an ONNX file.

    Its threads are as many as torch's unless told otherwise, so that `--threads` holds for both. Left to itself, ONNX
    Runtime ties a thread to every core, where it spins: beside another process, or torch's threads, everything waits.

    Args:
        model: the file's content.
        device: `cpu` or `cuda`.
        threads: of one run; None: torch's.

    Raises:
        Exception: of onnxruntime's, when the bytes are no network that it can run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads() if threads is None else threads
    options.log_severity_level = _ERRORS_ONLY
    # Every size of input would leave a plan of its memory behind.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    providers = ["CUDAExecutionProvider"] if device == "cuda" else []
    return ort.InferenceSession(model, options, providers=[*providers, "CPUExecutionProvider"])


def cpu_network(model: bytes, portion: int | None = None, threads: int | None = None) -> Callable[[Tensor], Tensor]:
    """Return a model of one input and one output as a function of float32 tensors on the CPU; see `open_session`.

    Args:
        model: the file's content.
        portion: rows that go through it at a time, so few that their features stay in the cache; None: all.
        threads: of one run; None: torch's.
    """
    session = open_session(model, "cpu", threads)
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> Tensor:
        values = x.numpy()
        step = portion or max(1, len(values))
        parts = [session.run(None, {name: values[i : i + step]})[0] for i in range(0, max(1, len(values)), step)]
        return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))

    return run
