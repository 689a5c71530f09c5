# SPDX-License-Identifier: Apache-2.0
"""The plugin's core, plain C: its own tests with each compiler that is here, under sanitizers, and fuzzed.

Needs no root and no VPP: cmake and gcc or clang. FIP64_FUZZ_SECONDS (20) is the budget of each harness where
clang has libFuzzer; elsewhere the harnesses run over a fixed number of made-up inputs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import require_programs

CORE = Path(__file__).parents[2] / "vpp-plugin" / "core"
COMPILERS = ("gcc", "clang")
FUZZ_SECONDS = int(os.environ.get("FIP64_FUZZ_SECONDS", "20"))
# What a sanitizer found must end the program.
SANITIZERS = {"ASAN_OPTIONS": "detect_leaks=1:abort_on_error=1", "UBSAN_OPTIONS": "print_stacktrace=1",
              "TSAN_OPTIONS": "halt_on_error=1"}
# Tells hypothesis to try the same examples in every run.
SAME = {"CI": "true"}


def run(*command: object, cwd: Path, timeout: float = 300) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=os.environ | SANITIZERS | SAME,
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    what = " ".join(map(str, command))
    assert done.returncode == 0, f"{what}: exit status {done.returncode}\n{done.stdout[-8000:]}"
    return done.stdout


def links(compiler: str, flag: str, directory: Path) -> bool:
    """Whether the compiler is here with the library that the flag asks for."""
    if not shutil.which(compiler):
        return False
    source = directory / f"{compiler}-probe.c"
    body = "int LLVMFuzzerTestOneInput (const unsigned char *d, unsigned long n) { return d && n ? 0 : 0; }\n"
    source.write_text(body if "fuzzer" in flag else "int main (void) { return 0; }\n")
    command = [compiler, flag, str(source), "-o", str(directory / f"{compiler}-probe")]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def first_with(flag: str, directory: Path) -> str:
    for compiler in reversed(COMPILERS):
        if links(compiler, flag, directory):
            return compiler
    pytest.skip(f"neither gcc nor clang here can link {flag}")


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """build(compiler, option..., targets=[...]) -> the build directory."""
    require_programs("cmake", "ctest")

    def _build(compiler: str, *options: str, targets: tuple[str, ...] = ()) -> Path:
        directory = tmp_path / "build"
        run("cmake", "-S", CORE, "-B", directory, f"-DCMAKE_C_COMPILER={compiler}",
            f"-DPython3_EXECUTABLE={sys.executable}", *options, cwd=tmp_path)
        chosen = ["--target", *targets] if targets else []
        run("cmake", "--build", directory, "-j", "2", *chosen, cwd=tmp_path)
        return directory

    return _build


def test_there_is_a_compiler():
    if not any(shutil.which(compiler) for compiler in COMPILERS):
        require_programs("gcc")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_unit_and_packet_tests(build, compiler):
    """Warnings are errors; the packet tests run as well."""
    if not shutil.which(compiler):
        pytest.skip(f"{compiler} is not installed")
    tests = run("ctest", "--test-dir", build(compiler), "--output-on-failure", "-j", "2", cwd=CORE)
    assert "packets" in tests and "100% tests passed" in tests


def test_address_and_undefined_behaviour_sanitizers(build, tmp_path):
    compiler = first_with("-fsanitize=address,undefined", tmp_path)
    directory = build(compiler, "-DFIP64_SANITIZE=ON")
    tests = run("ctest", "--test-dir", directory, "--output-on-failure", cwd=CORE)
    assert "fuzz_pool_random" in tests and "100% tests passed" in tests


def test_threads_under_thread_sanitizer(build, tmp_path):
    compiler = first_with("-fsanitize=thread", tmp_path)
    directory = build(compiler, "-DFIP64_TSAN=ON", targets=("test_pool_threads",))
    assert " 0 wrong" in run(directory / "test_pool_threads", 50000, cwd=tmp_path)


@pytest.mark.timeout(180 + 4 * FUZZ_SECONDS)
@pytest.mark.parametrize("harness", ["translate", "pool"])
def test_fuzz(build, tmp_path, harness):
    if not links("clang", "-fsanitize=fuzzer,address,undefined", tmp_path):
        pytest.skip("no clang with libFuzzer (the harness ran over made-up inputs, under sanitizers, above)")
    directory = build("clang", "-DFIP64_FUZZ=ON", "-DFIP64_TESTS=OFF", targets=(f"fuzz_{harness}",))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    said = run(directory / f"fuzz_{harness}", "-max_len=2048", "-seed=64", f"-max_total_time={FUZZ_SECONDS}",
               "-print_final_stats=1", corpus, cwd=tmp_path, timeout=120 + 2 * FUZZ_SECONDS)
    executed = int(said.split("stat::number_of_executed_units:")[1].split()[0])
    assert executed > 1000 and any(corpus.iterdir())
