"""Builds the compiled modules; which ones, and what happens where they cannot be built."""

from __future__ import annotations

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

MODULES = ["fastws/_codec.pyx", *(str(p.with_suffix(".py")) for p in sorted(Path("fastws").rglob("*.pxd")))]

setup(
    ext_modules=cythonize(
        [
            Extension(Path(m).with_suffix("").as_posix().replace("/", "."), [m], extra_compile_args=["-O3"])
            for m in MODULES
            if Path(m).exists()
        ],
        language_level=3,
    )
)
