"""A server on this computer, and a cache of its own for every test."""

import contextlib
import hashlib
import http.server
import threading
from pathlib import Path

import pytest


class Server:
    """Serves ``files`` over HTTP; ``broken`` names are cut off after so many bytes, once."""

    def __init__(self):
        self.files, self.broken, self.requests = {}, {}, []
        self.ranges, self.says_length, self.chunked, self.moved = True, False, False, {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def add(self, name, content):
        self.files[f"/{name}"] = content
        return f"{self.url}/{name}", hashlib.sha256(content).hexdigest()

    def answer(self, request):
        name = request.path
        self.requests.append((name, request.headers.get("Range")))
        if name in self.moved:
            request.send_response(302)
            request.send_header("Location", self.moved[name])
            request.end_headers()
            return
        if name not in self.files:
            request.send_error(404)
            return
        content = self.files[name]
        begin = 0
        asked = request.headers.get("Range") if self.ranges else None
        if asked:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                request.send_response(416)
                if self.says_length:
                    request.send_header("Content-Range", f"bytes */{len(content)}")
                request.end_headers()
                return
        request.send_response(206 if asked else 200)
        if self.chunked is None:  # the end of the connection is that of the file
            pass
        elif self.chunked:
            request.send_header("Transfer-Encoding", "chunked")
        else:
            request.send_header("Content-Length", str(len(content) - begin))
        if asked:
            span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            request.send_header("Content-Range", span)
        request.end_headers()
        limit = self.broken.pop(name, None)
        content = content[begin : None if limit is None else begin + limit]
        if self.chunked:  # one that breaks off has no last chunk
            content = b"%x\r\n%s\r\n" % (len(content), content)
            content += b"0\r\n\r\n" if limit is None else b""
        with contextlib.suppress(ConnectionError):  # nobody listens any more
            request.wfile.write(content)

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SONOGRAD_CACHE", str(folder))
    for name in ("SONOGRAD_OFFLINE", "SONOGRAD_MODELS", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return Path(folder)
