"""Audio files, folders of stems, chunks, and synthetic songs."""
