"""Super-resolution backends, one module each; docs/add_a_backend.md tells how to write one."""
