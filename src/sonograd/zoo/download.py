"""Fetch a file: resumed where it broke off, checked before anything reads it.

A file grows as ``NAME.part`` and becomes ``NAME`` at the end, when its size and hash are right.
What has another hash is kept as ``NAME.bad``, for those who want to look at it.
"""

import http.client
import os
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

from sonograd import __version__
from sonograd.errors import CheckpointError, DownloadError, OutputError, ParameterError
from sonograd.zoo.cache import file_sha256, only_one

__all__ = ["fetch", "fetch_bytes", "is_offline"]

#: Called with ``(done, total)`` in bytes; ``total`` is ``done`` while it is unknown.
OnBytes: TypeAlias = Callable[[float, float], None]

#: Seconds until a server has to take a call.
_CONNECT_TIMEOUT = 1.5
#: Seconds without a byte after which a connection counts as broken.
_READ_TIMEOUT = 30.0
_BLOCK = 1 << 18
_MAX_BYTES = 20 << 30
_RETRIES = 4
_PORTS = {"http": 80, "https": 443}


class _BrokenError(Exception):
    """A connection ended early; another try may go on from there."""


class _NoMoreError(Exception):
    """The file has no bytes from there on; ``length`` is how many it has, if that was said."""

    def __init__(self, length: int | None) -> None:
        super().__init__(length)
        self.length = length


def is_offline(offline: bool | None = None) -> bool:
    """Tell whether the network must not be used: by argument, or by ``$SONOGRAD_OFFLINE``."""
    if offline is not None:
        return offline
    return os.environ.get("SONOGRAD_OFFLINE", "").lower() not in {"", "0", "false", "no"}


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    offline: bool | None = None,
    on_progress: OnBytes | None = None,
    on_source: Callable[[str], None] | None = None,
) -> str:
    """Fetch a file from the first address that gives it, and check it.

    The proxies of the environment (``https_proxy``, ``no_proxy``) are used.

    Args:
        urls: Mirrors, best first; http or https.
        target: Where the file will be; its folder is made. A right file that is there is kept.
        sha256: Its hash, or the first digits of it, eight at least; None if it is not known.
        size: Its bytes, if they are known.
        offline: Use no network; ``$SONOGRAD_OFFLINE`` if None.
        on_progress: Called with ``(done, total)`` in bytes.
        on_source: Told which address gave the last of the file, unless all of it was there.

    Returns:
        All 64 digits of its hash.

    Raises:
        DownloadError: If no mirror gives the file, or the network must not be used.
        CheckpointError: If it is another file than expected; it is kept as ``NAME.bad``.
        OutputError: If it cannot be written.
    """
    check_hash(sha256)
    if target.is_file() and _fits(target, sha256, size):
        return file_sha256(target)
    part = target.with_name(target.name + ".part")
    if is_offline(offline) and not _is_whole(part, sha256, size):
        raise DownloadError(f"{target.name}: is not here yet, and the network is off (--offline).")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with only_one(part.with_name(part.name + ".lock")):
            if target.is_file() and _fits(target, sha256, size):
                return file_sha256(target)  # another process was faster
            url = _complete(urls, part, sha256, size, on_progress)
            actual = _check(part, target, sha256, size)
            part.replace(target)
            if on_source is not None and url is not None:
                on_source(url)
            return actual
    except OSError as error:
        raise OutputError(
            f"{target}: cannot be written: {error.strerror or error}. What has arrived is kept; "
            "the next try goes on from there."
        ) from None


