"""From a server to a separator: downloaded, checked, converted, found again, removed."""

import json
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from sonograd.cli.app import main
from sonograd.data import AudioFile, write_audio
from sonograd.errors import (
    CheckpointError,
    ConfigError,
    DownloadError,
    ModelNotFoundError,
    ParameterError,
)
from sonograd.jobs.download import download
from sonograd.separators import SCNet, save_separator
from sonograd.zoo import find_entry, load, model_entries, model_names, resolve
from sonograd.zoo.cache import cached_models, leftovers, lock_model, models_folder, read_source
from sonograd.zoo.install import cache_name, install, installed_folder, license_notice
from sonograd.zoo.registry import CLASSICAL, FAMILIES

MALICIOUS = runpy.run_path(str(Path(__file__).with_name("test_malicious.py")))
ARGUMENTS, published, tiny = (MALICIOUS[name] for name in ("ARGUMENTS", "published", "tiny"))


pytestmark = pytest.mark.filterwarnings("ignore:.*no commercial use")


@pytest.fixture
def net():
    return SCNet(tiny()).eval()


@pytest.fixture
def entry(server, net, tmp_path, monkeypatch):
    """Publish a small network, and write it into a registry of the user's."""
    torch.save({"state_dict": published(net)}, tmp_path / "tiny.ckpt")
    url, sha256 = server.add("tiny.ckpt", (tmp_path / "tiny.ckpt").read_bytes())
    entry = {
        "family": "SCNet", "stems": ["a", "b"], "sample_rate": 8000, "arguments": ARGUMENTS,
        "license": "CC BY-NC 4.0", "commercial": False, "page": "https://example.org",
        "files": [{"urls": [url], "sha256": sha256[:8]}],
    }  # fmt: skip
    bag = {
        **entry,
        "files": [*entry["files"], {"urls": [url + "?second"], "sha256": sha256}],
        "member_weights": [[1.0, 0.0], [0.25, 1.0]],
    }
    server.files["/tiny.ckpt?second"] = server.files["/tiny.ckpt"]
    path = tmp_path / "models.json"
    path.write_text(json.dumps({"models": {"tiny": entry, "bag": bag}}))
    monkeypatch.setenv("SONOGRAD_MODELS", str(path))
    return entry


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    generator = torch.Generator().manual_seed(1)
    write_audio(path, torch.randn(2, 3000, generator=generator) / 10, sample_rate=8000, bits="32f")
    return path


def read(path):
    with AudioFile(path) as file:
        return file.read()


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=2e-6, rtol=0)


def test_a_published_model_is_loaded_by_its_name(entry, net, server):
    mix = torch.randn(1, 2, 900)
    said = []
    folder = install("tiny", on_message=said.append)
    assert said[0] == "tiny: license CC BY-NC 4.0: no commercial use; see https://example.org"
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.json", "source.json", "weights.safetensors",
    ]  # fmt: skip
    with torch.no_grad():
        assert torch.equal(load("tiny")(mix), net(mix))
    assert len(server.requests) == 1
    install("tiny")
    assert len(server.requests) == 1
    assert "tiny" in model_names()
    assert not (models_folder().parent / "downloads" / "tiny").exists()
    source = json.loads((folder / "source.json").read_text())
    assert source["files"][0]["sha256"].startswith(entry["files"][0]["sha256"])
    assert len(source["files"][0]["sha256"]) == 64


