"""Training of super-resolution networks from a recipe: resumable, seeded, with a record of everything that made it."""
