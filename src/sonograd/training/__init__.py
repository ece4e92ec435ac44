"""Train separators; needs the extra ``[train]``."""
