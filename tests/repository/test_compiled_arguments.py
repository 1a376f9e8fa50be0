"""None and wrong types, given to all that is public in compiled modules, raise an exception at most: nothing dies.

The processes run with -O, in which `assert` checks nothing, so that none of what is asserted there keeps anybody from
harm: it says what is known.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastws
from fastws.websocket.deflate import Deflater
from fastws.websocket.deflate_backends import load_decompressor
from fastws.websocket.engines import load_engine

pytestmark = pytest.mark.slow

ROOT = Path(fastws.__file__).parent
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
MODULES = sorted(
    ".".join(("fastws", *path.relative_to(ROOT).parts)).removesuffix(SUFFIX) for path in ROOT.rglob(f"*{SUFFIX}")
)


@pytest.mark.skipif(not MODULES, reason="nothing is compiled")
@pytest.mark.parametrize("module", MODULES)
def test_nothing_dies_of_none_and_wrong_types(module: str, tmp_path: Path) -> None:
    path = tmp_path / "last call"
    program = Path(__file__).parents[1] / "support" / "wrong_arguments.py"
    command = [sys.executable, "-O", str(program), module, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, f"{path.read_text().strip()} ended with {done.returncode}: {done.stderr[-2000:]}"


@pytest.mark.skipif("fastws._codec" not in MODULES, reason="the engine is not compiled")
@pytest.mark.parametrize(
    ("kind", "size", "error"),
    [
        ("released", 4, ValueError),
        ("strided", 4, BufferError),
        ("plain", -1, ValueError),
        ("plain", 9, ValueError),
        ("text", 4, TypeError),
        ("none", 4, TypeError),
    ],
)
def test_an_engine_reads_plain_bytes_only_and_no_more_than_there_are(
    kind: str, size: int, error: type[Exception]
) -> None:
    engine = load_engine("cython")(100)
    released = memoryview(bytearray(8))
    released.release()
    plain = memoryview(bytearray(8))
    buffers = {"released": released, "strided": plain[::2], "plain": plain, "text": "8 bytes.", "none": None}
    with pytest.raises(error):
        engine.receive_from(buffers[kind], size)  # type: ignore[arg-type]
    assert engine.receive_data(b"\x82\x81\x00\x00\x00\x00x") == [b"x"]


@pytest.mark.skipif("fastws._codec" not in MODULES, reason="the engine is not compiled")
def test_a_deflater_is_one() -> None:
    engine = load_engine("cython")(100, None, Deflater(threshold=4))
    engine.deflater = object()  # type: ignore[assignment]
    with pytest.raises(TypeError, match="Deflater"):
        engine.send_bytes(b"12345")
    engine.deflater = None
    engine.send_bytes(b"12345")
    assert b"".join(engine.data_to_send()) == b"\x82\x0512345"


def test_a_limit_is_not_negative() -> None:
    decompressor = load_decompressor()
    if decompressor is None:
        pytest.skip("there is none")
    with pytest.raises(ValueError, match="negative"):
        decompressor.message(b"x", 12, -2)
