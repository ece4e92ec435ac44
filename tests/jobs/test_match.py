"""Matching files: pairs, whole recordings in blocks, reports, and what goes wrong."""

import csv
import importlib
import json
import math
import multiprocessing
import os
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import islice

import pytest
import torch

from sonograd.data import read_audio, write_audio
from sonograd.effects import Chain, Compressor, Gain, ParametricEQ, preset, read_preset
from sonograd.errors import AudioError, ConfigError, DatasetError, SonogradError
from sonograd.jobs import match_files
from sonograd.jobs.match_audio import render_match
from sonograd.jobs.match_pictures import charts, landscape_names, picture, slice_around
from sonograd.jobs.match_words import curves_as_text, settings, table_lines
from sonograd.jobs.pairs import find_pairs
from sonograd.jobs.report import match_report
from sonograd.matching import (
    Alignment,
    Candidate,
    Excerpt,
    GainTrace,
    Landscape,
    MatchResult,
    Score,
    StaticCurve,
    TransferFunction,
)

RATE = 8000
JOB = importlib.import_module("sonograd.jobs.match")
DRAWING = importlib.import_module("sonograd.jobs.match_drawing")


class Result(MatchResult):
    """A match whose landscape costs nothing."""

    def landscape(self, first, second, *, points=5, span=0.25):
        axis = torch.linspace(1, 2, points)
        return Landscape((first, second), axis, axis, torch.eye(points) * 40, (1.5, 1.5))


def make_result(dry, *, delay=0.0, values=None, equalized=False):
    """Return what a perfect match would say about ``dry`` ``(channels, samples)``."""
    stages = {"parametric_eq": ParametricEQ(RATE, bands=2)} if equalized else {}
    chain = Chain(**stages, compressor=Compressor(RATE), gain=Gain(RATE))
    filled = {name: dict(inner) for name, inner in chain.defaults().items()}
    for stage, inner in (values or {}).items():
        filled[stage].update(inner)
    wet = chain(dry, **filled)
    hz = torch.logspace(1.5, 3.5, 50).double()
    flat = torch.ones(50, dtype=torch.complex128)
    levels = torch.linspace(-50, 0, 30)
    steps = torch.arange(100) * 0.01
    names = tuple(f"{s}.{p.name}" for s in chain.stage_names for p in chain.stage(s).params)
    candidates = (
        Candidate("compressor -> gain", ("compressor", "gain"), -100.0, 40.0, 5, 4, (5.0, 40.0)),
        Candidate("gain", ("gain",), -50.0, 5.0, 1, 1, (5.0,)),
    )
    return Result(
        chain=tuple(chain.stage(s).type_name() for s in chain.stage_names),
        effect=chain,
        values=filled,
        preset=preset(chain, filled),
        sample_rate=RATE,
        alignment=Alignment(delay, 1, 1.0, 0.9),
        score=Score(40.0, 5.0, 0.9998),
        errors={s: dict.fromkeys(inner, 0.01) for s, inner in filled.items()},
        identifiable={s: dict.fromkeys(inner, True) for s, inner in filled.items()},
        fixed=("compressor.knee_db",),
        names=names,
        correlation=torch.eye(len(names)),
        correlations=(("compressor.ratio", "compressor.threshold_db", 0.97),),
        candidates=candidates,
        history={"final": (30.0, 40.0), "gain": (5.0,)},
        excerpts=(Excerpt(0, dry.shape[-1]),),
        dry=dry,
        wet=wet,
        processed=0.99 * wet,
        transfer=TransferFunction(hz, flat, torch.ones(50).double(), flat, flat),
        static_curve=StaticCurve(levels, levels, levels, levels, levels),
        gain_trace=GainTrace(steps, -steps, -steps, "compressor"),
        notes=("Wet is 3 samples longer; the overlap was used.",),
        verdict=("This chain explains 99.98 % of the change.",),
        warnings=("A <doubt> & more.",),
        variants=(("knee soft", 38.5),),
        seconds=1.5,
    )


@pytest.fixture
def dry():
    envelope = torch.linspace(0, 1, 20_000).sin().abs()
    return 0.6 * envelope * torch.randn(2, 20_000).clamp(-1.5, 1.5)


