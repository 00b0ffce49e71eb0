"""Which packages the native libraries come from: OpenSSL 1.1, and the builds of llama.cpp."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.engine.native.package_clients import Pin, apt_fetch, deb_unpack, npm_fetch, npm_unpack


class Runtime(StrEnum):
    """A build of llama.cpp, by what it computes on. Each build can also compute on the CPU."""

    CPU = "cpu"
    VULKAN = "vulkan"
    """GPUs of any maker that have a Vulkan driver."""
    CUDA = "cuda"
    """NVIDIA's GPUs, with CUDA 13."""
    CUDA12 = "cuda12"
    """NVIDIA's GPUs, with CUDA 12, for older drivers."""


@dataclass(frozen=True, slots=True)
class Source:
    """One package, and which of its files are extracted."""

    pins: tuple[Pin, ...]
    """The versions of the package that may be used, the preferred one first."""
    patterns: tuple[str, ...]
    """Shell patterns of the files to extract."""


@dataclass(frozen=True, slots=True)
class Part:
    """One folder of native libraries, and the packages that the libraries come from."""

    name: str
    """The name of the folder, below the native folder."""
    sources: tuple[Source, ...]
    licence: str
    fetch: Callable[[tuple[Pin, ...], Path], tuple[Pin, Path]]
    unpack: Callable[[Path, Path, tuple[str, ...]], None]
    links: dict[str, str]
    """The symbolic links to make: the name by which AsposeAI loads a library, and the library's file name."""
    libraries: tuple[str, ...]
    """The file names of the libraries that the folder must have. A folder that a person has filled with all of them is
    not changed."""
    runtime: Runtime | None
    """Which build of llama.cpp this is; None for another library."""
    space_bytes: int
    """How many bytes of the disk the files take together with the downloaded archives, which clients keep twice."""


OPENSSL = Part(
    "openssl",
    (
        Source(
            (
                Pin(
                    "libssl1.1", "1.1.1w-0+deb11u8", "dcc68a543de6cb955a57077b66dcdb15f61d1e31e072f2c6cc4082c37da1b00d"
                ),
                # Debian 11's archive without its security suite has this version.
                Pin(
                    "libssl1.1", "1.1.1w-0+deb11u1", "aadf8b4b197335645b230c2839b4517aa444fd2e8f434e5438c48a18857988f7"
                ),
            ),
            ("usr/lib/x86_64-linux-gnu/lib*.so.1.1", "usr/share/doc/libssl1.1/copyright"),
        ),
    ),
    "OpenSSL",
    apt_fetch,
    deb_unpack,
    {},
    ("libcrypto.so.1.1", "libssl.so.1.1"),
    None,
    100_000_000,  # most of it for apt's lists
)


def _llama(runtime: Runtime, infix: str, space_bytes: int, sources: tuple[Source, ...], *libraries: str) -> Part:
    """Return a build of llama.cpp. `infix` is in the names of its libraries; `libraries` are those for the GPU."""
    return Part(
        "llama",
        sources,
        "MIT",
        npm_fetch,
        npm_unpack,
        {f"{name}.so": f"{name}{infix}.b6431.so" for name in ("libllama", "libggml")},
        ("libllama.so", "libggml.so", "libggml-base.so", "libggml-cpu-x64.so", *libraries),
        runtime,
        space_bytes,
    )


def _source(package: str, sha256: str, *patterns: str) -> Source:
    pins = (Pin(f"@node-llama-cpp/{package}", "3.13.0", sha256),)
    return Source(pins, tuple(f"package/{pattern}" for pattern in patterns))


_CPU = _source(
    "linux-x64",
    "a877cdaacda7e2663d57258ef1355204bc060fd441fddd58f54f42f5251fe3de",
    "bins/linux-x64/*.so",
    "LICENSE",
)
_VULKAN = _source(
    "linux-x64-vulkan",
    "dacd04d25b3fbed6711e7ead8144da6f6ff2346a00e050988924d713169b4a0d",
    "bins/linux-x64-vulkan/*.so",
    "LICENSE",
)
_CUDA = _source(
    "linux-x64-cuda",
    "f1b618ca51f64a920685dd32f724edfa82e2a41e2c2eb2b736451ce8b763bee9",
    "bins/linux-x64-cuda/*.so",
    "LICENSE",
)
# This package has only the library for the GPU, which works with the libraries for the CPU: libggml-base.so is the same
# file in each of the packages.
_CUDA12 = _source(
    "linux-x64-cuda-ext",
    "588b3bc7261ef8c01adcfdb7c167fd73ac832b2058168658bfda8e68a5436b60",
    "bins/linux-x64-cuda/fallback/*.so",
)

LLAMA = {
    Runtime.CPU: _llama(Runtime.CPU, "", 20_000_000, (_CPU,)),
    Runtime.VULKAN: _llama(Runtime.VULKAN, ".vulkan", 92_000_000, (_VULKAN,), "libggml-vulkan.so"),
    Runtime.CUDA: _llama(Runtime.CUDA, ".cuda", 255_000_000, (_CUDA,), "libggml-cuda.so"),
    Runtime.CUDA12: _llama(Runtime.CUDA12, "", 642_000_000, (_CPU, _CUDA12), "libggml-cuda.so"),
}
"""The builds of llama.cpp. All fill the same folder; the build for the CPU is the default."""
