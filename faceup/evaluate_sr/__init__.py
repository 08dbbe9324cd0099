"""Image quality of SR backends: what is left of pictures that were reduced and enlarged, and published tables."""

from __future__ import annotations

from faceup.evaluate_sr.measure import METRICS, evaluate_sr, summary
from faceup.evaluate_sr.recipe import QualityRecipe, compared, measured_by

__all__ = ["METRICS", "QualityRecipe", "compared", "evaluate_sr", "measured_by", "summary"]
