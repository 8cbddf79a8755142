import gzip
import hashlib
import http.server
import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pooch  # noqa: F401 - here, so that its log handler does not get the stderr of a single test
import pytest

from jaxfc.data import idx as idx_module
from jaxfc.data import load
from jaxfc.data.download import Remote, fetch, find_or_fetch
from jaxfc.errors import FormatError

BODY = bytes(range(256)) * 200


def md5(body):
    return hashlib.md5(body).hexdigest()


class Server:
    """Serves `bodies` by name; `promised` adds to the length it announces; `requests` counts."""

    def __init__(self):
        self.bodies, self.promised, self.requests = {}, 0, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                body = outer.bodies.get(self.path.lstrip("/"))
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + outer.promised))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("JAXFC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JAXFC_DATA", raising=False)
    server = Server()
    yield server
    server.stop()


def remote_with(server, body=BODY):
    return Remote("things", server.url, {"thing.bin": md5(body)})


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_downloads_once_into_the_cache_and_then_needs_no_network(server, tmp_path, capfd):
    server.bodies["thing.bin"] = BODY
    remote = remote_with(server)
    folder = fetch(remote)
    assert folder == tmp_path / "cache" / "things"
    assert (folder / "thing.bin").read_bytes() == BODY
    server.stop()
    assert fetch(remote) == folder
    assert server.requests == 1
    assert "%" not in capfd.readouterr().err  # no progress bar where nobody watches


def test_a_terminal_gets_a_progress_bar(server, monkeypatch, capsys):
    server.bodies["thing.bin"] = BODY
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    fetch(remote_with(server))
    assert "100%" in capsys.readouterr().err


def test_a_wrong_checksum_is_refused_and_leaves_nothing_behind(server, tmp_path):
    server.bodies["thing.bin"] = BODY[:-1]
    remote = remote_with(server)
    with pytest.raises(FormatError, match=rf"{server.url}thing\.bin .*MD5 checksum is not {md5(BODY)}.*JAXFC_DATA"):
        fetch(remote)
    assert files_in(tmp_path) == []


def test_a_body_cut_short_is_an_error_and_leaves_nothing_behind(server, tmp_path):
    server.bodies["thing.bin"], server.promised = BODY, 1000
    with pytest.raises(OSError, match=r"could not download .*thing\.bin .*--data-dir") as caught:
        fetch(remote_with(server))
    assert not isinstance(caught.value, FormatError)
    assert files_in(tmp_path) == []
    server.promised = 0
    assert files_in(fetch(remote_with(server))) == ["thing.bin"]


def test_a_file_that_is_not_there_names_the_address_and_the_remedy(server, tmp_path):
    with pytest.raises(OSError, match="could not download") as caught:
        fetch(remote_with(server))
    message = str(caught.value)
    assert "\n" not in message
    for part in (f"{server.url}thing.bin", "404", "by hand", "--data-dir", "JAXFC_DATA", str(tmp_path / "cache")):
        assert part in message


def test_no_network_names_the_address_and_the_cause(server):
    server.stop()
    with pytest.raises(OSError, match=rf"could not download {server.url}thing\.bin .*refused"):
        fetch(remote_with(server))


@pytest.mark.parametrize("damaged", [b"", BODY[:100], b"x" + BODY[1:]])
def test_a_damaged_file_in_the_cache_is_downloaded_again(server, damaged):
    server.bodies["thing.bin"] = BODY
    path = fetch(remote_with(server)) / "thing.bin"
    path.write_bytes(damaged)
    fetch(remote_with(server))
    assert path.read_bytes() == BODY


def test_several_at_once_download_once(server, tmp_path):
    server.bodies["thing.bin"] = BODY
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: fetch(remote_with(server)), range(4)))
    assert server.requests == 1
    assert files_in(tmp_path) == ["cache/things/thing.bin"]


def test_what_a_killed_download_left_is_removed_by_the_next(server, tmp_path):
    server.bodies["thing.bin"] = BODY
    (tmp_path / "cache" / "things").mkdir(parents=True)
    (tmp_path / "cache" / "things" / "tmp0123abcd").write_bytes(BODY[:100])
    assert files_in(fetch(remote_with(server))) == ["thing.bin"]


def test_a_cache_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError, match=r"could not download .*cache"):
        fetch(remote_with(server))


def find(folder):
    path = folder / "thing.bin"
    return path if path.is_file() else None


def test_where_files_are_looked_for_and_in_what_order(server, tmp_path, monkeypatch):
    server.bodies["thing.bin"] = BODY
    remote = remote_with(server)
    given, named, empty = tmp_path / "given", tmp_path / "named", tmp_path / "empty"
    for folder in (given, named, empty):
        folder.mkdir()
    for folder in (given, named):
        (folder / "thing.bin").write_bytes(b"as the user has it")
    monkeypatch.setenv("JAXFC_DATA", str(named))
    assert find_or_fetch(remote, given, find, layout="thing.bin") == given / "thing.bin"
    assert find_or_fetch(remote, None, find, layout="thing.bin") == named / "thing.bin"
    assert server.requests == 0
    for folder in (empty, tmp_path / "none"):
        monkeypatch.setenv("JAXFC_DATA", str(folder))
        assert find_or_fetch(remote, None, find, layout="thing.bin") == tmp_path / "cache" / "things" / "thing.bin"
    assert server.requests == 1


def test_a_data_dir_without_the_files_is_an_error_and_not_a_download(server, tmp_path):
    server.bodies["thing.bin"] = BODY
    remote = remote_with(server)
    with pytest.raises(FileNotFoundError, match=rf"things is not in data_dir '{tmp_path}': looked for thing\.bin"):
        find_or_fetch(remote, tmp_path, find, layout="thing.bin")
    with pytest.raises(FileNotFoundError, match=r"none' does not exist: give the folder that holds thing\.bin"):
        find_or_fetch(remote, tmp_path / "none", find, layout="thing.bin")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"file' is a file: give the folder that holds thing\.bin"):
        find_or_fetch(remote, tmp_path / "file", find, layout="thing.bin")
    assert server.requests == 0


def test_a_data_set_is_downloaded_and_read(server, monkeypatch):
    for name in idx_module.MNIST.md5:
        shape = (24, 28, 28) if "images" in name else (24,)
        header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
        server.bodies[name] = gzip.compress(header + b"\x07" * math.prod(shape))
    checksums = {name: md5(body) for name, body in server.bodies.items()}
    monkeypatch.setattr(idx_module, "MNIST", Remote("mnist", server.url, checksums))
    for _ in range(2):
        data = load("mnist")
        assert (data.x_test.shape, data.y_test.tolist()) == ((24, 784), [7] * 24)
    assert server.requests == 4
