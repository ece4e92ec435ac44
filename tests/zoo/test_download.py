"""Files arrive whole, or not at all."""

import errno
import hashlib
import http.client
import re
import socket
import time

import pytest

from sonograd.errors import CheckpointError, DownloadError, OutputError, ParameterError
from sonograd.zoo import download as module
from sonograd.zoo.download import fetch, fetch_bytes

CONTENT = bytes(range(256)) * 4000


def left(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_right_file_arrives_with_its_hash_and_progress(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    seen = []
    target = tmp_path / "new" / "a.pth"
    got = fetch(
        [url], target, sha256=sha256, size=len(CONTENT), on_progress=lambda *x: seen.append(x)
    )
    assert got == sha256
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left(target.parent) == ["a.pth"]
    fetch([url], target, sha256=sha256)  # is here already
    assert len(server.requests) == 1


def test_the_first_digits_of_a_hash_are_enough(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    assert fetch([url], tmp_path / "a.pth", sha256=sha256[:8]) == sha256
    assert fetch([url], tmp_path / "b.pth") == sha256
    for wrong in ("abc", "x" * 64, sha256.upper()):
        with pytest.raises(ParameterError, match="expected 64 hexadecimal digits"):
            fetch([url], tmp_path / "c.pth", sha256=wrong)


def test_a_connection_that_breaks_goes_on_where_it_ended(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    server.broken["/a.pth"] = 300_000
    assert fetch([url], tmp_path / "a.pth", sha256=sha256) == sha256
    assert [asked for _, asked in server.requests] == [None, "bytes=300000-"]


def test_what_arrived_before_is_not_asked_for_again(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    (tmp_path / "a.pth.part").write_bytes(CONTENT[:1000])
    fetch([url], tmp_path / "a.pth", sha256=sha256)
    assert server.requests == [("/a.pth", "bytes=1000-")]
    assert left(tmp_path) == ["a.pth"]


def test_a_complete_part_needs_no_bytes(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    (tmp_path / "a.pth.part").write_bytes(CONTENT)
    fetch([url], tmp_path / "a.pth", sha256=sha256, size=len(CONTENT))
    assert server.requests == []


@pytest.mark.parametrize("offline", [False, True])
def test_a_complete_part_is_known_by_its_hash(server, tmp_path, offline):
    url, sha256 = server.add("a.pth", CONTENT)
    (tmp_path / "a.pth.part").write_bytes(CONTENT)
    assert fetch([url], tmp_path / "a.pth", sha256=sha256[:8], offline=offline) == sha256
    assert server.requests == []
    assert left(tmp_path) == ["a.pth"]


@pytest.mark.parametrize("says_length", [False, True])
@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"x", b"x" * 2 * len(CONTENT)])
def test_a_part_of_which_nothing_is_missing(server, tmp_path, says_length, part):
    """Neither hash nor size are known, so that the server has to tell whether it is whole."""
    server.says_length = says_length
    url, sha256 = server.add("a.pth", CONTENT)
    (tmp_path / "a.pth.part").write_bytes(part)
    assert fetch([url], tmp_path / "a.pth") == sha256
    asked = [f"bytes={len(part)}-", None]
    assert [ask for _, ask in server.requests] == asked[
        : 1 if says_length and part == CONTENT else 2
    ]
    assert left(tmp_path) == ["a.pth"]


def test_a_long_part_of_another_file_is_replaced(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    (tmp_path / "a.pth.part").write_bytes(b"x" * 2 * len(CONTENT))
    assert fetch([url], tmp_path / "a.pth", sha256=sha256) == sha256


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("chunked", [True, None])
@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_an_answer_without_a_length_that_breaks_off(server, tmp_path, known, chunked, size):
    server.chunked = chunked
    url, sha256 = server.add("a.pth", CONTENT)
    server.broken["/a.pth"] = 300_000
    given = sha256 if known else None
    assert fetch([url], tmp_path / "a.pth", sha256=given, size=size) == sha256
    first, *more = (asked for _, asked in server.requests)
    assert (first, set(more)) == (None, {"bytes=300000-"})
    assert left(tmp_path) == ["a.pth"]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_answer_without_a_length_that_is_whole(server, tmp_path, ranges):
    server.chunked, server.ranges = None, ranges
    url, sha256 = server.add("a.pth", CONTENT)
    assert fetch([url], tmp_path / "a.pth") == sha256
    assert [asked for _, asked in server.requests] == [None, f"bytes={len(CONTENT)}-"]
    with pytest.raises(CheckpointError, match="kept as"):
        fetch([url], tmp_path / "b.pth", sha256="0" * 64)


def test_a_network_that_goes_away_is_no_error_of_writing(server, tmp_path, monkeypatch):
    url, sha256 = server.add("a.pth", CONTENT)
    read = http.client.HTTPResponse.read1
    gone = OSError(errno.EHOSTUNREACH, "No route to host")

    def after_some(response, amount=None):
        if response.fp is not None and response.length and response.length < len(CONTENT):
            raise gone
        return read(response, 1000)

    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPResponse, "read1", after_some)
        with pytest.raises(DownloadError, match=r"No route to host.* bytes are kept"):
            fetch([url], tmp_path / "a.pth", sha256=sha256)
    assert fetch([url], tmp_path / "a.pth", sha256=sha256) == sha256
    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPConnection, "getresponse", lambda _: raise_(gone))
        for get in (fetch_bytes, lambda url, limit: fetch([url], tmp_path / "b.pth")):
            with pytest.raises(DownloadError, match="No route to host"):
                get(url, limit=10)


def raise_(error):
    raise error


@pytest.mark.parametrize(
    "where", ["http://[x", "ftp://127.0.0.1/a", "file:///etc/passwd", "http://" + "a" * 70 + "/"]
)
def test_servers_that_lead_nowhere(server, tmp_path, where):
    server.moved["/a.pth"] = where
    with pytest.raises(DownloadError, match=r"a\.pth: "):
        fetch([f"{server.url}/a.pth"], tmp_path / "a.pth")
    with pytest.raises(DownloadError, match=r"a\.pth: "):
        fetch_bytes(f"{server.url}/a.pth", limit=10)


def test_reasons_are_one_line(server, tmp_path):
    server.moved["/a.pth"] = f"{server.url}/a.pth"  # round and round
    for get in (fetch_bytes, lambda url, limit: fetch([url], tmp_path / "a.pth")):
        with pytest.raises(DownloadError, match="302") as info:
            get(f"{server.url}/a.pth", limit=10)
        assert "\n" not in str(info.value)


def test_the_beginning_of_another_file_is_thrown_away(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    (tmp_path / "a.pth.part").write_bytes(b"x" * 1000)
    assert fetch([url], tmp_path / "a.pth", sha256=sha256) == sha256
    assert [asked for _, asked in server.requests] == ["bytes=1000-", None]


def test_servers_that_know_no_ranges(server, tmp_path):
    server.ranges = False
    url, sha256 = server.add("a.pth", CONTENT)
    (tmp_path / "a.pth.part").write_bytes(CONTENT[:1000])
    assert fetch([url], tmp_path / "a.pth", sha256=sha256) == sha256


def test_a_file_that_stays_short_keeps_what_is_there(server, tmp_path, monkeypatch):
    url, sha256 = server.add("a.pth", CONTENT)

    class Always(dict):
        def pop(self, name, default=None):
            return 10

    server.broken = Always()
    with pytest.raises(DownloadError, match=r"broke off after \d+ of 1024000 bytes.*are kept"):
        fetch([url], tmp_path / "a.pth", sha256=sha256)
    assert left(tmp_path) == ["a.pth.part"]
    server.broken = {}
    assert fetch([url], tmp_path / "a.pth", sha256=sha256) == sha256


def test_another_file_is_put_aside_with_both_hashes(server, tmp_path):
    url, _ = server.add("a.pth", CONTENT)
    expected, actual = "0" * 64, hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(CheckpointError, match=f"SHA-256 is {actual}, expected {expected}") as info:
        fetch([url], tmp_path / "a.pth", sha256=expected)
    assert "\n" not in str(info.value)
    assert left(tmp_path) == ["a.pth.bad"]
    assert (tmp_path / "a.pth.bad").read_bytes() == CONTENT
    with pytest.raises(CheckpointError, match=r"expected 00000000\.\.\."):
        fetch([url], tmp_path / "a.pth", sha256="0" * 8)


def test_another_size_is_refused(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    with pytest.raises(DownloadError, match="has 1024000 bytes, expected 1000"):
        fetch([url], tmp_path / "a.pth", size=1000)
    with pytest.raises(CheckpointError, match="has 1024000 bytes, expected 2000000"):
        fetch([url], tmp_path / "b.pth", sha256=sha256, size=2_000_000)


def test_a_mirror_steps_in(server, tmp_path):
    url, sha256 = server.add("a.pth", CONTENT)
    assert fetch([f"{server.url}/gone.pth", url], tmp_path / "a.pth", sha256=sha256) == sha256
    says = r"gone\.pth: the server says 404 .*also\.pth: the server"
    with pytest.raises(DownloadError, match=says):
        fetch([f"{server.url}/gone.pth", f"{server.url}/also.pth"], tmp_path / "b.pth")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://127.0.0.1/a", "a.pth", "http://", "http://[x", "http://a:b/c"],
)
def test_the_web_is_all_that_is_read(url, tmp_path):
    with pytest.raises(DownloadError, match="expected http:// or https://"):
        fetch([url], tmp_path / "a.pth")


def test_no_network_is_said_soon(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/a.pth"
    begin = time.monotonic()
    with pytest.raises(DownloadError, match=r"cannot be downloaded: http.*refused"):
        fetch([url], tmp_path / "a.pth")
    assert time.monotonic() - begin < 2


@pytest.mark.parametrize(
    ("slow", "urls", "said"),
    [
        ("create_connection", ["http://127.0.0.1/a.pth"], r"127\.0\.0\.1 gives no answer"),
        (
            "getaddrinfo",
            [f"https://{name}.example/a.pth" for name in "abc"],
            r"a\.example gives no.*; .*c\.example gives no",
        ),
    ],
)
def test_servers_that_give_no_answer_are_given_up_together(tmp_path, monkeypatch, slow, urls, said):
    def hang(*args, **kwargs):
        time.sleep(3)
        raise OSError

    monkeypatch.setattr(module.socket, slow, hang)
    begin = time.monotonic()
    with pytest.raises(DownloadError, match=said):
        fetch(urls, tmp_path / "a.pth")
    assert time.monotonic() - begin < 2


def test_one_address_of_a_server_is_enough(server, tmp_path, monkeypatch):
    url, sha256 = server.add("a.pth", CONTENT)
    found = socket.getaddrinfo("127.0.0.1", url.rpartition(":")[2].split("/")[0], type=1)
    nowhere = (*found[0][:4], ("127.0.0.1", 1))
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *a, **k: [nowhere, *found])
    assert fetch([url], tmp_path / "a.pth", sha256=sha256) == sha256


def test_offline_by_argument_and_by_environment(server, tmp_path, monkeypatch):
    url, sha256 = server.add("a.pth", CONTENT)
    with pytest.raises(DownloadError, match="network is off"):
        fetch([url], tmp_path / "a.pth", offline=True)
    monkeypatch.setenv("SONOGRAD_OFFLINE", "1")
    with pytest.raises(DownloadError, match="network is off"):
        fetch([url], tmp_path / "a.pth")
    assert server.requests == []
    (tmp_path / "a.pth").write_bytes(CONTENT)
    assert fetch([url], tmp_path / "a.pth", sha256=sha256) == sha256


def test_proxies_of_the_environment_are_used(server, tmp_path, monkeypatch):
    server.files["http://weights.example/a.pth"] = CONTENT
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    fetch(["http://weights.example/a.pth"], tmp_path / "a.pth")
    assert server.requests == [("http://weights.example/a.pth", None)]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match=r"the proxy 127\.0\.0\.1: Connection refused"):
        fetch(["http://weights.example/b.pth"], tmp_path / "b.pth")


def test_places_that_cannot_be_written_to(server, tmp_path):
    url, _ = server.add("a.pth", CONTENT)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "file" / "a.pth"))):
        fetch([url], tmp_path / "file" / "a.pth")


def test_small_files(server):
    url, _ = server.add("list.json", b"{}")
    assert fetch_bytes(url, limit=100) == b"{}"
    with pytest.raises(DownloadError, match="more than 1 bytes"):
        fetch_bytes(url, limit=1)
    with pytest.raises(DownloadError, match="404"):
        fetch_bytes(f"{server.url}/no", limit=1)
    with pytest.raises(DownloadError, match="network is off"):
        fetch_bytes(url, limit=100, offline=True)
