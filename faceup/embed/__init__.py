"""Face recognisers, one module each: aligned faces to unit vectors."""