@pytest.fixture
def fake(monkeypatch):
    """Let every match succeed at once, but those of files that are called ``bad``."""
    calls = []

    def match(dry, wet, *, on_progress=None, **options):
        calls.append((dry, wet, options))
        on_progress(1, 2)
        if "bad" in wet.name:
            raise AudioError(f"{wet}: is silent; expected sound.\nSecond line")
        return make_result(read_audio(dry)[0])

    monkeypatch.setattr(JOB, "match", match)
    # One picture is enough where pictures are not what is looked at.
    pictures = "sonograd.jobs.match_pictures"
    monkeypatch.setattr(f"{pictures}.charts", lambda r, **_: islice(charts(r), 1))
    monkeypatch.setattr("sonograd.jobs.match_drawing._can_copy", lambda: False)
    monkeypatch.setattr(f"{pictures}.slice_around", lambda _: None)
    return calls


@pytest.mark.parametrize("delay", [0.0, 137.0, -71.0, 12.4, -3.25])
def test_the_whole_is_aligned_with_wet_and_nulls(dry, tmp_path, monkeypatch, delay):
    monkeypatch.setattr("sonograd.jobs.match_audio._BLOCK", 3001)
    values = {"compressor": {"threshold_db": -20.0, "ratio": 4.0}, "gain": {"gain_db": 3.0}}
    result = make_result(dry, delay=delay, values=values)
    # A delay between samples is exact for what lies below half the rate.
    if delay != round(delay):
        time = torch.arange(20_000).double() / RATE
        dry = 0.3 * torch.sin(2 * math.pi * 500 * time).float().expand(2, -1)
        result = make_result(dry, delay=delay, values={"compressor": {"ratio": 1.0}})
        wet = 0.3 * torch.sin(2 * math.pi * 500 * (time[:19_000] - delay / RATE)).float()
        wet = wet.expand(2, -1)
    else:
        whole = int(delay)
        late = torch.nn.functional.pad(result.wet, (max(whole, 0), max(-whole, 0)))
        wet = late[:, max(-whole, 0) :][:, :19_000]
    write_audio(tmp_path / "dry.wav", dry, RATE, bits="32f")
    write_audio(tmp_path / "wet.wav", wet, RATE, bits="32f")
    out = tmp_path / "out"
    out.mkdir()
    done = render_match(result, tmp_path / "dry.wav", tmp_path / "wet.wav", out)
    matched, rate = read_audio(out / "matched.wav")
    residual, _ = read_audio(out / "residual.wav")
    assert rate == RATE
    assert matched.shape == residual.shape == (2, 19_000)
    inside = slice(600, 18_400) if delay != round(delay) else slice(None)
    assert float((matched - wet)[:, inside].abs().max()) < 2e-6
    assert torch.allclose(matched + residual, wet, atol=1e-6)
    if not delay % 1:
        assert done.null_db > 100


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_mono_against_stereo_is_copied_or_mixed(dry, tmp_path, before, after):
    write_audio(tmp_path / "dry.wav", dry[:before], RATE, bits="32f")
    source = dry[:before].expand(2, -1) if after == 2 else dry.mean(0, keepdim=True)
    result = make_result(source)
    write_audio(tmp_path / "wet.wav", result.wet, RATE, bits="32f")
    done = render_match(result, tmp_path / "dry.wav", tmp_path / "wet.wav", tmp_path)
    assert read_audio(tmp_path / "matched.wav")[0].shape[0] == after
    assert done.null_db > 100


def write_pair(folder, dry, name="song", wet="song-wet"):
    folder.mkdir(exist_ok=True, parents=True)
    write_audio(folder / f"{name}.wav", dry, RATE, bits="32f", overwrite=True)
    write_audio(folder / f"{wet}.wav", dry, RATE, bits="32f", overwrite=True)
    return folder / f"{name}.wav", folder / f"{wet}.wav"


