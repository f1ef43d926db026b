"""Files of data that are not what they say: sizes are compared before memory is taken for them."""

import gzip
import io
import os
import struct
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from ppgen import datasets
from ppgen.datasets import fetch, idx

_HUGE = 2**50


def _npy(shape, values=b"", kind="<f4"):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
    return header.getvalue() + values


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("shape", [(_HUGE, 4), (3, 4), (2**62, 2**62)])
def test_a_header_larger_than_its_file_is_refused(shape, mapped, tmp_path):
    """Catches a file of some bytes for which NumPy takes as much memory as its header asks for."""
    (tmp_path / "bomb.npy").write_bytes(_npy(shape, bytes(16)))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED if mapped else zipfile.ZIP_STORED) as archive:
        archive.writestr("train.npy", _npy(shape, bytes(16)))
    for name in ("bomb.npy", "bomb.npz"):
        with pytest.raises(ValueError, match="cannot be read as a NumPy file of numbers: its header announces"):
            datasets.load(tmp_path / name, memory_map=mapped)


def test_members_larger_than_they_can_be_or_than_memory_are_refused(tmp_path, monkeypatch):
    """Catches an archive whose directory, or whose zeros, unpack to more than the machine has."""
    np.savez_compressed(tmp_path / "zeros.npz", train=np.zeros((1000, 1000), dtype=np.uint8))
    assert len(datasets.load(tmp_path / "zeros.npz").train) == 800
    with monkeypatch.context() as context:
        context.setattr("ppgen.datasets.files.memory", lambda: 10**6)
        with pytest.raises(ValueError, match="more than the memory of this machine"):
            datasets.load(tmp_path / "zeros.npz")
    content = bytearray((tmp_path / "zeros.npz").read_bytes())
    place = content.rindex(b"PK\1\2") + 24
    content[place : place + 4] = struct.pack("<I", 2**31)
    (tmp_path / "lies.npz").write_bytes(content)
    with pytest.raises(ValueError, match="cannot hold the 2147483648 bytes"):
        datasets.load(tmp_path / "lies.npz")


@pytest.mark.parametrize("shape", ["(True, 4)", "(-1, -4)"])
@pytest.mark.parametrize("mapped", [False, True])
def test_a_header_whose_shape_is_none_is_refused(shape, mapped, tmp_path):
    """Catches a traceback of NumPy, which takes True for a number, and sizes whose product alone is right."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode()
    content = b"\x93NUMPY\1\0" + struct.pack("<H", 118) + text.ljust(117) + b"\n" + bytes(16)
    (tmp_path / "odd.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("train.npy", content)
    for name in ("odd.npy", "odd.npz"):
        with pytest.raises(
            ValueError, match="cannot be read as a NumPy file of numbers: its header announces the shape"
        ):
            datasets.load(tmp_path / name, memory_map=mapped)


def test_pipes_and_devices_are_not_opened(tmp_path):
    """Catches a load that waits for ever, or reads without an end."""
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    for name in ("pipe.npy", "zero.npz"):
        with pytest.raises(ValueError, match="no regular file"):
            datasets.load(tmp_path / name)
    for name in ("pipe.npy", "."):
        with pytest.raises(ValueError, match="no regular file"):
            idx.read_idx(tmp_path / name)


@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_header_larger_than_its_file_is_refused(packed, tmp_path):
    """Catches memory taken for what the header of an IDX file announces."""
    header = struct.pack(">I3I", idx.IMAGES_MAGIC, 2**31, 2**31, 2**31)
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(header) if packed else header)
    with pytest.raises(ValueError, match="cut short: its header announces"):
        idx.read_idx(path)


def test_a_gzip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """Catches a small file that unpacks to gigabytes before its checksum is looked at."""
    header = struct.pack(">I3I", idx.IMAGES_MAGIC, 1, 2, 2)
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(header + bytes(50 * 2**20)))
    read = []
    original = gzip.GzipFile.read

    def counting(self, size=-1):
        found = original(self, size)
        read.append(len(found))
        return found

    monkeypatch.setattr(gzip.GzipFile, "read", counting)
    with pytest.raises(ValueError, match="too long: its header announces 20 bytes, it holds 21 or more"):
        idx.read_idx(path, sha256="0")
    assert sum(read) < 100


def test_mirrors_are_reached_by_encrypted_connections():
    """Catches a mirror whose answers anybody on the way may change."""
    mirrors = [mirror for files in (idx.MNIST, idx.FASHION_MNIST) for mirror in files.mirrors]
    assert mirrors and all(mirror.startswith("https://") for mirror in mirrors)


class _Endless(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        if self.path == "/small":
            self.send_header("content-length", "10")
        self.end_headers()
        try:
            for _ in range(1 if self.path == "/small" else 10_000):
                self.wfile.write(bytes(10 if self.path == "/small" else 10_000))
        except OSError:
            pass

    def log_message(self, *args):
        pass


def test_a_download_without_an_end_is_broken_off(tmp_path, monkeypatch):
    """Catches a server that fills the disk."""
    pytest.importorskip("pooch")
    monkeypatch.setattr(fetch, "LARGEST", 100_000)
    with HTTPServer(("127.0.0.1", 0), _Endless) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        fetch.download(f"{address}/small", tmp_path / "small")
        with pytest.raises(ValueError, match="more than 100000 bytes"):
            fetch.download(f"{address}/large", tmp_path / "large")
        server.shutdown()
        thread.join()
    assert (tmp_path / "small").read_bytes() == bytes(10)
    assert (tmp_path / "large").stat().st_size < 200_000
