"""Galleries that stay: embeddings with their model's hash, encrypted if wished, searched fast, every use on record."""