@pytest.mark.parametrize("apart", [False, True])
def test_one_pair_fills_a_folder_that_renders_again(dry, tmp_path, fake, monkeypatch, apart):
    if apart and sys.platform != "linux":
        pytest.skip("no copies of this process here")
    monkeypatch.setattr("sonograd.jobs.match_drawing._can_copy", lambda: apart)
    monkeypatch.setattr("sonograd.jobs.match_pictures.charts", charts)
    monkeypatch.setattr("sonograd.jobs.match_pictures.slice_around", slice_around)
    first, second = write_pair(tmp_path, dry)
    seen, events = [], []
    report = match_files(
        first, second, save=tmp_path / "out", chain="compressor,gain", fix=["attack-ms=5"],
        on_progress=lambda *done: seen.append(done), on_event=events.append,
    )  # fmt: skip
    assert report.status == 0
    assert fake[0][2]["fix"] == {"attack_ms": 5.0}
    names = {path.name for path in report.done[0].files}
    assert {
        "matched.wav", "residual.wav", "preset.json", "report.html", "match.json",
        "response.png", "static_curve.png", "gain_reduction.png", "landscape.png",
        "convergence.png", "remains.png", "preset-pedalboard.py",
    } <= names  # fmt: skip
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    chain, _ = read_preset(tmp_path / "out" / "preset.json")
    assert chain.stage_names == ("compressor", "gain")
    summary = json.loads((tmp_path / "out" / "match.json").read_text())
    assert summary["chain"] == ["compressor", "gain"]
    assert any("ffmpeg" in text for text in summary["remarks"])
    assert seen[-1] == (1, 1)
    assert seen == sorted(seen)
    assert [event.kind for event in events] == ["started", "done"]


@pytest.mark.parametrize("broken", ["nothing", "charts", "killed"])
def test_copies_draw_what_threads_draw_and_what_they_cannot_is_drawn_here(dry, monkeypatch, broken):
    if sys.platform != "linux":
        pytest.skip("no copies of this process here")
    result = make_result(dry)
    few = ("static_curve", "landscape")
    monkeypatch.setattr(DRAWING, "PICTURES", few)
    monkeypatch.setattr(DRAWING, "_SHARES", tuple((name,) for name in few))
    monkeypatch.setattr(DRAWING, "_can_copy", lambda: False)
    with DRAWING.open_drawing() as drawing:
        drawing.begin(result)
        expected = drawing.finish()
    here = os.getpid()

    def fail_elsewhere(*arguments, **options):
        if os.getpid() != here:
            os.kill(os.getpid(), 9) if broken == "killed" else charts(None)
        return charts(*arguments, **options)

    monkeypatch.setattr(DRAWING, "_can_copy", lambda: True)
    if broken != "nothing":
        monkeypatch.setattr("sonograd.jobs.match_pictures.charts", fail_elsewhere)
    with DRAWING.open_drawing() as drawing:
        drawing.begin(result)
        found = drawing.finish()
    assert [item.name for item in found] == [item.name for item in expected] == list(few)
    assert [item.png for item in found] == [item.png for item in expected]
    assert [item.svg for item in found] == [item.svg for item in expected]
    assert not multiprocessing.active_children()


def test_without_room_for_copies_a_thread_draws(dry, monkeypatch):
    def refuse(_):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(DRAWING, "_can_copy", lambda: True)
    monkeypatch.setattr(DRAWING, "_Copy", refuse)
    monkeypatch.setattr(DRAWING, "PICTURES", ("convergence",))
    with DRAWING.open_drawing() as drawing:
        drawing.begin(make_result(dry))
        assert [item.name for item in drawing.finish()] == ["convergence"]


def test_copies_end_where_nothing_is_drawn():
    if sys.platform != "linux":
        pytest.skip("no copies of this process here")
    with pytest.raises(AudioError), DRAWING.open_drawing():
        raise AudioError("dry is silent")
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("note", "said"),
    [("3 % of wet lie at its peak (clipped).", "clipped samples do not"), ("", "may have moved")],
)
def test_a_whole_that_nulls_worse_is_told_with_its_reason(
    dry, tmp_path, fake, monkeypatch, note, said
):
    result = replace(make_result(dry), notes=(note,), score=Score(90.0, 5.0, 0.9998))
    monkeypatch.setattr(JOB, "match", lambda *_, **__: result)
    report = match_files(*write_pair(tmp_path, dry), save=tmp_path / "out", sounds=False)
    assert said in report.done[0].summary["remarks"][-1]


