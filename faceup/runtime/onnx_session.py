"""ONNX Runtime sessions as faceup wants them: as many threads as torch has, and none that spins."""

from __future__ import annotations

import onnxruntime as ort
import torch


def open_session(model: bytes, device: str) -> ort.InferenceSession:
    """Return a session for the bytes of an ONNX file.

    Its threads are as many as torch's, so that `--threads` holds for both. Left to itself, ONNX Runtime ties a thread
    to every core, where it spins: beside another process, or torch's own threads, everything waits.

    Args:
        model: the file's content.
        device: `cpu` or `cuda`.

    Raises:
        Exception: of onnxruntime's, when the bytes are no network that it can run.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    providers = ["CUDAExecutionProvider"] if device == "cuda" else []
    return ort.InferenceSession(model, options, providers=[*providers, "CPUExecutionProvider"])