def test_loading_downloads_what_is_missing_unless_offline(entry, net, monkeypatch):
    monkeypatch.setenv("SONOGRAD_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"tiny\.ckpt: is not here yet"):
        load("tiny")
    monkeypatch.delenv("SONOGRAD_OFFLINE")
    assert load("tiny", "b").stems == ("b",)
    monkeypatch.setenv("SONOGRAD_OFFLINE", "1")
    assert load("tiny").stems == ("a", "b")


def test_members_have_weights_per_stem(entry, net):
    mix = torch.randn(2, 2000)
    separator = load("bag")
    assert resolve("bag").path.name == "source.json"
    torch.testing.assert_close(separator.separate(mix), net.separate(mix))
    folder = install("bag")
    assert (folder / "1" / "weights.safetensors").is_file()
    assert load(folder).stems == ("a", "b")
    with pytest.raises(ParameterError, match="made of several networks"):
        download("bag", folder.parent / "session")
    (folder / "1" / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"1/weights\.safetensors: missing"):
        load("bag")


def test_the_license_is_a_warning_once_from_python(entry):
    with pytest.warns(UserWarning, match=r"tiny: license CC BY-NC 4\.0: no commercial use; see"):
        load("tiny")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load("tiny")


def test_a_model_becomes_a_session_folder(entry, net, tmp_path, song, capsys):
    assert main(["download", "tiny", "--save", str(tmp_path / "mine"), "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "mine" / "weights.safetensors")
    mix = torch.randn(1, 2, 900)
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "mine")(mix), net(mix))


def test_what_a_license_forbids_is_said_quiet_or_not(entry, song, tmp_path, capsys):
    assert main(["download", "tiny", "-q"]) == 0
    shown = capsys.readouterr().err
    assert (
        shown == "warning: tiny: license CC BY-NC 4.0: no commercial use; see https://example.org\n"
    )
    assert main(["models", "remove", "tiny"]) == 0
    assert main(["separate", "tiny", str(song), "-q", "--save", str(tmp_path)]) == 0
    assert capsys.readouterr().err == shown


def test_an_interrupted_download_keeps_what_has_arrived(entry, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("sonograd.zoo.install.fetch", interrupt)
    assert main(["download", "tiny", "--quiet"]) == 130
    assert "what has arrived is kept, the next" in capsys.readouterr().err


def test_the_cache_may_be_below_the_home_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SONOGRAD_CACHE", "~/x")
    assert models_folder() == tmp_path / "x" / "models"
    (tmp_path / "mine.json").write_text('{"models": {"mine": {"family": "f", "stems": ["a"]}}}')
    monkeypatch.setenv("SONOGRAD_MODELS", "~/mine.json")
    assert "mine" in model_entries()


def test_the_license_is_said_once(entry, song, tmp_path, capsys):
    command = ["separate", "tiny", str(song), "--bits", "32f", "--save"]
    assert main([*command, str(tmp_path / "first")]) == 0
    assert capsys.readouterr().err.count("no commercial use") == 1
    assert main([*command, str(tmp_path / "second")]) == 0
    assert "commercial" not in capsys.readouterr().err


def test_other_rates_and_channels_come_back(entry, tmp_path):
    path = tmp_path / "five.wav"
    write_audio(path, torch.randn(5, 4410) / 10, sample_rate=44100, bits="32f")
    assert main(["separate", "tiny", str(path), "--save", str(tmp_path), "--bits", "32f"]) == 0
    with AudioFile(tmp_path / "five" / "a.wav") as file:
        assert (file.info.sample_rate, file.info.channels) == (44100, 5)
        assert file.read().shape == (5, 4410)


def test_another_file_than_published_is_kept_aside(entry, server, capsys, tmp_path):
    server.files["/tiny.ckpt"] = b"another file"
    assert main(["download", "tiny", "--quiet"]) == 2
    license, said = capsys.readouterr().err.splitlines()
    assert license.startswith("warning: tiny: license")
    assert "SHA-256 is " in said
    assert entry["files"][0]["sha256"] in said
    assert (models_folder().parent / "downloads" / "tiny" / "tiny.ckpt.bad").is_file()
    assert cached_models() == ()


def test_weights_that_were_damaged_later(entry, capsys):
    weights = install("tiny") / "weights.safetensors"
    assert main(["models", "verify"]) == 0
    assert capsys.readouterr().out.strip() == "tiny: as it was written"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert main(["models", "verify", "tiny"]) == 1
    captured = capsys.readouterr()
    assert captured.out.strip() == "tiny: damaged"
    assert "weights.safetensors: SHA-256 is" in captured.err
    with pytest.raises(CheckpointError, match=r"SHA-256 is .*again with: sonograd download tiny"):
        load("tiny")
    install("tiny")  # again
    assert main(["models", "verify", "tiny"]) == 0
    load("tiny")


def test_the_mirror_that_gave_a_file_is_written_down(entry, tmp_path):
    url = entry["files"][0]["urls"][0]
    entry["files"][0]["urls"] = ["http://127.0.0.1:1/tiny.ckpt", url]
    (tmp_path / "models.json").write_text(json.dumps({"models": {"tiny": entry}}))
    source = read_source(install("tiny"))
    assert [file.url for file in source.files] == [url]


def test_weights_of_members_follow_the_names_of_stems(entry, net, tmp_path):
    bag = {
        **entry,
        "stems": ["b", "a"],  # the networks have them the other way round
        "files": entry["files"] * 2,
        "member_weights": [[0.0, 1.0], [2.0, 3.0]],
    }
    (tmp_path / "models.json").write_text(json.dumps({"models": {"bag": bag}}))
    assert read_source(install("bag")).member_weights == ((1.0, 0.0), (3.0, 2.0))


@pytest.mark.parametrize("second", ["model", "Model"])
def test_two_files_of_one_name_stay_two(entry, server, tmp_path, second):
    """Neither has a hash that would notice that one took the place of the other."""
    nets = [SCNet(tiny()).eval() for _ in range(2)]
    files = []
    for number, member in enumerate(nets):
        torch.save({"state_dict": published(member)}, tmp_path / "model.ckpt")
        name = f"{number}/{second if number else 'model'}.ckpt"
        url, _ = server.add(name, (tmp_path / "model.ckpt").read_bytes())
        files.append({"urls": [url]})
    bag = {**entry, "files": files, "member_weights": [[1.0, 0.0], [0.0, 1.0]]}
    (tmp_path / "models.json").write_text(json.dumps({"models": {"bag": bag}}))
    mix = torch.randn(2, 2000)
    expected = torch.stack([nets[0].separate(mix)[0], nets[1].separate(mix)[1]])
    assert_close(load("bag").separate(mix), expected)


def test_settings_come_before_what_is_large(entry, server, tmp_path):
    entry = {key: value for key, value in entry.items() if key != "arguments"}
    for name, content, error in (
        ("gone.yaml", None, DownloadError), ("bad.yaml", b"a: [", ConfigError),
    ):  # fmt: skip
        if content is not None:
            server.add(name, content)
        entry["settings_urls"] = [f"{server.url}/{name}"]
        (tmp_path / "models.json").write_text(json.dumps({"models": {"tiny": entry}}))
        with pytest.raises(error):
            install("tiny", on_message=print)
    assert [name for name, _ in server.requests] == ["/gone.yaml", "/bad.yaml"]
    server.add("good.yaml", json.dumps({"model": ARGUMENTS}).encode())
    entry["settings_urls"] = [f"{server.url}/good.yaml"]
    (tmp_path / "models.json").write_text(json.dumps({"models": {"tiny": entry}}))
    install("tiny", on_message=print)
    assert load("tiny").stems == ("a", "b")


@pytest.mark.parametrize("what", ["settings", "weights"])
def test_what_no_hash_vouches_for_is_not_taken_twice(entry, server, net, tmp_path, what):
    """Such as a page that says that there is an error, with the status of one that is right."""
    right = {"weights": server.files["/tiny.ckpt"], "settings": json.dumps(ARGUMENTS).encode()}
    page = b"<html>Please pay: your {rent}</html>"
    url = {"weights": entry["files"][0]["urls"][0], "settings": f"{server.url}/net.yaml"}
    entry = {key: value for key, value in entry.items() if key != "arguments"}
    entry |= {"files": [{"urls": [url["weights"]]}], "settings_urls": [url["settings"]]}
    (tmp_path / "models.json").write_text(json.dumps({"models": {"tiny": entry}}))
    for name, content in {**right, what: page}.items():
        server.add(url[name].rpartition("/")[2], content)
    bad = url[what].rpartition("/")[2] + ".bad"
    with pytest.raises((CheckpointError, ConfigError), match=f"kept as .*{re.escape(bad)}"):
        install("tiny", on_message=print)
    server.add(url[what].rpartition("/")[2], right[what])
    install("tiny", on_message=print)
    mix = torch.randn(1, 2, 900)
    with torch.no_grad():
        assert torch.equal(load("tiny")(mix), net(mix))


def test_what_a_hash_vouches_for_is_kept(entry, server, tmp_path):
    """It is the file that was published, whatever is wrong with the settings."""
    entry = {**entry, "arguments": {**ARGUMENTS, "dims": [4, 12]}}
    (tmp_path / "models.json").write_text(json.dumps({"models": {"tiny": entry}}))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="do not fit") as info:
            install("tiny", on_message=print)
        assert "kept" not in str(info.value)
    assert len(server.requests) == 1


def test_a_wrong_member_puts_aside_itself_alone(entry, server, tmp_path):
    """What came whole, and may be right, is not to be fetched again."""
    files = [{"urls": entry["files"][0]["urls"]}, {"urls": [server.url + "/tiny.ckpt?second"]}]
    files[1]["sha256"] = "0" * 64
    bag = {**entry, "files": files, "member_weights": [[1.0, 0.0], [0.0, 1.0]]}
    (tmp_path / "models.json").write_text(json.dumps({"models": {"bag": bag}}))
    with pytest.raises(CheckpointError, match="SHA-256 is "):
        install("bag", on_message=print)
    folder = models_folder().parent / "downloads" / "bag"
    names = sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")
    assert names == ["1-tiny.ckpt.bad", "tiny.ckpt"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("hf://me/net/a b.ckpt", "hf://me/net/a_b.ckpt"),
        ("hf://me/net/x/y.ckpt", "hf://me/net/x--y.ckpt"),
        ("hf://me/net/x/-y.ckpt", "hf://me/net/x-/y.ckpt"),
    ],
)
def test_no_two_models_share_a_folder(first, second):
    assert cache_name(first) != cache_name(second)
    for name in (first, second):
        assert re.fullmatch(r"hf--me--net--[\w.-]+", cache_name(name))