def test_results_are_kept_unless_told_otherwise(dry, tmp_path, fake):
    first, second = write_pair(tmp_path, dry)
    options = {"save": tmp_path / "out", "sounds": False}
    match_files(first, second, **options)
    again = match_files(first, second, **options)
    assert len(fake) == 1
    assert again.status == 0
    assert "--overwrite replaces it" in again.skipped[0].message
    assert len(match_files(first, second, overwrite=True, **options).done) == 1


def test_folders_are_matched_pair_by_pair_with_a_table(dry, tmp_path, fake):
    for name in ("a", "bad", "c/d"):
        for folder in ("dry", "wet"):
            path = tmp_path / folder / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, dry, RATE, bits="32f", overwrite=True)
    write_audio(tmp_path / "dry" / "alone.wav", dry, RATE)
    report = match_files(
        tmp_path / "dry", tmp_path / "wet", save=tmp_path / "out", workers=1, sounds=False
    )
    assert report.status == 1
    assert [item.pair.name for item in report.done] == ["a", "c/d"]
    messages = [item.message for item in report.failed]
    assert "alone.wav: has no wet partner" in messages[0]
    assert "bad.wav: is silent; expected sound. Second line" in messages[1]
    assert (tmp_path / "out" / "c" / "d" / "report.html").exists()
    assert not (tmp_path / "out" / "bad").exists()
    rows = list(csv.DictReader((tmp_path / "out" / "matches.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == ["a", "c/d"]
    assert float(rows[0]["compressor.ratio"]) == 4.0


@pytest.mark.parametrize(
    "names",
    [
        ("dry/a.wav", "wet/a.flac"),
        ("a/dry.wav", "a/wet.wav"),
        ("a-dry.wav", "a_wet.wav"),
        ("a.dry.wav", "a.wet.wav"),
        ("A DRY.wav", "A processed.wav"),
    ],
)
def test_pairs_are_found_in_one_folder_by_their_names(tmp_path, names):
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_audio(path, torch.zeros(1, 100), RATE)
    pairs, alone = find_pairs(tmp_path, None)
    assert [pair.name.lower() for pair in pairs] == ["a"]
    assert not alone


def test_folders_without_pairs_are_refused(tmp_path):
    write_audio(tmp_path / "dry.wav", torch.zeros(1, 100), RATE)
    with pytest.raises(DatasetError, match="no pairs found"):
        find_pairs(tmp_path, None)


def test_failures_are_one_line_and_leave_nothing(dry, tmp_path, fake):
    first, second = write_pair(tmp_path, dry, wet="bad")
    report = match_files(first, second, save=tmp_path / "out")
    assert report.status == 2
    assert "\n" not in report.failed[0].message
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="give one of start and chain"):
        match_files(first, second, chain="eq", start="room")


class Tags(HTMLParser):
    """Collects what a page asks for."""

    def __init__(self):
        super().__init__()
        self.links, self.ids, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.links += [found[name] for name in ("src", "href", "xlink:href") if name in found]
        self.ids += [found["id"]] if "id" in found else []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chain": "compresor"}, "Did you mean 'compressor'"),
        ({"chain": "compressor", "fix": ["atack_ms=5"]}, "Did you mean 'attack_ms'"),
        ({"loss": "mrstft"}, "needs a method that goes down its gradient"),
    ],
)
def test_wrong_options_are_told_once_and_not_for_each_pair(tmp_path, options, message):
    # The files need not be there: options are looked at first.
    with pytest.raises(SonogradError, match=message):
        match_files(tmp_path / "dry.wav", tmp_path / "wet.wav", save=tmp_path / "out", **options)


