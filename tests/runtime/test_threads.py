"""Idle threads sleep: what the command line sets, and that the library that reads it sees it in time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from faceup.runtime.threads import PASSIVE, wait_passively
from tests.conftest import ROOT


def test_passive_unless_the_user_has_chosen() -> None:
    fresh = {"HOME": "/"}
    wait_passively(fresh)
    assert fresh == {"HOME": "/", "OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
    for name in PASSIVE:
        chosen = {name: "7"}
        wait_passively(chosen)
        assert chosen == {name: "7"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="libgomp's report")
@pytest.mark.parametrize(("given", "used"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")])
def test_the_command_line_sets_it_before_libgomp_is_loaded(given: dict[str, str], used: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in PASSIVE}
    environment |= {"OMP_DISPLAY_ENV": "true", "PYTHONPATH": str(ROOT), **given}
    done = subprocess.run(
        [sys.executable, "-m", "faceup", "doctor"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this torch does not use libgomp")
    assert f"OMP_WAIT_POLICY = '{used}'" in done.stderr


def test_onnx_sessions_have_torchs_threads_and_do_not_spin() -> None:
    onnx = pytest.importorskip("onnx")
    import torch

    from faceup.runtime.onnx_session import open_session

    kind = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Neg", ["x"], ["y"])], "g", [kind], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        used = open_session(model.SerializeToString(), "cpu").get_session_options()
    finally:
        torch.set_num_threads(before)
    assert used.intra_op_num_threads == 3
    assert used.get_session_config_entry("session.intra_op.allow_spinning") == "0"
