"""Builds the compiled modules, all of them or none; everything else about the package is in pyproject.toml.

Compiled are each `fastws/**/X.pyx`, and each `X.py` with an augmenting `X.pxd` beside it. The latter are plain
Python that Cython translates: the same file is installed too, and runs interpreted where the module was not
built. No other line of code knows of this, since Python looks for `X.*.so` before `X.py`.

FASTWS_EXTENSION says what to do about them:

- ``auto`` (the default on CPython): build them; where that fails (no compiler, no Python headers, no Cython, a compiler
  that refuses) say so in one line and install without them.
- ``yes``: build them, and fail where that fails.
- ``no`` (the default elsewhere): build none. Needs no Cython.

FASTWS_CFLAGS are flags for the compiler and the linker behind ours, such as sanitizers.
"""

from __future__ import annotations

import os
import shlex
import sys
import sysconfig
import textwrap
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.editable_wheel import editable_wheel
from setuptools.errors import CompileError

# PyPy's own compiler does better with the Python text than its emulation of CPython does with C.
DEFAULT = "auto" if sys.implementation.name == "cpython" else "no"
MODE = os.environ.get("FASTWS_EXTENSION") or DEFAULT
if MODE not in ("auto", "yes", "no"):
    sys.exit(f"Error: FASTWS_EXTENSION: must be one of auto, yes, no, not {MODE!r}")

SUFFIX: str = sysconfig.get_config_var("EXT_SUFFIX")  # of this interpreter: what another one built is not ours
PACKAGE = Path("fastws")
GENERATED = Path("build", "cython")  # C
MORE_FLAGS = shlex.split(os.environ.get("FASTWS_CFLAGS", ""))
NEAR_CALLS = ["-fno-plt"] if sys.platform == "linux" else []  # without a jump through a table of libpython's functions
C_FLAGS = ["-O3", "-g0", *NEAR_CALLS, f"-ffile-prefix-map={Path.cwd()}=.", *MORE_FLAGS]
# For `fastws --version`, as a text in C; what has a path stays out of the compiled code.
TOLD = [flag for flag in C_FLAGS if not set(flag) & set('/\\"')]
C_FLAGS.append(f'-DFASTWS_FLAGS="{" ".join(TOLD)}"')


def extensions() -> list[Extension]:
    """One extension a compiled module, with its Cython source."""
    sources = {path.with_suffix(""): path for path in PACKAGE.rglob("*.pyx")}
    for path in PACKAGE.rglob("*.pxd"):
        if path.with_suffix(".py").exists():
            sources.setdefault(path.with_suffix(""), path.with_suffix(".py"))
    if sys.platform != "linux":
        for module in ("_poller", "_writing", "_transport", "_tls_transport", "_sockets"):
            del sources[PACKAGE / "net" / module]  # needs epoll
        del sources[PACKAGE / "websocket" / "_zlib"]  # the library has another name
    headers = [path.as_posix() for path in sorted(PACKAGE.rglob("*.h"))]
    return [
        Extension(".".join(module.parts), [source.as_posix()], include_dirs=[PACKAGE.as_posix()], depends=headers)
        for module, source in sorted(sources.items())
    ]


def remove_compiled(root: Path, keep: set[str]) -> None:
    """Remove from the tree at `root` our compiled modules that are not named in `keep`: they would win over the .py."""
    for path in (root / PACKAGE).rglob(f"*{SUFFIX}"):
        if ".".join(path.relative_to(root).parts).removesuffix(SUFFIX) not in keep:
            path.unlink()


class BuildExtensions(build_ext):
    """`build_ext` that ends with every extension or, unless they are required, with none."""

    def run(self) -> None:
        if MODE == "no":
            self.extensions = []
        targets = [Path(self.build_lib), *([Path()] if self.inplace else [])]
        for target in targets:
            remove_compiled(target, keep={extension.name for extension in self.extensions})
        try:
            self.build_all()
        except Exception as error:
            for target in targets:
                remove_compiled(target, keep=set())
            reason = textwrap.shorten(f"{type(error).__name__}: {error}", 160, placeholder=" ...")
            if MODE == "yes":
                raise CompileError(f"FASTWS_EXTENSION=yes, but the extensions cannot be built: {reason}") from error
            self.extensions = []
            print(
                f"fastws: WARNING: the extensions cannot be built ({reason}); installing without them. fastws "
                "will work, slower, on the 'websockets' engine. FASTWS_EXTENSION=yes makes this an error.",
                file=sys.stderr,
            )

    def build_all(self) -> None:
        if self.extensions:
            # Only here, not when setup.py is read: other commands need no Cython, and the sdist no generated C.
            from Cython.Build import cythonize

            # Cython looks at the sources only: what an earlier form of this file has made may not be what is asked for.
            made = [GENERATED / Path(extension.sources[0]).with_suffix(".c") for extension in self.extensions]
            ours_since = Path(__file__).stat().st_mtime
            old = any(path.exists() and path.stat().st_mtime < ours_since for path in made)
            ours = {extension.name: extension for extension in self.extensions}
            for each in cythonize(
                self.extensions,
                build_dir=str(GENERATED),
                force=True if old else None,
                language_level=3,
                # C types stand in the .pxd alone: the annotations are Python's, where `int` has no bounds. What has the
                # type of a compiled class may be None, which is then an AttributeError, as it is interpreted. Without
                # that check are the modules that a message goes through several times; they say so in their first line.
                compiler_directives={"annotation_typing": False, "nonecheck": True},
            ):
                # A new object, without what `finalize_options` added to ours and with `optional` dropped. None of
                # ours is optional: one that fails must fail the others.
                vars(ours[each.name]).update(vars(each), optional=False)
        self.parallel = self.parallel or os.cpu_count()
        super().run()

    def build_extensions(self) -> None:
        if self.compiler.compiler_type == "unix":
            for extension in self.extensions:
                extension.extra_compile_args = [*extension.extra_compile_args, *C_FLAGS]
                extension.extra_link_args = [*extension.extra_link_args, *MORE_FLAGS]
            # Python's own way to libpython, on the machine that builds: of no use to modules that need libc alone.
            linker = [flag for flag in self.compiler.linker_so if not flag.startswith("-Wl,-rpath,")]
            self.compiler.set_executables(linker_so=linker)
        super().build_extensions()


class EditableWheel(editable_wheel):
    """`pip install -e .`, which without extensions does not run `build_ext`: remove what an earlier one left."""

    def run(self) -> None:
        if MODE == "no":
            remove_compiled(Path(), keep=set())
        super().run()


setup(
    ext_modules=[] if MODE == "no" else extensions(),
    cmdclass={"build_ext": BuildExtensions, "editable_wheel": EditableWheel},
)
