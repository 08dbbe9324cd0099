"""Numbers from pictures and from scores: pure functions."""
