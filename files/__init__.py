"""Which files may be read, writing them whole or not at all, and picture files."""
