"""A small builder of every front end, by class, and how long its signals are."""

from sonograd import frontends as fe

CONSTANT_Q = {"sample_rate": 8000, "hop_length": 64, "fmin": 200.0, "n_bins": 30}

TINY = {
    fe.STFT: lambda: fe.STFT(sample_rate=8000, n_fft=128),
    fe.MelSpectrogram: lambda: fe.MelSpectrogram(
        sample_rate=8000, n_fft=256, hop_length=64, n_mels=20
    ),
    fe.MFCC: lambda: fe.MFCC(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20, n_mfcc=8),
    fe.GammatoneSpectrogram: lambda: fe.GammatoneSpectrogram(
        sample_rate=8000, n_fft=256, hop_length=64, n_bands=12
    ),
    fe.GammatoneFilterbank: lambda: fe.GammatoneFilterbank(sample_rate=8000, n_bands=8, fmin=100.0),
    fe.Chroma: lambda: fe.Chroma(sample_rate=8000, n_fft=512, hop_length=128),
    fe.CombinedFrequencyPeriodicity: lambda: fe.CombinedFrequencyPeriodicity(
        sample_rate=8000, hop_length=160, win_length=513, resolution_hz=10.0
    ),
    fe.HarmonicPercussive: lambda: fe.HarmonicPercussive(
        sample_rate=8000, n_fft=128, time_length=5, frequency_length=5
    ),
    fe.LearnedFilterbank: lambda: fe.LearnedFilterbank(
        sample_rate=8000, filters=8, taps=65, kind="gabor"
    ),
    fe.ConstantQ: lambda: fe.ConstantQ(**CONSTANT_Q),
    fe.VariableQ: lambda: fe.VariableQ(**CONSTANT_Q, trainable=True, output="power"),
    fe.InvertibleConstantQ: lambda: fe.InvertibleConstantQ(sample_rate=8000, fmin=200.0),
}
