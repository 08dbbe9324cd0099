"""Runs an ONNX model of one input and one output on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor

_ERRORS_ONLY = 3


def cpu_network(model: bytes) -> Callable[[Tensor], Tensor]:
    """Return the model as a function of float32 tensors; it takes as many threads as torch has now.

    Idle threads sleep: beside others that compute, threads that spin cost more time than they save.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Every size of input would leave a plan of its memory behind.
    options.enable_mem_pattern = False
    options.log_severity_level = _ERRORS_ONLY
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> Tensor:
        (out,) = session.run(None, {name: x.numpy()})
        return torch.from_numpy(np.asarray(out))

    return run
