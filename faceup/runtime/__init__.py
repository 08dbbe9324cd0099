"""Where and in what portions the work is done: device and batching."""
