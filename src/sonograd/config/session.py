"""Names of the files in a session folder, each once."""

__all__ = ["CONFIG_NAME", "STATE_NAME", "TRAINER_NAME", "WEIGHTS_NAME"]

#: Architecture of the model.
CONFIG_NAME = "model.json"
#: How it is trained.
TRAINER_NAME = "trainer.json"
#: The best weights so far.
WEIGHTS_NAME = "weights.safetensors"
#: What a training goes on from.
STATE_NAME = "checkpoint.pth"