def test_the_report_needs_no_other_file_and_holds_everything(dry):
    result = make_result(dry, equalized=True)
    page = match_report(
        result,
        dry="a/dry.wav",
        wet="<wet>.wav",
        pictures=[picture(chart) for chart in charts(result)],
        sounds={"dry": b"x"},
        exports={"preset.py": "board = '<>'"},
        notes=("Over the whole 2.5 s the null depth is 38.0 dB.",),
    )
    tags = Tags()
    tags.feed(page)
    assert all(link.startswith(("data:", "#")) for link in tags.links)
    assert len(tags.ids) == len(set(tags.ids))
    assert not re.search(r"url\((?!#)|@import|<script|<link", page)
    assert page.count("<svg") == 6
    for text in (
        "&lt;wet&gt;.wav",
        "A &lt;doubt&gt; &amp; more.",
        "99.98 %",
        "± 0.01",
        "knee soft: 38.5 dB",
    ):
        assert text in page
    assert "prefers-color-scheme: dark" in page
    assert "var(--accent)" in page
    assert "low shelf" in page or "peak" in page


def test_what_the_audio_cannot_show_is_no_number(dry):
    result = make_result(dry, values={"compressor": {"attack_ms": 17.25}})
    result.identifiable["compressor"]["attack_ms"] = False
    result.errors["compressor"]["makeup_db"] = 0.0
    lines = "\n".join(table_lines(result))
    assert re.search(r"attack_ms +not identifiable", lines)
    assert re.search(r"knee_db +0 dB \(fixed\)", lines)
    assert re.search(r"makeup_db +0 dB \(held\)", lines)
    page = match_report(result, dry="d", wet="w")
    assert "17.25" not in page.partition("preset.json")[0]
    assert {s.label for s in settings(result)} >= {"threshold", "ratio", "attack"}


def test_the_slice_is_through_values_that_are_known(dry):
    result = make_result(dry)
    assert landscape_names(result) == ("compressor.ratio", "compressor.threshold_db")
    result.identifiable["compressor"]["ratio"] = False
    assert landscape_names(result) == ("compressor.threshold_db", "compressor.attack_ms")
    for name in ("threshold_db", "attack_ms", "release_ms", "makeup_db"):
        result.identifiable["compressor"][name] = False
    assert landscape_names(result) is None


def test_curves_are_drawn_for_terminals(dry):
    text = curves_as_text(make_result(dry))
    assert "frequency response" in text
    assert "level out over level in" in text
    assert "1 kHz" in text


def test_a_reference_brings_closer_and_claims_nothing(tmp_path):
    generator = torch.Generator().manual_seed(3)
    dull = torch.randn(2, 16_000, generator=generator)
    dull = 0.05 * torch.nn.functional.avg_pool1d(dull, 9, 1, 4)
    bright = 0.1 * torch.randn(2, 16_000, generator=generator)
    write_audio(tmp_path / "dull.wav", dull, RATE)
    write_audio(tmp_path / "bright.wav", bright, RATE)
    report = match_files(
        tmp_path / "dull.wav", reference=[tmp_path / "bright.wav"], save=tmp_path / "out"
    )
    assert report.status == 0
    summary = report.done[0].summary
    assert abs(summary["after"]["loudness_lu"]) < 0.1 < abs(summary["before"]["loudness_lu"])
    assert summary["after"]["spectrum_db"] < summary["before"]["spectrum_db"]
    assert "not the settings of anyone" in (tmp_path / "out" / "report.html").read_text()
    matched, _ = read_audio(tmp_path / "out" / "matched.wav")
    assert matched.shape == (2, 16_000)
    with pytest.raises(ConfigError, match="leave out chain"):
        match_files(tmp_path / "dull.wav", reference=[tmp_path / "bright.wav"], chain="eq")


def test_a_single_pair_that_fails_is_not_shown_as_done(dry, tmp_path, fake, monkeypatch):
    def fail(*_, on_progress, **__):
        on_progress(1, 2)
        raise AudioError("dry is silent; expected sound.")

    monkeypatch.setattr("sonograd.jobs.match.match", fail)
    first, second = write_pair(tmp_path, dry)
    seen = []
    report = match_files(
        first, second, save=tmp_path / "out", on_progress=lambda *done: seen.append(done)
    )
    assert report.status == 2
    assert max(done for done, _ in seen) < 1
