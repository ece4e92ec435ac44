"""The mathematics of sound, each piece once: pure functions of tensors."""
