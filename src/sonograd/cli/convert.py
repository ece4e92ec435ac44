"""``sonograd convert FILE --family FAMILY --config FILE.yaml --save FOLDER``."""

from pathlib import Path

from sonograd.cli.console import print_error

__all__ = ["convert"]


def convert(
    *files: Path,
    family: str | None = None,
    config: Path | None = None,
    stems: str | None = None,
    save: Path | None = None,
    overwrite: bool = False,
) -> int:
    """Turn a checkpoint that others published into a session folder; nothing in it is run.

    The families are BandSplitRoFormer, ConvTasNet, Demucs, HTDemucs, HybridDemucs,
    MelBandRoFormer, OpenUnmix and SCNet.

    Args:
        files: The checkpoint: .th, .pth, .ckpt or .safetensors; for Open-Unmix one per stem.
        family: Its architecture; found out from the names of its tensors by default.
        config: The .yaml or .json file with the settings that it was trained with; checkpoints of
            Demucs hold them themselves.
        stems: Names of the stems, separated by commas, in the order of the network or of the
            files; by default as in the settings.
        save: The session folder; named like the first file by default.
        overwrite: Replace model.json and weights.safetensors in a folder that is not empty.
    """
    from sonograd.jobs.convert import convert as run

    if not files:
        print_error("there is no file to convert. See: sonograd convert --help")
        return 2
    names = None if stems is None else [name.strip() for name in stems.split(",")]
    print(run(files, save, family=family, config=config, stems=names, overwrite=overwrite))
    return 0
