"""The mathematics of sound, each piece once: pure functions of tensors."""

from sonograd.functional._kernels import has_fast_kernels
from sonograd.functional.assignment import best_permutation
from sonograd.functional.ballistics import (
    TimeConvention,
    envelope_follower,
    envelope_follower_stream,
    smoothing_coefficient,
)
from sonograd.functional.biquads import (
    all_pass_biquad,
    band_pass_biquad,
    butterworth,
    first_order,
    frequency_response,
    group_delay,
    high_pass_biquad,
    high_shelf_biquad,
    low_pass_biquad,
    low_shelf_biquad,
    notch_biquad,
    peak_biquad,
    stable_biquad,
    stable_polynomial,
)
from sonograd.functional.bss_eval import (
    BSSEval,
    bss_eval,
    bss_eval_blocks,
    framewise_sdr,
    framewise_sdr_blocks,
)
from sonograd.functional.cepstral import cosine_basis, generalized_cepstra, log_frequency_maps
from sonograd.functional.constant_q import (
    ConstantQBins,
    constant_q,
    constant_q_bandwidth,
    constant_q_bins,
    constant_q_kernels,
)
from sonograd.functional.constant_q_windows import window_shape
from sonograd.functional.convolution import (
    ConvolutionState,
    PartitionedKernel,
    convolve_stream,
    fast_length,
    fft_convolve,
    partition_kernel,
)
from sonograd.functional.crossovers import crossover_sections, linkwitz_riley
from sonograd.functional.delays import delay_line, echo, fractional_delay, moving_delay
from sonograd.functional.dynamics import (
    compressor_gain,
    compressor_gain_db,
    curve_gain,
    gate_gain_db,
    limiter_gain_db,
)
from sonograd.functional.envelopes import adsr
from sonograd.functional.feedback_delays import FeedbackDelayState, feedback_delay
from sonograd.functional.feedback_networks import (
    FeedbackNetworkState,
    decay_filters,
    feedback_network,
    hadamard,
    prime_delays,
)
from sonograd.functional.filterbanks import chroma_filterbank, mel_filterbank
from sonograd.functional.fir import interpolate_response, linear_phase_fir, minimum_phase_fir
from sonograd.functional.fm import feedback_sine
from sonograd.functional.fourier_basis import fourier_frequencies, fourier_kernels
from sonograd.functional.freeverb import FreeverbState, freeverb
from sonograd.functional.frequency_estimation import (
    HarmonicFit,
    estimate_frequency,
    frequency_bound_hz,
    refine_frequency,
)
from sonograd.functional.gabor_frame import GaborFrame, GaborSpectrum, gabor_frame
from sonograd.functional.gabor_transform import gabor_analysis, gabor_synthesis
from sonograd.functional.gammatone import gammatone_filterbank, gammatone_frequencies, gammatone_sos
from sonograd.functional.glottal import glottal_harmonics, glottal_pulse
from sonograd.functional.graphic_eq import graphic_eq_centers, graphic_eq_sections
from sonograd.functional.griffin_lim import griffin_lim
from sonograd.functional.lattice import (
    formant_polynomial,
    lattice_filter,
    linear_prediction,
    polynomial_to_reflections,
    reflections_to_polynomial,
)
from sonograd.functional.learned_filters import gabor_kernels, sinc_kernels
from sonograd.functional.loudness import (
    k_weighting_sos,
    loudness_lufs,
    loudness_lufs_blocks,
    loudness_range_lu,
    momentary_loudness_lufs,
    short_term_loudness_lufs,
)
from sonograd.functional.masking import (
    center_mask,
    harmonic_percussive_masks,
    repetition_mask,
    soft_mask,
)
from sonograd.functional.modal import modal_biquad, modal_decay, modal_filter
from sonograd.functional.modulation import LFO_SHAPES, LfoShape, lfo, note_beats, sweeping_all_pass
from sonograd.functional.moving_filters import BiquadKind, biquad_stream, first_order_stream
from sonograd.functional.noise import draw_seeds, filtered_noise, seeded_noise
from sonograd.functional.order_statistics import median, median_filter
from sonograd.functional.oscillators import oscillator, running_phase
from sonograd.functional.oversampling import oversample, oversampling_latency
from sonograd.functional.pairwise import inner_products
from sonograd.functional.partials import additive, additive_stream, inharmonic_ratios
from sonograd.functional.pcen import exponential_average, pcen
from sonograd.functional.pitch import PitchTrack, difference_function, track_pitch
from sonograd.functional.ratios import (
    msst_sdr,
    sa_sdr,
    sd_sdr,
    sdr,
    si_sdr,
    si_snr,
    snr,
    thresholded_snr,
    usdr,
)
from sonograd.functional.recursion import lfilter, sosfilt, sosfilt_stream
from sonograd.functional.resampling import resample
from sonograd.functional.reverbs import noise_reverb_impulse
from sonograd.functional.rooms import band_noise, image_source_room
from sonograd.functional.rvm import (
    db_to_scale,
    relative_volume_mel,
    scale_to_db,
    volume_mel,
    volume_mel_filters,
)
from sonograd.functional.scale_invariant_bss import (
    ScaleInvariantBSS,
    pairwise_si_sdr,
    si_bss_eval,
)
from sonograd.functional.scales import (
    amplitude_to_db,
    db_to_amplitude,
    hz_to_mel,
    mel_frequencies,
    mel_to_hz,
    power_to_db,
)
from sonograd.functional.scans import linear_scan
from sonograd.functional.shaping import (
    asymmetric_clip,
    bit_crush,
    cubic_clip,
    hard_clip,
    sample_and_hold,
    soft_clip,
    wave_fold,
)
from sonograd.functional.sliding import sliding_maximum, sliding_sum
from sonograd.functional.spectral import istft, overlap_add, stft
from sonograd.functional.spectral_measures import (
    BleedlessFullness,
    bleedless_fullness,
    l1_frequency,
    log_spectral_distance,
    multi_resolution_stft_distance,
)
from sonograd.functional.state_variable import state_variable_filter
from sonograd.functional.stereo import mid_side, pan_gains, stereo_width
from sonograd.functional.stft_distances import (
    Resolution,
    SpectralWeights,
    magnitude_distance,
    stft_distance,
)
from sonograd.functional.strings import plucked_string
from sonograd.functional.time_varying import time_varying_filter
from sonograd.functional.true_peak import (
    true_peak_dbtp,
    true_peak_dbtp_blocks,
)
from sonograd.functional.voice import formant_response, pulse_train
from sonograd.functional.waveguides import delay_loop, plucked_shape, string_loop
from sonograd.functional.wavetables import (
    band_limited_tables,
    band_limited_wavetable,
    harmonic_table,
    wavetable_oscillator,
)
from sonograd.functional.weighting import (
    EmphasisKind,
    a_weighting,
    a_weighting_gain,
    k_weighting,
    k_weighting_gain,
    pre_emphasis,
)
from sonograd.functional.wiener import expectation_maximization, wiener
from sonograd.functional.windows import (
    blackman,
    blackman_harris,
    gaussian,
    get_window,
    hamming,
    hann,
    kaiser,
    sine,
)

