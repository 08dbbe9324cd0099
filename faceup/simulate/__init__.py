"""The camera simulator: surveillance crops in the shape of the SCface database, made from high-definition pictures."""

from __future__ import annotations

from faceup.simulate.presets import PRESETS, Preset
from faceup.simulate.run import simulate
from faceup.simulate.table import Row, SimulationSummary

__all__ = ["PRESETS", "Preset", "Row", "SimulationSummary", "simulate"]