def fetch_bytes(url: str, *, limit: int, offline: bool | None = None) -> bytes:
    """Return a small file, such as a list of files.

    Raises:
        DownloadError: If it cannot be fetched, or is larger than ``limit`` bytes.
    """
    if is_offline(offline):
        raise DownloadError(f"{url}: the network is off (--offline).")
    try:
        _Call(url).wait()
        with _open(url, 0) as response:
            content: bytes = response.read(limit + 1)
    except (_BrokenError, OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: {_reason(error)}.") from None
    if len(content) > limit:
        raise DownloadError(f"{url}: has more than {limit} bytes.")
    return content


def check_hash(sha256: str | None) -> None:
    """Refuse what is no hash, nor the beginning of one.

    Raises:
        ParameterError: If so.
    """
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise ParameterError(
            f"sha256 is {sha256!r}; expected 64 hexadecimal digits, or the first 8 or more."
        )


def _fits(path: Path, sha256: str | None, size: int | None) -> bool:
    if size is not None and path.stat().st_size != size:
        return False
    return sha256 is None or file_sha256(path).startswith(sha256)


def _is_whole(part: Path, sha256: str | None, size: int | None) -> bool:
    """Tell whether a file that is still called ``.part`` is known to lack nothing."""
    return sha256 is not None and part.is_file() and _fits(part, sha256, size)


def _complete(
    urls: Sequence[str], part: Path, sha256: str | None, size: int | None, on: OnBytes | None
) -> str | None:
    """Get what is missing of ``part``; return who gave it, None if nothing was missing."""
    if _is_whole(part, sha256, size):
        return None
    resumed = part.exists() and part.stat().st_size > 0
    url = _from_any(urls, part, size, on)
    if resumed and not _fits(part, sha256, size):
        part.unlink()  # its beginning was that of another file
        url = _from_any(urls, part, size, on)
    return url


def _check(part: Path, target: Path, sha256: str | None, size: int | None) -> str:
    """Return the hash of a file, or put it aside if it is another one."""
    actual, received = file_sha256(part), part.stat().st_size
    if sha256 is not None and not actual.startswith(sha256):
        problem = f"its SHA-256 is {actual}, expected {sha256}{'...' if len(sha256) < 64 else ''}"
    elif size is not None and received != size:
        problem = f"it has {received} bytes, expected {size}"
    else:
        return actual
    bad = target.with_name(target.name + ".bad")
    part.replace(bad)
    raise CheckpointError(
        f"{target.name}: not the file that was published: {problem}. It is kept as {bad}; "
        "nothing was read from it."
    )


def _from_any(urls: Sequence[str], part: Path, size: int | None, on: OnBytes | None) -> str:
    """Complete ``part`` from the first mirror that can, and return its address."""
    problems = []
    calls = {url: _Call(url) for url in urls}  # all at once: no network is said soon
    for url, call in calls.items():
        for attempt in range(_RETRIES):
            before = part.stat().st_size if part.exists() else 0
            try:
                call.wait()
                _receive(url, part, size, on)
                return url
            except _BrokenError as error:
                after = part.stat().st_size if part.exists() else 0
                if attempt == _RETRIES - 1 or after <= before:
                    problems.append(f"{url}: {error}")
                    break
            except (
                urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError,
            ) as error:  # fmt: skip
                problems.append(f"{url}: {_reason(error)}")
                break
    where = "; ".join(problems) or "it is not known where it is published"
    kept = f" {part.stat().st_size} bytes are kept to go on from." if part.exists() else ""
    raise DownloadError(f"cannot be downloaded: {where}.{kept}")


def _receive(url: str, part: Path, size: int | None, on_progress: OnBytes | None) -> None:
    """Append to ``part`` what is missing of it."""
    have = part.stat().st_size if part.exists() else 0
    if size is not None and have >= size:
        return
    try:
        _append(url, part, have, size, on_progress)
    except _NoMoreError as error:
        if error.length != have:  # the beginning is that of another file
            part.unlink()
            _append(url, part, 0, size, on_progress)


def _append(url: str, part: Path, have: int, size: int | None, on_progress: OnBytes | None) -> None:
    with _open(url, have) as response:
        have, total = _position(response, have)
        limit = min(size or total or _MAX_BYTES, _MAX_BYTES)
        if total is not None and total > limit:
            raise _BrokenError(f"has {total} bytes, expected {limit}")
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            file.truncate()
            while True:
                block, breaks_off = _block(response)
                file.write(block)
                have += len(block)
                if have > limit:
                    raise _BrokenError(f"goes on after the {limit} bytes that were expected")
                if on_progress is not None:
                    on_progress(have, total or size or have)
                if breaks_off or not block:
                    break
    whole = total if total is not None else size
    if breaks_off or (whole is not None and have < whole):
        raise _BrokenError(f"broke off after {have}{f' of {whole}' if whole else ''} bytes")
    if whole is None and not response.chunked and _has_more(url, have):
        raise _BrokenError(f"broke off after {have} bytes")


def _has_more(url: str, have: int) -> bool:
    """Ask whether a file goes on, where its end was nothing but that of a connection."""
    try:
        with _open(url, have) as response:
            return response.status == 206
    except (_NoMoreError, urllib.error.HTTPError):
        return False


def _position(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return where the content of a response begins, and how long the whole file is."""
    if response.status == 206:
        found = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip()
        )
        if found is None or int(found[1]) != have:
            raise _BrokenError("sent another part than it was asked for")
        return have, None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _block(response: http.client.HTTPResponse) -> tuple[bytes, bool]:
    """Return the next bytes, none at the end; and whether the rest is not going to come."""
    try:
        return response.read1(_BLOCK), False  # as soon as there is something
    except http.client.IncompleteRead as error:
        return error.partial, True
    except OSError as error:
        raise _BrokenError(_reason(error)) from None


@contextmanager
def _open(url: str, have: int) -> Iterator[http.client.HTTPResponse]:
    """Ask for a file from byte ``have`` on."""
    headers = {"User-Agent": f"sonograd/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        # A new opener each time, which looks at the proxies of the environment as they are now.
        response = urllib.request.build_opener(_Redirects).open(request, timeout=_READ_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing is left to send, or this is another file
            said = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", "").strip())
            raise _NoMoreError(int(said[1]) if said else None) from None
        raise
    except urllib.error.URLError:
        raise
    except (OSError, ValueError) as error:  # so that nobody takes it for one of writing
        raise urllib.error.URLError(error) from None
    with response:
        yield response


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other places on the web, and nowhere else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        """Return the next request, see the base class."""
        if urllib.parse.urlsplit(newurl).scheme not in _PORTS:
            raise urllib.error.URLError(f"leads to {newurl}, expected http:// or https://")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Call:
    """Finds out soon whether a server can be reached, even where names are looked up slowly."""

    def __init__(self, url: str) -> None:
        """Call the server of ``url``, or the proxy before it, without waiting for an answer."""
        self._done = threading.Event()
        self._problem: Exception | None = None
        self._until = time.monotonic() + _CONNECT_TIMEOUT
        self.server, port, self._role = url, 0, ""
        try:
            parts = urllib.parse.urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError
            self.server, port = parts.hostname, parts.port or _PORTS[parts.scheme]
            proxy = urllib.request.getproxies().get(parts.scheme)
            if proxy and not urllib.request.proxy_bypass(parts.hostname):
                parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
                self.server, port = parts.hostname or "", parts.port or _PORTS["http"]
                self._role = "the proxy "
        except ValueError:
            self._problem = _BrokenError(
                f"{self.server} is no address on the web; expected http:// or https://"
            )
            self._done.set()
            return
        threading.Thread(target=self._look_up, args=(port,), daemon=True).start()

    def _look_up(self, port: int) -> None:
        try:
            found = socket.getaddrinfo(self.server, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._problem = error
            self._done.set()
            return
        left = [address[:2] for *_, address in found]
        for address in tuple(left):  # all at once: where IPv6 leads nowhere, IPv4 answers
            threading.Thread(target=self._connect, args=(address, left), daemon=True).start()

    def _connect(self, address: tuple[str, int], left: list[tuple[str, int]]) -> None:
        try:
            socket.create_connection(address, timeout=_CONNECT_TIMEOUT).close()
        except OSError as error:
            left.remove(address)
            if left:
                return
            self._problem = error
        self._done.set()

    def wait(self) -> None:
        """Return once the server has taken the call.

        Raises:
            URLError: If it does not, or not in time.
        """
        if not self._done.wait(max(self._until - time.monotonic(), 0)):
            raise urllib.error.URLError(f"{self._role}{self.server} gives no answer")
        if isinstance(self._problem, _BrokenError):
            raise self._problem
        if self._problem is not None and self._role:
            reason = _reason(urllib.error.URLError(self._problem))
            raise urllib.error.URLError(f"{self._role}{self.server}: {reason}")
        if self._problem is not None:
            raise urllib.error.URLError(self._problem)


def _reason(error: BaseException) -> str:
    """Return what went wrong, in a few words on one line."""
    return " ".join(_words(error).split())[:300]


def _words(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            return f"the certificate of the server is not right ({reason.verify_message})"
        if isinstance(reason, socket.gaierror):
            return "no network, or no such server"
        return str(getattr(reason, "strerror", None) or reason)
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
