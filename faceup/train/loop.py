"""The training loop: seeded, resumable after a kill, and recorded.

What a run writes into its folder, each file whole or not at all:
    checkpoint.pt         everything needed to go on (read back with weights_only=True)
    curves.csv            step, learning rate, training loss, validation PSNR, seconds
    weights.safetensors   the running mean of the weights at the best validation so far, with the network's options
    training.json         the recipe, versions, data, the result: what made the weights
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from faceup import __version__, networks
from faceup.errors import ConfigError, DataError
from faceup.files import whole_or_not_at_all
from faceup.networks.lcge import Lcge
from faceup.recipe import make_recipe
from faceup.train.data import PairSet
from faceup.train.exemplars import add_bank
from faceup.train.recipe import TrainRecipe

LOG_EVERY = 10
# So many batches of training crops give the batch norms their statistics before a validation.
NORM_BATCHES = 40


def validation_psnr(net: nn.Module, pairs: PairSet) -> float:
    """Return the mean PSNR in dB over whole pictures: RGB, uint8 after rounding, no border cut."""
    values = []
    for n, hr in enumerate(pairs.hr):
        with torch.inference_mode():
            out = net(*pairs.whole(n))[0].clamp(0, 255).round()
        mse = float(np.mean((out.numpy().transpose(1, 2, 0) - hr.astype(np.float64)) ** 2))
        values.append(10 * np.log10(255.0**2 / max(mse, 1e-12)))
    return float(np.mean(values))


def finished(recipe: TrainRecipe, out: Path) -> bool:
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


def _same(stored: dict[str, Any], recipe: TrainRecipe) -> bool:
    """Tell whether a recipe that a training wrote down, perhaps by an earlier version, is this one."""
    try:
        return make_recipe(TrainRecipe, stored) == recipe
    except ConfigError:
        return False


class Trainer:
    """Trains one recipe into one folder; making it again on the same folder goes on where it stopped."""

    def __init__(self, recipe: TrainRecipe, data_root: Path, out: Path, *, say: Callable[[str], None] = print) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.out, self.say = recipe, out, say
        folder = data_root / recipe.data
        self.net = networks.build(recipe.network, recipe.network_options, recipe.scale)
        components = self.net.config if isinstance(self.net, Lcge) else None
        self.train_set = PairSet(folder, *recipe.train, recipe.scale, components=components)
        self.validation_set = PairSet(folder, *recipe.validation, recipe.scale, components=components)
        running_mean = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.net, multi_avg_fn=running_mean)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=recipe.lr, betas=(0.9, 0.999), eps=1e-8)
        self.step, self.seconds, self.best_psnr, self.best_step = 0, 0.0, -1.0, -1
        self.curves: list[str] = ["step,lr,loss,psnr,seconds"]
        out.mkdir(parents=True, exist_ok=True)
        if (out / "checkpoint.pt").exists():
            self._restore()

    def run(self) -> None:
        """Train to the last step of the recipe."""
        forward = torch.compile(self.net) if self.recipe.compile else self.net
        losses: list[float] = []
        self.net.train()
        if self.recipe.freeze_norms:
            for module in self.net.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        while self.step < self.recipe.steps:
            started = time.perf_counter()
            losses.append(self._one_step(forward))
            self.step += 1
            self.seconds += time.perf_counter() - started
            last = self.step == self.recipe.steps
            validate = last or self.step % self.recipe.validate_every == 0
            if validate or self.step % LOG_EVERY == 0:
                psnr = self._validate() if validate else None
                self._log(float(np.mean(losses)), psnr)
                losses.clear()
                if psnr is not None:
                    self._save(psnr)

    def _one_step(self, forward: Callable[..., Tensor]) -> float:
        r = self.recipe
        inputs, hr = self.train_set.batch(self.step, seed=r.seed, size=r.batch, patch=r.patch)
        for group in self.optimiser.param_groups:
            group["lr"] = r.learning_rate(self.step)
        loss = F.l1_loss(forward(*inputs), hr)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.averaged.update_parameters(self.net)
        if not torch.isfinite(loss):
            raise DataError(
                f"Training {r.name}: the loss is {loss.item()} at step {self.step}; lower lr in the recipe."
            )
        return float(loss.detach())

    def _validate(self) -> float:
        if not self.recipe.freeze_norms:
            self._measure_norms()
        self.averaged.eval()
        psnr = validation_psnr(self.averaged.module, self.validation_set)
        self.averaged.train()
        return psnr

    def _measure_norms(self) -> None:
        """Give the batch norms of the averaged network the statistics that they meet in it.

        Those of the trained network belong to other weights, and a running mean of them keeps some of the variance of 1
        that every norm starts with, which for small features is far too much.
        """
        r = self.recipe
        crops = (self.train_set.batch(i, seed=r.seed + 1, size=r.batch, patch=r.patch) for i in range(NORM_BATCHES))
        update_bn((inputs[0] for inputs, _ in crops), self.averaged.module)

    def _log(self, loss: float, psnr: float | None) -> None:
        shown_psnr = "" if psnr is None else f"{psnr:.4f}"
        self.curves.append(
            f"{self.step},{self.recipe.learning_rate(self.step - 1):.3e},{loss:.4f},{shown_psnr},{self.seconds:.1f}"
        )
        self.say(
            f"step {self.step}/{self.recipe.steps}  loss {loss:.3f}"
            + ("" if psnr is None else f"  validation {psnr:.3f} dB")
        )

    def _save(self, psnr: float) -> None:
        if psnr > self.best_psnr:
            self.best_psnr, self.best_step = psnr, self.step
            with whole_or_not_at_all(self.out / "weights.safetensors") as path:
                options = json.dumps({**self.recipe.network_options, "scale": self.recipe.scale}, sort_keys=True)
                state = {key: value.contiguous() for key, value in self.averaged.module.state_dict().items()}
                save_file(state, path, metadata={"network": self.recipe.network, "options": options})
        if self.recipe.exemplars and self.step == self.recipe.steps:
            add_bank(self.out / "weights.safetensors", self.train_set, self.recipe.exemplars)
        with whole_or_not_at_all(self.out / "curves.csv") as path:
            path.write_text("\n".join(self.curves) + "\n", encoding="utf-8")
        with whole_or_not_at_all(self.out / "training.json") as path:
            path.write_text(json.dumps(self._record(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        state = {
            "recipe": json.dumps(self.recipe.as_dict(), sort_keys=True),
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": [self.step, self.seconds, self.best_psnr, self.best_step],
            "curves": self.curves,
        }
        with whole_or_not_at_all(self.out / "checkpoint.pt") as path:
            torch.save(state, path)

    def _restore(self) -> None:
        state = cast("dict[str, Any]", torch.load(self.out / "checkpoint.pt", weights_only=True))
        if not _same(json.loads(state["recipe"]), self.recipe):
            raise DataError(f"{self.out} holds a training of another recipe: choose another folder or the same recipe.")
        self.net.load_state_dict(state["net"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.best_psnr, self.best_step = state["progress"]
        self.curves = list(state["curves"])
        self.say(f"going on from step {self.step}")

    def _record(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.as_dict(),
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "training_pictures": len(self.train_set),
            "validation_pictures": len(self.validation_set),
            "steps_done": self.step,
            "training_seconds": round(self.seconds, 1),
            "best_step": self.best_step,
            "best_validation_psnr_db": round(self.best_psnr, 4),
            "versions": {"faceup": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "threads": torch.get_num_threads(),
        }
