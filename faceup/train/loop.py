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
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from faceup import __version__, networks
from faceup.errors import ConfigError, DataError
from faceup.files import whole_or_not_at_all
from faceup.recipe import make_recipe
from faceup.train.data import PairSet
from faceup.train.exemplars import add_bank
from faceup.train.faces import SurveillanceSet, jittered
from faceup.train.identity import IdentityTerm
from faceup.train.recipe import TrainRecipe
from faceup.train.tasks import Measured, measured, start_from, training_set

LOG_EVERY = 10


def finished(recipe: TrainRecipe, out: Path) -> bool:
    """Tell whether `out` holds this training, done to its last step."""
    try:
        record = json.loads((out / "training.json").read_text(encoding="utf-8"))
        return bool(
            record["steps_done"] == recipe.steps
            and make_recipe(TrainRecipe, record["recipe"]) == recipe
            and (out / "weights.safetensors").is_file()
        )
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return False


class Trainer:
    """Trains one recipe into one folder; making it again on the same folder goes on where it stopped."""

    def __init__(self, recipe: TrainRecipe, data_root: Path, out: Path, *, say: Callable[[str], None] = print) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.out, self.say = recipe, out, say
        folder = data_root / recipe.data
        out.mkdir(parents=True, exist_ok=True)
        self.train_set, self.validation_set = (
            training_set(recipe, folder, *numbers, cache=out) for numbers in (recipe.train, recipe.validation)
        )
        self.identity = IdentityTerm() if recipe.degradation == "surveillance" else None
        self.net = networks.build(recipe.network, recipe.network_options, recipe.scale)
        self.started_from = start_from(self.net, recipe.start) if recipe.start else ""
        running_mean = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(self.net, multi_avg_fn=running_mean, use_buffers=True)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=recipe.lr, betas=(0.9, 0.999), eps=1e-8)
        self.step, self.seconds, self.best_score, self.best_step = 0, 0.0, -1.0, -1
        self.best = Measured(-1.0)
        self.curves: list[str] = ["step,lr,loss,psnr,seconds" + (",identity" if self.identity else "")]
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
                found = self._validate() if validate else None
                self._log(float(np.mean(losses)), found)
                losses.clear()
                if found is not None:
                    self._save(found)

    def _one_step(self, forward: Callable[..., Tensor]) -> float:
        r = self.recipe
        inputs, hr, *faces = self.train_set.batch(self.step, seed=r.seed, size=r.batch, patch=r.patch)
        for group in self.optimiser.param_groups:
            group["lr"] = r.learning_rate(self.step)
        out = forward(*inputs)
        loss = F.l1_loss(out, hr)
        if self.identity is not None and r.identity and self.step >= r.identity_from:
            landmarks, originals = faces
            rng = np.random.default_rng((r.seed, self.step, 1))
            found = np.stack([jittered(points, r.alignment_jitter, rng) for points in landmarks])
            loss = loss + r.identity * self.identity(out, found, originals)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.averaged.update_parameters(self.net)
        if not torch.isfinite(loss):
            raise DataError(
                f"Training {r.name}: the loss is {loss.item()} at step {self.step}; lower lr in the recipe."
            )
        return float(loss.detach())

    def _validate(self) -> Measured:
        self.averaged.eval()
        found = measured(self.averaged.module, self.validation_set, self.identity)
        self.averaged.train()
        return found

    def _log(self, loss: float, found: Measured | None) -> None:
        values = ["" if found is None else f"{found.psnr:.4f}", f"{self.seconds:.1f}"]
        if self.identity is not None:
            values.append("" if found is None else f"{found.identity:.4f}")
        rate = self.recipe.learning_rate(self.step - 1)
        self.curves.append(",".join([str(self.step), f"{rate:.3e}", f"{loss:.4f}", *values]))
        told = "" if found is None else f"  validation {found.psnr:.3f} dB"
        if found is not None and found.identity is not None:
            told += f", identity {found.identity:.4f}"
        self.say(f"step {self.step}/{self.recipe.steps}  loss {loss:.3f}{told}")

    def _save(self, found: Measured) -> None:
        score = found.identity if self.recipe.identity and found.identity is not None else found.psnr
        if score > self.best_score:
            self.best_score, self.best_step, self.best = score, self.step, found
            with whole_or_not_at_all(self.out / "weights.safetensors") as path:
                options = json.dumps({**self.recipe.network_options, "scale": self.recipe.scale}, sort_keys=True)
                state = {key: value.contiguous() for key, value in self.averaged.module.state_dict().items()}
                save_file(state, path, metadata={"network": self.recipe.network, "options": options})
        if self.recipe.exemplars and isinstance(self.train_set, PairSet) and self.step == self.recipe.steps:
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
            "progress": [self.step, self.seconds, self.best_score, self.best_step],
            "best": [self.best.psnr, self.best.identity],
            "curves": self.curves,
        }
        with whole_or_not_at_all(self.out / "checkpoint.pt") as path:
            torch.save(state, path)

    def _restore(self) -> None:
        state = cast("dict[str, Any]", torch.load(self.out / "checkpoint.pt", weights_only=True))
        if make_recipe(TrainRecipe, json.loads(state["recipe"])) != self.recipe:
            raise DataError(f"{self.out} holds a training of another recipe: choose another folder or the same recipe.")
        self.net.load_state_dict(state["net"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.best_score, self.best_step = state["progress"]
        self.best = Measured(*state["best"])
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
            "best_validation_psnr_db": round(self.best.psnr, 4),
            **self._about_faces(),
            "versions": {"faceup": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "threads": torch.get_num_threads(),
        }

    def _about_faces(self) -> dict[str, Any]:
        """Return what only some trainings have: faces and their identity, weights that it began with."""
        more: dict[str, Any] = {"started_from_sha256": self.started_from} if self.started_from else {}
        if self.best.identity is not None:
            more["best_validation_identity"] = round(self.best.identity, 4)
        if isinstance(self.train_set, SurveillanceSet):
            more["training_pictures_without_a_face"] = self.train_set.faces.left_out
        return more
