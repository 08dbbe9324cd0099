"""The training loop: seeded, resumable after a kill, and recorded.

What a run writes into its folder, each file whole or not at all:
    checkpoint.pt         everything needed to go on (read back with weights_only=True)
    curves.csv            step, learning rate, training loss, what the validation measured, seconds
    weights.safetensors   the running mean of the weights at the best validation so far, with the network's options
    training.json         the recipe, versions, data, the result: what made the weights
    *-landmarks.npy       where the faces of the pictures lie, if the training needs faces
"""

from __future__ import annotations

import json
import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from faceup import __version__
from faceup.errors import ConfigError, DataError, StageError
from faceup.files import shown, whole_or_not_at_all
from faceup.recipe import make_recipe
from faceup.runtime.batching import out_of_memory
from faceup.runtime.device import full_float32
from faceup.train.distil import DistilTask
from faceup.train.machine import CPU, Machine
from faceup.train.recipe import AnyRecipe, DistilRecipe
from faceup.train.tasks import SrTask, Task

LOG_EVERY = 10


def finished(recipe: AnyRecipe, out: Path) -> bool:
    """Tell whether `out` holds this training, done to its last step."""
    try:
        record = json.loads((out / "training.json").read_text(encoding="utf-8"))
        return bool(
            record["steps_done"] == recipe.steps
            and _same(record["recipe"], recipe)
            and (out / "weights.safetensors").is_file()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _same(stored: dict[str, Any], recipe: AnyRecipe) -> bool:
    """Tell whether a recipe that a training wrote down, perhaps by an earlier version, is this one."""
    try:
        return make_recipe(type(recipe), stored) == recipe
    except ConfigError:
        return False


class Trainer:
    """Trains one recipe into one folder; making it again on the same folder goes on where it stopped."""

    def __init__(
        self,
        recipe: AnyRecipe,
        data_root: Path,
        out: Path,
        *,
        machine: Machine = CPU,
        say: Callable[[str], None] = print,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.out, self.machine, self.say = recipe, out, machine, say
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{shown(out)}: cannot be made ({error.strerror or error}); choose another folder with --out."
            ) from error
        kind: Callable[..., Task] = DistilTask if isinstance(recipe, DistilRecipe) else SrTask
        self.task = kind(recipe, data_root / recipe.data, out, machine)
        self.net = self.task.net
        running_mean = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.net, multi_avg_fn=running_mean)
        self.trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.trained, lr=recipe.lr, betas=(0.9, 0.999), eps=1e-8)
        self.step, self.seconds, self.best_step = 0, 0.0, -1
        self.devices: list[str] = []
        self.best: dict[str, float] = {}
        self.curves: list[str] = [",".join(["step", "lr", "loss", *self.task.columns, "seconds"])]
        if (out / "checkpoint.pt").exists():
            self._restore()
        here = torch.cuda.get_device_name() if machine.device == "cuda" else "cpu"
        if here not in self.devices:
            self.devices.append(here)

    def run(self) -> None:
        """Train to the last step of the recipe."""
        forward = self._forward()
        self.net.train()
        if self.recipe.freeze_norms:
            for module in self.net.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        try:
            self._steps(forward)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise StageError(
                f"Training {self.recipe.name}: memory ran out ({error}); lower batch in the recipe."
            ) from error
        finally:
            self.task.batches.close()

    def _steps(self, forward: Callable[..., Tensor]) -> None:
        losses: list[Tensor] = []
        while self.step < self.recipe.steps:
            started = time.perf_counter()
            losses.append(self._one_step(forward))
            self.step += 1
            validate = self.step == self.recipe.steps or self.step % self.recipe.validate_every == 0
            told = validate or self.step % LOG_EVERY == 0
            # The losses are read only now: a GPU would have to be waited for at every step.
            loss = self._finite_mean(losses) if told else math.nan
            self.seconds += time.perf_counter() - started
            if told:
                losses.clear()
                with full_float32():
                    state = self._to_ship() if validate else {}
                    found = self.task.measure(state) if validate else {}
                self._log(loss, found)
                if validate:
                    self._save(found, state)

    def _forward(self) -> Callable[..., Tensor]:
        net = torch.compile(self.net) if self.recipe.compile else self.net
        if not self.recipe.bf16:
            return net

        def in_bfloat16(*inputs: Tensor) -> Tensor:
            with torch.autocast(self.machine.device, torch.bfloat16):
                return net(*inputs).float()

        return in_bfloat16

    def _to_ship(self) -> dict[str, Tensor]:
        """Return the tensors of the averaged network, whose batch norms get the statistics that they meet in it.

        Those of the trained network belong to other weights, and a running mean of them keeps some of the variance of 1
        that every norm starts with, which for small features is far too much.
        """
        if not self.recipe.freeze_norms:
            update_bn(self.task.inputs(), self.averaged.module, torch.device(self.machine.device))
        return self.task.shipped(self.averaged.module)

    def _one_step(self, forward: Callable[..., Tensor]) -> Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate(self.step)
        loss = self.task.loss(forward, self.step)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.trained, self.recipe.clip)
        self.optimiser.step()
        self.averaged.update_parameters(self.net)
        return loss.detach()

    def _finite_mean(self, losses: Sequence[Tensor]) -> float:
        mean = float(torch.stack(list(losses)).mean())
        if not math.isfinite(mean):
            raise DataError(
                f"Training {self.recipe.name}: the loss is {mean} by step {self.step}; lower lr in the recipe."
            )
        return mean

    def _log(self, loss: float, found: Mapping[str, float]) -> None:
        measured = [f"{found[name]:.4f}" if found else "" for name in self.task.columns]
        rate = f"{self.recipe.learning_rate(self.step - 1):.3e}"
        self.curves.append(",".join([str(self.step), rate, f"{loss:.4f}", *measured, f"{self.seconds:.1f}"]))
        told = "".join(f"  {name} {value:.4f}" for name, value in found.items())
        self.say(f"step {self.step}/{self.recipe.steps}  loss {loss:.3f}{told}")

    def _save(self, found: dict[str, float], shipped: dict[str, Tensor]) -> None:
        if not self.best or found[self.task.score] > self.best[self.task.score]:
            self.best, self.best_step = found, self.step
            with whole_or_not_at_all(self.out / "weights.safetensors") as path:
                save_file(shipped, path, metadata=self.task.metadata)
        if self.step == self.recipe.steps:
            with full_float32():
                self.task.finish(self.out / "weights.safetensors")
        with whole_or_not_at_all(self.out / "curves.csv") as path:
            path.write_text("\n".join(self.curves) + "\n", encoding="utf-8")
        with whole_or_not_at_all(self.out / "training.json") as path:
            path.write_text(json.dumps(self._record(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        state = {
            "recipe": json.dumps(self.recipe.as_dict(), sort_keys=True),
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": [self.step, self.seconds, self.best_step],
            "best": self.best,
            "curves": self.curves,
            "devices": self.devices,
            "inputs_sha256": self.task.inputs_sha256,
        }
        with whole_or_not_at_all(self.out / "checkpoint.pt") as path:
            torch.save(state, path)

    def _restore(self) -> None:
        path = self.out / "checkpoint.pt"
        try:
            state = cast("dict[str, Any]", torch.load(path, weights_only=True, map_location="cpu"))
        except (OSError, EOFError, RuntimeError, ValueError, UnpicklingError) as error:
            raise DataError(
                f"{shown(path)}: cannot be read ({type(error).__name__}), so the training cannot go on: delete it to "
                "begin anew, or choose another folder."
            ) from error
        if not _same(json.loads(state["recipe"]), self.recipe):
            raise DataError(f"{self.out} holds a training of another recipe: choose another folder or the same recipe.")
        # Checkpoints of earlier versions do not know what they read.
        for part, sha256 in state.get("inputs_sha256", self.task.inputs_sha256).items():
            if self.task.inputs_sha256.get(part) != sha256:
                raise DataError(
                    f"{self.out} holds a training on other inputs ({part} has changed): choose another folder, or give "
                    "back what it began with."
                )
        self.net.load_state_dict(state["net"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.best_step = state["progress"]
        self.best = dict(state["best"])
        self.curves = list(state["curves"])
        self.devices = list(state.get("devices", ["cpu"]))  # earlier versions knew no other
        self.say(f"going on from step {self.step}")

    def _record(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.as_dict(),
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "training_pictures": self.task.sizes[0],
            "validation_pictures": self.task.sizes[1],
            "steps_done": self.step,
            "training_seconds": round(self.seconds, 1),
            "best_step": self.best_step,
            "inputs_sha256": self.task.inputs_sha256,
            **self.task.about(self.best),
            "versions": {"faceup": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "devices": self.devices,
            "threads": torch.get_num_threads(),
        }
