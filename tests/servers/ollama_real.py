"""The real Ollama on a free loopback port, with a tiny model of random weights: protocol, never answer quality.

Built once by `go install` (about 4 minutes on 2 cores) and kept in the cache of test servers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from tests.servers import ServerMissing, alone, cache_folder, free_port

VARIABLE = "AEGIS_TEST_OLLAMA_URL"
VERSION = "0.12.6"
MODEL = "tiny"
# The Go module leaves three headers out: Debian packages have two, this sdist the third.
MINIAUDIO = "miniaudio==1.61"
HEADERS = {"nlohmann-json3-dev": Path("/usr/include/nlohmann"), "libstb-dev": Path("/usr/include/stb")}

MODELFILE = """FROM {gguf}
TEMPLATE "{{{{ range .Messages }}}}{{{{ .Content }}}}\n{{{{ end }}}}"
PARAMETER num_predict 24
"""


@dataclass
class OllamaReal:
    """The server, its folder and its log; it can be stopped and started again on its port."""

    binary: Path
    folder: Path
    address: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.folder),
            "OLLAMA_HOST": self.address,
            "OLLAMA_MODELS": str(self.folder / "models"),
            "OLLAMA_NUM_PARALLEL": "2",
        }

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def start(self) -> None:
        command = [self.binary, "serve"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=subprocess.STDOUT)
        _wait(self.url, self.process, self.folder / "log")

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@contextmanager
def running_ollama() -> Generator[str]:
    """Its address; it has one model, `MODEL`. Raises ServerMissing where it cannot be built or started."""
    with running_server() as server:
        yield server.url


@contextmanager
def running_server() -> Generator[OllamaReal]:
    """The same, to be stopped and started. Raises ServerMissing."""
    server = OllamaReal(built(), Path(tempfile.mkdtemp(prefix="aegis-ollama-")), f"127.0.0.1:{free_port()}")
    try:
        server.start()
        _add_model(server.binary, server.folder, server.environment)
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


def built() -> Path:
    """The server's binary, built now if it is not in the cache."""
    folder = cache_folder(f"ollama-{VERSION}")
    binary = folder / "bin" / "ollama"
    with alone(folder):
        if not binary.exists():
            _build(folder)
    return binary


def _build(folder: Path) -> None:
    for tool in ("go", "c++"):
        if shutil.which(tool) is None:
            raise ServerMissing(f"Ollama cannot be built: {tool} is not installed.")
    for package, headers in HEADERS.items():
        if not headers.is_dir():
            raise ServerMissing(f"Ollama cannot be built: {headers} is missing (Debian: apt-get install {package}).")
    includes = [*HEADERS.values(), _miniaudio(folder)]
    flags = " ".join(f"-I{path}" for path in includes)
    environment = os.environ | {"GOBIN": str(folder / "bin"), "CGO_CPPFLAGS": flags}
    _run(["go", "install", f"github.com/ollama/ollama@v{VERSION}"], environment, 1800)


def _miniaudio(folder: Path) -> Path:
    """The folder that has `miniaudio/miniaudio.h`."""
    unpacked = folder / MINIAUDIO.replace("==", "-")
    if not unpacked.is_dir():
        pip = [sys.executable, "-m", "pip"] if _has_pip() else ["pip"]
        _run([*pip, "download", "-q", "--no-deps", "--no-binary", "miniaudio", "-d", str(folder), MINIAUDIO], None, 180)
        with tarfile.open(folder / f"{unpacked.name}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return unpacked


def _has_pip() -> bool:
    return subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0


def _run(command: list[str], environment: dict[str, str] | None, seconds: float) -> None:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerMissing(f"{command[0]} failed: {error}.") from error
    if done.returncode != 0:
        raise ServerMissing(f"{command} failed: {(done.stderr or done.stdout)[-800:]}")


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/api/version", timeout=1, trust_env=False).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise ServerMissing(f"Ollama did not start: {log.read_text(errors='replace')[-500:]}")


def _add_model(binary: Path, folder: Path, environment: dict[str, str]) -> None:
    gguf = folder / "tiny.gguf"
    write_tiny_model(gguf)
    modelfile = folder / "Modelfile"
    modelfile.write_text(MODELFILE.format(gguf=gguf))
    _run([str(binary), "create", MODEL, "-f", str(modelfile)], environment, 60)


def write_tiny_model(path: Path, *, width: int = 64, layers: int = 2, context: int = 8192) -> None:
    """A llama of random weights over bytes: half a megabyte, and its words are noise."""
    import gguf

    heads, feed = 4, 128
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(feed)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_file_type(0)
    _add_vocabulary(writer, gguf)
    random = np.random.default_rng(7)

    def weights(name: str, *shape: int) -> None:
        writer.add_tensor(name, random.normal(0, 0.3, shape).astype(np.float32))

    words = 259
    weights("token_embd.weight", words, width)
    output = random.normal(0, 0.3, (words, width)).astype(np.float32)
    output[[token for token in range(words) if not 32 <= token - 3 < 127]] = 0  # only printable bytes are ever likely
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        block = f"blk.{layer}"
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}.{norm}.weight", np.ones(width, np.float32))
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights(f"{block}.{part}.weight", width, width)
        weights(f"{block}.ffn_gate.weight", feed, width)
        weights(f"{block}.ffn_up.weight", feed, width)
        weights(f"{block}.ffn_down.weight", width, feed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, gguf: Any) -> None:
    """Three special tokens, then one per byte."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, *[gguf.TokenType.BYTE] * 256]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
