# SPDX-License-Identifier: MIT
"""install.py ROOT BUILD - an installed weir can be used, by C and C++, shared and static.

BUILD was configured with a prefix of its own, which is emptied and filled anew.
"""

import glob
import json
import os
import shutil
import subprocess
import tempfile

import tree

PROGRAM = """
#include <weir.h>
#include <stdio.h>

int main(void)
{
	return puts(weir_version()) < 0;
}
"""


def prefix_of(build):
    out = subprocess.run(["meson", "introspect", "--buildoptions", build], check=True,
                         stdout=subprocess.PIPE).stdout
    return next(o["value"] for o in json.loads(out) if o["name"] == "prefix")


def pkg_config(pc, *args):
    env = dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(pc))
    return subprocess.run(["pkg-config", *args, "weir"], check=True, text=True, env=env,
                          stdout=subprocess.PIPE).stdout.split()


def links(pc):
    """(how, flags): with the shared library, and with the archive alone."""
    libdir = os.path.dirname(os.path.dirname(pc))
    yield "shared", pkg_config(pc, "--libs")
    archive = os.path.join(libdir, "libweir.a")
    yield "static", [archive if f == "-lweir" else f
                     for f in pkg_config(pc, "--static", "--libs")]


def build_and_run(pc, work, compiler, suffix, how, flags):
    source, program = os.path.join(work, "use." + suffix), os.path.join(work, "use")
    with open(source, "w", encoding="utf-8") as f:
        f.write(PROGRAM)
    command = [*compiler, "-Wall", "-Wextra", "-Werror", "-pedantic-errors",
               *pkg_config(pc, "--cflags"), source, "-o", program, *flags]
    made = subprocess.run(command, text=True, stderr=subprocess.PIPE)
    if made.returncode:
        return f"{suffix}, {how}: does not build:\n{' '.join(command)}\n{made.stderr}"
    libdir = os.path.dirname(os.path.dirname(pc)) if how == "shared" else "/nonexistent"
    ran = subprocess.run([program], text=True, env=dict(os.environ, LD_LIBRARY_PATH=libdir),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    version = pkg_config(pc, "--modversion")[0]
    if ran.returncode or ran.stdout.strip() != version:
        return f"{suffix}, {how}: exit code {ran.returncode}, not {version}: {ran.stdout}"
    return None


def check(_, build):
    prefix = prefix_of(build)
    if not prefix.startswith(os.path.abspath(build) + "/"):
        yield f"{build}: its prefix {prefix} is not inside it"
        return
    shutil.rmtree(prefix, ignore_errors=True)
    done = subprocess.run(["meson", "install", "-C", build, "--no-rebuild"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        yield f"meson install failed:\n{done.stdout}"
        return
    pcs = glob.glob(prefix + "/**/weir.pc", recursive=True)
    if len(pcs) != 1:
        yield f"weir.pc was installed {len(pcs)} times"
        return
    with tempfile.TemporaryDirectory() as work:
        for compiler, suffix in ((["gcc", "-std=c11"], "c"), (["g++", "-std=c++11"], "cc")):
            for how, flags in links(pcs[0]):
                complaint = build_and_run(pcs[0], work, compiler, suffix, how, flags)
                if complaint:
                    yield complaint


if __name__ == "__main__":
    tree.main(check)
