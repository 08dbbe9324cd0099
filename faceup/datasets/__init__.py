"""Data sets that users hold under their own licences: which pictures play which part, and whether a copy is whole.

The facts of each set (counts, names, distances, published figures) stand in `data_manifests/KIND.yaml`; a module per
layout turns a copy into gallery, probes, pairs and splits.
"""
