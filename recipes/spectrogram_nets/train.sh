#!/bin/sh
# Train the small presets of the three spectrogram U-Nets: train.sh SONGS RUNS [EPOCHS]
#
# SONGS is a folder made by: sonograd songs SONGS --count 500 --seconds 12 --seed 21 --source both
# The recurrent networks start from the U-Net of the plain one, the variational from the recurrent.
set -e
songs=$1 runs=$2 here=$(dirname "$0")
previous=
for pair in SpectrogramNetSimple:2 SpectrogramNetLSTM:1 SpectrogramNetVAE:1; do
    model=${pair%:*} epochs=${3:-${pair#*:}}
    test -f "$runs/$model/trainer.json" || {
        mkdir -p "$runs/$model"
        cp "$here/$model.json" "$runs/$model/model.json"
        cp "$here/trainer.json" "$runs/$model/trainer.json"
        test -z "$previous" || python "$here/graft.py" "$runs/$previous" "$runs/$model"
    }
    sonograd train "$runs/$model" "$songs" --resume --max-epochs "$epochs"
    previous=$model
done
