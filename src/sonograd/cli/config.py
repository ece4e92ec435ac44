"""``sonograd config MODEL_TYPE --save FOLDER``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonograd.cli.console import Console
from sonograd.cli.fetch import fetch_models
from sonograd.cli.settings import parse_changes, print_table
from sonograd.config.separators import MaskActivation
from sonograd.config.session import CONFIG_NAME
from sonograd.errors import ConfigError

__all__ = ["config"]


def config(
    name: str | None = None,
    /,
    *,
    model_type: str | None = None,
    save: Path = Path("my_model"),
    vocals: bool = False,
    drums: bool = False,
    bass: bool = False,
    other: bool = False,
    target: Annotated[list[str] | None, Parameter(negative="")] = None,
    display: bool = False,
    overwrite: bool = False,
    num_channels: int | None = None,
    num_hidden_channels: int | None = None,
    sample_length: float | None = None,
    sample_rate: int | None = None,
    num_fft: int | None = None,
    window_size: int | None = None,
    hop_length: int | None = None,
    dropout_p: float | None = None,
    leak_factor: float | None = None,
    mask_act_fn: MaskActivation | None = None,
    normalize_input: bool | None = None,
    normalize_output: bool | None = None,
    recurrent_depth: int | None = None,
    hidden_size: int | None = None,
    input_axis: int | None = None,
    num_levels: int | None = None,
    bottleneck_factor: int | None = None,
    complete_targets: bool | None = None,
    full_resolution_hz: float | None = None,
    change: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
) -> int:
    """Make the session folder of a new model: a folder with model.json in it.

    A folder that is not empty is kept as it is. Options that an architecture does not have are
    errors, but for those of recurrence, which all three spectrogram U-Nets accept; --display shows
    those that it has.

    Args:
        name: The architecture: SpectrogramNetSimple, SpectrogramNetLSTM, SpectrogramNetVAE,
            TFCTDFUNet (that of the default model), or another one; a name that does not exist
            lists all. Or a model that exists, such as default or a folder, for its settings.
        model_type: The same, as an option.
        save: The session folder. Default: my_model.
        vocals: Estimate the vocals.
        drums: Estimate the drums.
        bass: Estimate the bass.
        other: Estimate the other instruments.
        target: Estimate a stem of another name; may be given several times.
        display: Show the configuration as a table.
        overwrite: Replace model.json, and nothing else, in a folder that is not empty.
        num_channels: Audio channels, 1 for mono and 2 for stereo.
        num_hidden_channels: Channels of the first block.
        sample_length: Length of a training chunk in seconds.
        sample_rate: Rate the model works at, in Hz.
        num_fft: FFT length in samples.
        window_size: Length of the Hann window in samples.
        hop_length: Samples between frames.
        dropout_p: Dropout probability.
        leak_factor: Negative slope of the leaky_relu mask activation.
        mask_act_fn: Activation that turns logits into masks.
        normalize_input: Learn a scale and shift per frequency bin at the input.
        normalize_output: Learn a scale and shift per frequency bin before the mask activation.
        recurrent_depth: Number of stacked LSTM layers; no effect in SpectrogramNetSimple.
        hidden_size: Size of their state.
        input_axis: 1 recurs over time, 0 over frequency.
        num_levels: Levels below the first of the TFCTDFUNet.
        bottleneck_factor: How much narrower than the frequency axis its bottlenecks are.
        complete_targets: The targets make up the whole mix.
        full_resolution_hz: Up to here its masks have one value per bin.
        change: Any other field of model.json as key=value, for instance num_overlap=4; may be
            given several times.
    """
    from sonograd.jobs.configure import MODEL_TYPES, configure, describe, model_config

    settings = {
        "num_channels": num_channels,
        "num_hidden_channels": num_hidden_channels,
        "sample_length": sample_length,
        "sample_rate": sample_rate,
        "num_fft": num_fft,
        "window_size": window_size,
        "hop_length": hop_length,
        "dropout_p": dropout_p,
        "leak_factor": leak_factor,
        "mask_act_fn": mask_act_fn,
        "normalize_input": normalize_input,
        "normalize_output": normalize_output,
        "recurrent_depth": recurrent_depth,
        "hidden_size": hidden_size,
        "input_axis": input_axis,
        "num_levels": num_levels,
        "bottleneck_factor": bottleneck_factor,
        "complete_targets": complete_targets,
        "full_resolution_hz": full_resolution_hz,
    }
    given = {key: value for key, value in settings.items() if value is not None}
    if name and model_type and name != model_type:
        raise ConfigError("model type", [f"got both {name!r} and {model_type!r}."])
    kind = name or model_type
    if kind is None:
        raise ConfigError("model type", [f"is missing; expected one of {', '.join(MODEL_TYPES)}."])
    flags = {"vocals": vocals, "drums": drums, "bass": bass, "other": other}
    targets = [stem for stem, wanted in flags.items() if wanted] + list(target or ())
    if kind not in MODEL_TYPES:
        fetch_models([kind])
    chosen = model_config(kind, targets=targets, settings=given | parse_changes(change))
    path = configure(chosen, save, overwrite=overwrite)
    if display:
        print_table(CONFIG_NAME, describe(chosen))
    with Console() as console:
        console.message(f"next: sonograd train {path.parent} DATASET")
    print(path)
    return 0