def test_a_folder_of_another_model_is_not_taken(entry):
    folder = install("tiny", on_message=print)
    assert installed_folder("tiny") == folder
    path = folder / "source.json"
    path.write_text(path.read_text().replace('"tiny"', '"Tiny"'))  # where case does not count
    assert installed_folder("tiny") is None
    install("tiny", on_message=print)
    assert read_source(folder).name == "tiny"


def test_names_of_the_registry_are_those_of_their_folders():
    for name in model_entries():
        assert cache_name(name) == name


def test_entries_without_files_have_nothing_to_download(tmp_path, monkeypatch):
    models = {"mine": {"family": "SCNet", "stems": ["a"]}}
    (tmp_path / "models.json").write_text(json.dumps({"models": models}))
    monkeypatch.setenv("SONOGRAD_MODELS", str(tmp_path / "models.json"))
    with pytest.raises(ModelNotFoundError, match="mine: has no files, there is nothing"):
        install("mine")


def test_what_cannot_be_checked_is_said_and_held_to_the_first_time(entry, server, net, tmp_path):
    del entry["files"][0]["sha256"]
    (tmp_path / "models.json").write_text(json.dumps({"models": {"tiny": entry}}))
    said = []
    install("tiny", on_message=said.append)
    assert "tiny: tiny.ckpt cannot be checked, its publisher gives no hash" in said
    first = server.files["/tiny.ckpt"]
    torch.save({"state_dict": published(SCNet(tiny()))}, tmp_path / "tiny.ckpt")
    server.files["/tiny.ckpt"] = (tmp_path / "tiny.ckpt").read_bytes()
    with pytest.raises(CheckpointError, match=r"SHA-256 is .*downloaded first.*models remove tiny"):
        install("tiny", overwrite=True, on_message=said.append)
    mix = torch.randn(1, 2, 900)
    with torch.no_grad():
        assert torch.equal(load("tiny")(mix), net(mix))
    server.files["/tiny.ckpt"] = first
    said.clear()
    install("tiny", overwrite=True, on_message=said.append)
    assert not any("cannot be checked" in line for line in said)