__all__ = [
    "LFO_SHAPES",
    "BSSEval",
    "BiquadKind",
    "BleedlessFullness",
    "ConstantQBins",
    "ConvolutionState",
    "EmphasisKind",
    "FeedbackDelayState",
    "FeedbackNetworkState",
    "FreeverbState",
    "GaborFrame",
    "GaborSpectrum",
    "HarmonicFit",
    "LfoShape",
    "PartitionedKernel",
    "PitchTrack",
    "Resolution",
    "ScaleInvariantBSS",
    "SpectralWeights",
    "TimeConvention",
    "a_weighting",
    "a_weighting_gain",
    "additive",
    "additive_stream",
    "adsr",
    "all_pass_biquad",
    "amplitude_to_db",
    "asymmetric_clip",
    "band_limited_tables",
    "band_limited_wavetable",
    "band_noise",
    "band_pass_biquad",
    "best_permutation",
    "biquad_stream",
    "bit_crush",
    "blackman",
    "blackman_harris",
    "bleedless_fullness",
    "bss_eval",
    "bss_eval_blocks",
    "butterworth",
    "center_mask",
    "chroma_filterbank",
    "compressor_gain",
    "compressor_gain_db",
    "constant_q",
    "constant_q_bandwidth",
    "constant_q_bins",
    "constant_q_kernels",
    "convolve_stream",
    "cosine_basis",
    "crossover_sections",
    "cubic_clip",
    "curve_gain",
    "db_to_amplitude",
    "db_to_scale",
    "decay_filters",
    "delay_line",
    "delay_loop",
    "difference_function",
    "draw_seeds",
    "echo",
    "envelope_follower",
    "envelope_follower_stream",
    "estimate_frequency",
    "expectation_maximization",
    "exponential_average",
    "fast_length",
    "feedback_delay",
    "feedback_network",
    "feedback_sine",
    "fft_convolve",
    "filtered_noise",
    "first_order",
    "first_order_stream",
    "formant_polynomial",
    "formant_response",
    "fourier_frequencies",
    "fourier_kernels",
    "fractional_delay",
    "framewise_sdr",
    "framewise_sdr_blocks",
    "freeverb",
    "frequency_bound_hz",
    "frequency_response",
    "gabor_analysis",
    "gabor_frame",
    "gabor_kernels",
    "gabor_synthesis",
    "gammatone_filterbank",
    "gammatone_frequencies",
    "gammatone_sos",
    "gate_gain_db",
    "gaussian",
    "generalized_cepstra",
    "get_window",
    "glottal_harmonics",
    "glottal_pulse",
    "graphic_eq_centers",
    "graphic_eq_sections",
    "griffin_lim",
    "group_delay",
    "hadamard",
    "hamming",
    "hann",
    "hard_clip",
    "harmonic_percussive_masks",
    "harmonic_table",
    "has_fast_kernels",
    "high_pass_biquad",
    "high_shelf_biquad",
    "hz_to_mel",
    "image_source_room",
    "inharmonic_ratios",
    "inner_products",
    "interpolate_response",
    "istft",
    "k_weighting",
    "k_weighting_gain",
    "k_weighting_sos",
    "kaiser",
    "l1_frequency",
    "lattice_filter",
    "lfilter",
    "lfo",
    "limiter_gain_db",
    "linear_phase_fir",
    "linear_prediction",
    "linear_scan",
    "linkwitz_riley",
    "log_frequency_maps",
    "log_spectral_distance",
    "loudness_lufs",
    "loudness_lufs_blocks",
    "loudness_range_lu",
    "low_pass_biquad",
    "low_shelf_biquad",
    "magnitude_distance",
    "median",
    "median_filter",
    "mel_filterbank",
    "mel_frequencies",
    "mel_to_hz",
    "mid_side",
    "minimum_phase_fir",
    "modal_biquad",
    "modal_decay",
    "modal_filter",
    "momentary_loudness_lufs",
    "moving_delay",
    "msst_sdr",
    "multi_resolution_stft_distance",
    "noise_reverb_impulse",
    "notch_biquad",
    "note_beats",
    "oscillator",
    "overlap_add",
    "oversample",
    "oversampling_latency",
    "pairwise_si_sdr",
    "pan_gains",
    "partition_kernel",
    "pcen",
    "peak_biquad",
    "plucked_shape",
    "plucked_string",
    "polynomial_to_reflections",
    "power_to_db",
    "pre_emphasis",
    "prime_delays",
    "pulse_train",
    "refine_frequency",
    "reflections_to_polynomial",
    "relative_volume_mel",
    "repetition_mask",
    "resample",
    "running_phase",
    "sa_sdr",
    "sample_and_hold",
    "scale_to_db",
    "sd_sdr",
    "sdr",
    "seeded_noise",
    "short_term_loudness_lufs",
    "si_bss_eval",
    "si_sdr",
    "si_snr",
    "sinc_kernels",
    "sine",
    "sliding_maximum",
    "sliding_sum",
    "smoothing_coefficient",
    "snr",
    "soft_clip",
    "soft_mask",
    "sosfilt",
    "sosfilt_stream",
    "stable_biquad",
    "stable_polynomial",
    "state_variable_filter",
    "stereo_width",
    "stft",
    "stft_distance",
    "string_loop",
    "sweeping_all_pass",
    "thresholded_snr",
    "time_varying_filter",
    "track_pitch",
    "true_peak_dbtp",
    "true_peak_dbtp_blocks",
    "usdr",
    "volume_mel",
    "volume_mel_filters",
    "wave_fold",
    "wavetable_oscillator",
    "wiener",
    "window_shape",
]
