"""Signatures of nnAudio 0.3.3 and 0.3.4, and of its first release."""

_FFT = "n_fft=2048, win_length=None"
_WINDOW = "window='hann', center=True, pad_mode='reflect'"
_CQT_1992 = "norm=1, window='hann', center=True, pad_mode='reflect'"
_CFP = (
    "fr=2, fs=16000, hop_length=320, window_size=2049, fc=80, tc=0.001, g=[0.24, 0.6, 1], "
    "NumPerOct=48"
)

LAYERS = {
    "STFT": f"{_FFT}, freq_bins=None, hop_length=None, window='hann', freq_scale='no', "
    "center=True, pad_mode='reflect', iSTFT=False, fmin=50, fmax=6000, sr=22050, "
    "trainable=False, output_format='Complex', verbose=True",
    "iSTFT": f"{_FFT}, freq_bins=None, hop_length=None, window='hann', freq_scale='no', "
    "center=True, fmin=50, fmax=6000, sr=22050, trainable_kernels=False, "
    "trainable_window=False, verbose=True, refresh_win=True",
    "MelSpectrogram": f"sr=22050, {_FFT}, n_mels=128, hop_length=512, {_WINDOW}, power=2.0, "
    "htk=False, fmin=0.0, fmax=None, norm=1, trainable_mel=False, trainable_STFT=False, "
    "verbose=True, **kwargs",
    "MFCC": "sr=22050, n_mfcc=20, norm='ortho', verbose=True, ref=1.0, amin=1e-10, "
    "top_db=80.0, **kwargs",
    "Gammatonegram": f"sr=22050, {_FFT}, n_bins=64, hop_length=512, {_WINDOW}, power=2.0, "
    "htk=False, fmin=0.0, fmax=None, norm=1, trainable_bins=False, trainable_STFT=False, "
    "verbose=True, **kwargs",
    "CQT1992": "sr=22050, hop_length=512, fmin=220, fmax=None, n_bins=84, trainable_STFT=False, "
    "trainable_CQT=False, bins_per_octave=12, filter_scale=1, output_format='Magnitude', "
    f"{_CQT_1992}",
    "CQT1992v2": "sr=22050, hop_length=512, fmin=32.7, fmax=None, n_bins=84, bins_per_octave=12, "
    f"filter_scale=1, {_CQT_1992}, trainable=False, output_format='Magnitude', verbose=True",
    "CQT2010": "sr=22050, hop_length=512, fmin=32.7, fmax=None, n_bins=84, bins_per_octave=12, "
    "norm=True, basis_norm=1, window='hann', pad_mode='reflect', trainable_STFT=False, "
    "filter_scale=1, trainable_CQT=False, output_format='Magnitude', earlydownsample=True, "
    "verbose=True",
    "CQT2010v2": "sr=22050, hop_length=512, fmin=32.7, fmax=None, n_bins=84, filter_scale=1, "
    "bins_per_octave=12, norm=True, basis_norm=1, window='hann', pad_mode='reflect', "
    "earlydownsample=True, trainable=False, output_format='Magnitude', verbose=True",
    "VQT": "sr=22050, hop_length=512, fmin=32.7, fmax=None, n_bins=84, filter_scale=1, "
    "bins_per_octave=12, norm=True, basis_norm=1, gamma=0, window='hann', pad_mode='reflect', "
    "earlydownsample=True, trainable=False, output_format='Magnitude', verbose=True",
    "CFP": _CFP,
    "Combined_Frequency_Periodicity": _CFP,
    "Griffin_Lim": "n_fft, n_iter=32, hop_length=None, win_length=None, window='hann', "
    "center=True, pad_mode='reflect', momentum=0.99, device='cpu'",
}
LAYERS["CQT"] = LAYERS["CQT1992v2"]

FORWARD = {
    **dict.fromkeys(LAYERS, "x"),
    "STFT": "x, output_format=None",
    "iSTFT": "X, onesided=False, length=None, refresh_win=None",
    "Griffin_Lim": "S",
    **dict.fromkeys(
        ["CQT", "CQT1992", "CQT1992v2", "CQT2010", "CQT2010v2", "VQT"],
        "x, output_format=None, normalization_type='librosa'",
    ),
}

