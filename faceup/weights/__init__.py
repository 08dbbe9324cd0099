"""Weight files: what is known of them (catalog) and how they are found, checked and read (store)."""