def test_processes_that_want_one_model_bring_it_once(entry, server):
    """Whoever comes first holds the others up until the model is whole."""
    pytest.importorskip("fcntl")
    code = (
        "from sonograd.zoo.install import install; "
        "install('bag', on_message=lambda text: print(text, flush=True))"
    )
    with lock_model("bag"):
        running = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        for process in running:
            assert process.stdout.readline() == "bag: waiting for another process\n"
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert sorted(name for name, _ in server.requests) == ["/tiny.ckpt", "/tiny.ckpt?second"]
    assert sum("no commercial use" in out for out in said) == 1
    assert load("bag").stems == ("a", "b")


def test_a_running_download_is_not_left_over(entry, capsys):
    pytest.importorskip("fcntl")
    part = models_folder().parent / "downloads" / "tiny" / "tiny.ckpt.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(10))
    assert leftovers() == {"tiny": 10}
    with lock_model("tiny"):
        assert leftovers() == {}
        assert main(["models", "remove", "tiny"]) == 2
    assert "is being written by another process" in capsys.readouterr().err
    assert leftovers() == {"tiny": 10}


def test_a_model_that_is_being_written_is_not_removed(entry, capsys):
    pytest.importorskip("fcntl")
    install("tiny", on_message=print)
    with lock_model("tiny"):
        assert main(["models", "remove", "tiny"]) == 2
    assert "is being written by another process" in capsys.readouterr().err
    assert main(["models", "remove", "tiny"]) == 0