UTILS = {
    "broadcast_dim": "x",
    "broadcast_dim_conv2d": "x",
    "complex_mul": "cqt_filter, stft",
    "create_cqt_kernels": "Q, fs, fmin, n_bins=84, bins_per_octave=12, norm=1, window='hann', "
    "fmax=None, topbin_check=True, gamma=0, pad_fft=True",
    "create_fourier_kernels": "n_fft, win_length=None, freq_bins=None, fmin=50, fmax=6000, "
    "sr=44100, freq_scale='linear', window='hann', verbose=True",
    "create_lowpass_filter": "band_center=0.5, kernelLength=256, transitionBandwidth=0.03",
    "downsampling_by_2": "x, filterKernel",
    "downsampling_by_n": "x, filterKernel, n",
    "early_downsample": "sr, hop_length, n_octaves, nyquist, filter_cutoff",
    "early_downsample_count": "nyquist, filter_cutoff, hop_length, n_octaves",
    "extend_fbins": "X",
    "get_cqt_complex": "x, cqt_kernels_real, cqt_kernels_imag, hop_length, padding",
    "get_cqt_complex2": "x, cqt_kernels_real, cqt_kernels_imag, hop_length, padding, wcos=None, "
    "wsin=None",
    "get_early_downsample_params": "sr, hop_length, fmax_t, Q, n_octaves, verbose",
    "get_window_dispatch": "window, N, fftbins=True",
    "nextpow2": "A",
    "overlap_add": "X, stride",
    "prepow2": "A",
    "rfft_fn": "x, n=None, onesided=False",
    "torch_window_sumsquare": "w, n_frames, stride, n_fft, power=2",
    "uniform_distribution": "r1, r2, *size, device",
}

LIBROSA = {
    "chroma": "sr, n_fft, n_chroma=12, tuning=0.0, ctroct=5.0, octwidth=2, norm=2, base_c=True, "
    "dtype=<class 'numpy.float32'>",
    "fft2gammatonemx": "sr=20000, n_fft=2048, n_bins=64, width=1.0, fmin=0.0, fmax=11025, "
    "maxlen=1024",
    "fft_frequencies": "sr=22050, n_fft=2048",
    "get_gammatone": "sr, n_fft, n_bins=64, fmin=20.0, fmax=None, htk=False, norm=1, "
    "dtype=<class 'numpy.float32'>",
    "get_mel": "sr, n_fft, n_mels=128, fmin=0.0, fmax=None, htk=False, norm=1, "
    "dtype=<class 'numpy.float32'>",
    "hz_to_mel": "frequencies, htk=False",
    "hz_to_octs": "frequencies, tuning=0.0, bins_per_octave=12",
    "mel_frequencies": "n_mels=128, fmin=0.0, fmax=11025.0, htk=False",
    "mel_to_hz": "mels, htk=False",
    "normalize": "S, norm=inf, axis=0, threshold=None, fill=None",
    "pad_center": "data, size, axis=-1, **kwargs",
    "tiny": "x",
}

#: From the documentation of the first release.
FIRST = {
    "STFT": "n_fft=2048, freq_bins=None, hop_length=512, window='hann', freq_scale='no', "
    "center=True, pad_mode='reflect', fmin=50, fmax=6000, sr=22050, trainable=False",
    "MelSpectrogram": "sr=22050, n_fft=2048, n_mels=128, hop_length=512, window='hann', "
    "center=True, pad_mode='reflect', htk=False, fmin=0.0, fmax=None, norm=1, "
    "trainable_mel=False, trainable_STFT=False",
    "CQT1992v2": "sr=22050, hop_length=512, fmin=220, fmax=None, n_bins=84, bins_per_octave=12, "
    "norm=1, window='hann', center=True, pad_mode='reflect'",
    "CQT2010v2": "sr=22050, hop_length=512, fmin=220, fmax=None, n_bins=84, bins_per_octave=12, "
    "norm=True, basis_norm=1, window='hann', pad_mode='reflect', earlydownsample=True",
}