def test_what_downloads_leave_is_said_and_removed(entry, server, capsys):
    assert main(["models", "verify"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, "no model was downloaded" in shown.err) == ("", True)
    right = server.files["/tiny.ckpt"]
    server.files["/tiny.ckpt"] = b"another file"
    assert main(["download", "tiny", "--quiet"]) == 2
    capsys.readouterr()
    assert main(["models", "verify"]) == 0
    assert "tiny: 0.0 MB are left of a download" in capsys.readouterr().err
    assert main(["models", "remove", "tiny"]) == 0
    assert "tiny: removed" in capsys.readouterr().out
    downloads = models_folder().parent / "downloads"
    assert [path.name for path in downloads.iterdir()] == ["tiny.lock"]
    assert main(["models", "remove", "tiny"]) == 2
    server.files["/tiny.ckpt"] = right
    others = ".tiny.er.0123abcd.part"
    for name in (".tiny.0123abcd.part", others):
        (models_folder() / name).mkdir(parents=True)
        (models_folder() / name / "weights.safetensors").write_bytes(b"half")
    install("tiny", on_message=print)
    assert sorted(path.name for path in models_folder().iterdir()) == [others, "tiny"]


def test_models_are_removed(entry, capsys):
    install("tiny")
    assert main(["models", "remove", "tiny"]) == 0
    assert "tiny: removed" in capsys.readouterr().out
    assert cached_models() == ()
    assert list(models_folder().iterdir()) == []
    assert main(["models", "remove", "tiny"]) == 2
    assert "was not downloaded; no model was" in capsys.readouterr().err
    assert main(["models", "remove"]) == 2
    assert "needs a name" in capsys.readouterr().err


def test_the_list_can_be_filtered(entry, capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "FAMILY", "STEMS", "LICENSE", "SCORE", "HERE"]
    assert [line.split()[0] for line in lines[1:]] == list(model_entries())
    assert main(["models", "--family", "openunmix", "--stem", "speech"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["umxse"]
    assert main(["models", "--commercial", "--filter", "demucs", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"htdemucs", "htdemucs_ft", "hdemucs_mmi", "mdx_extra"} <= set(found)
    assert all("demucs" in found[name]["family"].lower() for name in found)
    assert found["htdemucs"]["license"] == "MIT"
    install("tiny")
    assert main(["models", "--here", "--json"]) == 0
    here = json.loads(capsys.readouterr().out)
    assert set(here) >= {"tiny", "default", "hpss"}
    assert "htdemucs" not in here
    assert main(["models", "--filter", "nothing of the kind"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, "no model is like that" in shown.err) == ("", True)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--family", "SCNett"], r"family is 'SCNett'; expected one of .*Did you mean 'SCNet'\?"),
        (["--stem", "vocal"], r"stem is 'vocal'; expected one of .*Did you mean 'vocals'\?"),
        (["list", "umx"], "takes no names, got umx; expected --filter umx"),
        (["show"], "models show needs a name"),
    ],
)
def test_lists_of_what_cannot_be(options, match, capsys):
    assert main(["models", *options]) == 2
    assert re.search(match, capsys.readouterr().err)


def test_letter_case_of_stems_does_not_count(entry, tmp_path, capsys):
    entry["stems"] = ["Vocals", "Rest"]
    (tmp_path / "models.json").write_text(json.dumps({"models": {"tiny": entry}}))
    for given in ("Vocals", "vocals"):
        assert main(["models", "--stem", given, "--filter", "tiny", "--json"]) == 0
        assert list(json.loads(capsys.readouterr().out)) == ["tiny"]


def test_one_model_is_shown(entry, capsys):
    install("tiny")
    assert main(["models", "show", "tiny"]) == 0
    shown = capsys.readouterr().out
    for part in ("family: SCNet", "commercial: no", "here: yes", "SHA-256", "downloaded: http://"):
        assert part in shown
    assert main(["models", "show", "umxhqq"]) == 2
    assert "Did you mean 'umxhq'?" in capsys.readouterr().err
    assert main(["models", "show", "htdemucs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["htdemucs"]["here"] is False


def test_a_model_of_a_hub_is_shown_by_what_is_here(entry, capsys):
    install("tiny").rename(models_folder() / "hf--a--b")
    path = models_folder() / "hf--a--b" / "source.json"
    path.write_text(path.read_text().replace('"tiny"', '"hf://a/b"'))
    assert main(["models", "show", "hf://a/b"]) == 0
    shown = capsys.readouterr().out
    assert "family: SCNet" in shown
    assert "license: CC BY-NC 4.0" in shown
    assert "stems: a, b" in shown
    assert main(["models", "--stem", "b", "--json"]) == 0
    assert "hf://a/b" in json.loads(capsys.readouterr().out)


def test_unknown_names_get_the_nearest():
    with pytest.raises(ModelNotFoundError, match=r"Did you mean 'htdemucs'\?"):
        resolve("htdemuks")
    with pytest.raises(ModelNotFoundError, match="nothing to download"):
        install("default")


def test_what_is_published_is_complete():
    names = {
        "umxhq", "umx", "umxl", "umxse", "htdemucs", "htdemucs_ft", "htdemucs_6s", "hdemucs_mmi",
        "mdx", "mdx_extra", "scnet", "default", "hpss",
    }  # fmt: skip
    entries = model_entries()
    assert names <= entries.keys()
    for name, entry in entries.items():
        if entry.kind != "published":
            continue
        assert entry.family in FAMILIES
        assert entry.paper, name
        for file in entry.files:
            assert all(url.startswith("https://") for url in file.urls)
        assert entry.arguments or entry.settings_urls or "Demucs" in entry.family
        assert name in license_notice(name, entry)
    for name, entry in CLASSICAL.items():
        separator = load(name)
        assert (type(separator).__name__, separator.stems) == (entry.family, entry.stems)
    assert find_entry("default").stems == load("default").stems


def test_the_page_shows_the_table():
    docs = Path(__file__).parents[2] / "docs"
    table = runpy.run_path(str(docs / "write_models.py"))["table"]()
    page = (docs / "models.md").read_text(encoding="utf-8")
    assert table in page, "run python docs/write_models.py"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["models", "show", "tiny"], 0),
        (["download", "tiny"], 2),
        (["separate", "tiny", "song.wav"], 2),
    ],
)
def test_listing_and_a_missing_network_need_no_torch(entry, server, command, status):
    server.files.clear()
    code = (
        "import sys; from sonograd.cli.app import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"family": "SCNett"}, "got 'SCNett'; expected one of .*Did you mean 'SCNet'"),
        ({"stems": ["../a"]}, r"models\.tiny\.stems\.0: '\.\./a' cannot name a file"),
        ({"member_weights": [[1.0]]}, "a row per file, a column per stem"),
        ({"member_weights": [[1.0, float("nan")]]}, r"member_weights.*got nan"),
        ({"member_weights": [[1.0, -1.0]]}, "more than 0 of each stem"),
        ({"member_weights": [[1.0, 0.0]]}, "more than 0 of each stem"),
        ({"licence": "MIT"}, "licence: no such key. Did you mean 'license'"),
    ],
)
def test_entries_of_the_user_are_checked(entry, change, match, tmp_path):
    path = tmp_path / "models.json"
    path.write_text(json.dumps({"models": {"tiny": {**entry, **change}}}))
    with pytest.raises(ConfigError, match=match):
        model_entries()
    path.write_text(json.dumps({"models": {"../umx": entry}}))
    with pytest.raises(ConfigError, match=r"models: '\.\./umx' cannot name a file"):
        model_entries()
    path.write_text(json.dumps({"models": {"umx": entry}}))
    with pytest.raises(ConfigError, match="umx: there is a model of this name already"):
        model_entries()


def test_models_of_a_hub(server, net, tmp_path, monkeypatch, song):
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    save_separator(net, tmp_path / "weights.safetensors")
    content = (tmp_path / "weights.safetensors").read_bytes()
    _, sha256 = server.add("me/net/resolve/main/weights.safetensors", content)
    listing = {
        "siblings": [
            {"rfilename": "README.md"},
            {"rfilename": "weights.safetensors", "size": len(content), "lfs": {"sha256": sha256}},
        ],
        "cardData": {"license": "mit"},
    }
    server.add("api/models/me/net?blobs=true", json.dumps(listing).encode())
    mix = torch.randn(1, 2, 900)
    with torch.no_grad():
        assert torch.equal(load("hf://me/net")(mix), net(mix))
    assert cached_models() == ("hf--me--net",)
    assert main(["models", "show", "hf://me/net"]) == 0
    assert main(["separate", "hf://me/net", str(song), "--save", str(tmp_path)]) == 0
    assert main(["models", "remove", "hf://me/net"]) == 0
    with pytest.raises(ModelNotFoundError, match="expected hf://OWNER/NAME"):
        load("hf://../../etc/passwd")
    listing["siblings"] = listing["siblings"][:1]
    server.add("api/models/me/net?blobs=true", json.dumps(listing).encode())
    with pytest.raises(ModelNotFoundError, match="no file of weights"):
        load("hf://me/net")


def test_an_ensemble_is_the_weighted_mean(entry, net, song, tmp_path):
    other = SCNet(tiny()).eval()
    save_separator(other, tmp_path / "other.safetensors")
    command = ["separate", "tiny", str(song), "--bits", "32f", "--save", str(tmp_path / "out")]
    both = [*command, "--ensemble", str(tmp_path / "other.safetensors")]
    assert main([*both, "--weights", "3,1"]) == 0
    mix = read(song)
    expected = (3 * net.separate(mix) + other.separate(mix)) / 4
    assert_close(read(tmp_path / "out" / "song" / "b.wav"), expected[1])
    record = json.loads((tmp_path / "out" / "song" / "separation.json").read_text())
    assert record["model"] == "tiny+other"
    assert main([*both, "--weights", "3,1"]) == 0  # skipped: is there
    assert main([*both, "--weights", "1,1"]) != 0  # other results are in the way
    assert main([*both, "--weights", "1"]) == 2


def test_copies_of_the_mix_are_averaged(entry, net, song, tmp_path):
    options = ["--bits", "32f", "--save", str(tmp_path / "out"), "--swap-channels", "--invert"]
    assert main(["separate", "tiny", str(song), *options]) == 0
    mix = read(song)
    expected = (net.separate(mix) + net.separate(mix.flip(0)).flip(1) - net.separate(-mix)) / 3
    assert_close(read(tmp_path / "out" / "song" / "a.wav"), expected[0])
    shifted = ["--bits", "32f", "--save", str(tmp_path / "shifted"), "--shifts", "2"]
    assert main(["separate", "tiny", str(song), *shifted]) == 0
    assert read(tmp_path / "shifted" / "song" / "a.wav").shape == mix.shape
    assert main(["separate", "tiny", str(song), "--shifts", "-1"]) == 2


def test_two_stems(entry, net, song, tmp_path, capsys):
    options = ["--bits", "32f", "--save", str(tmp_path / "out"), "--two-stems", "b"]
    assert main(["separate", "tiny", str(song), *options]) == 0
    files = sorted(path.name for path in (tmp_path / "out" / "song").iterdir())
    assert files == ["b.wav", "no_b.wav", "separation.json"]
    folder = tmp_path / "out" / "song"
    assert_close(read(folder / "b.wav") + read(folder / "no_b.wav"), read(song))
    assert main(["separate", "tiny", str(song), *options]) == 0
    assert "skipped" in capsys.readouterr().err
    other = ["--bits", "32f", "--save", str(tmp_path / "out"), "--stems", "b", "--residual"]
    assert main(["separate", "tiny", str(song), *other]) == 2
    assert "residual no_b (wanted: residual)" in capsys.readouterr().err
    assert main(["separate", "tiny", str(song), *other, "--overwrite"]) == 0
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["b.wav", "residual.wav", "separation.json"]
    assert main(["separate", "tiny", str(song), "--two-stems", "b", "--stems", "a"]) == 2
    assert "two_stems: replaces stems" in capsys.readouterr().err
