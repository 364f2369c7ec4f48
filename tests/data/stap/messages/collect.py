"""Records what stap says about each mistake, a file for each: how the tests' inputs were made.

In: a stap with a kernel's headers and debuginfo, named on the command line. Out: NAME.txt beside this file: lines of
`# key: value` that say where it comes from, an empty line, and stderr as it was. Nothing here is run by the tests.

    python3 collect.py --release 6.1.0-56-cloud-amd64 --debuginfo DIR/usr/lib/debug --runtime PATCHED [NAME…]

Those called run-… come from guests of that kernel, by the commands and scripts in their heads.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# name: the arguments, and what is left out (of the command, the environment, the user's rights) to make the mistake.
CASES: dict[str, tuple[list[str], set[str]]] = {
    "unknown-function": (["-p2", "-e", 'probe kernel.function("vfs_raed") {}'], set()),
    "two-unknown-functions": (
        ["-p2", "-e", 'probe kernel.function("vfs_raed") {} probe kernel.function("vfs_wriet").return {}'],
        set(),
    ),
    "no-near-function": (["-p2", "-e", 'probe kernel.function("qqqqqqqqqqqqqqqqqqqq") {}'], set()),
    "unknown-kprobe-function": (["-p2", "-e", 'probe kprobe.function("vfs_raed") {}'], set()),
    "unknown-probe-kind": (["-p2", "-e", 'probe kernel.functoin("vfs_read") {}'], set()),
    "unknown-variable": (["-p2", "-e", 'probe kernel.function("vfs_read") { println($cuont) }'], set()),
    "unknown-member": (["-p2", "-e", 'probe kernel.function("vfs_read") { println($file->f_pahth) }'], set()),
    "unknown-script-function": (["-p2", "-e", "probe begin { printl(1) }"], set()),
    "unknown-module": (["-p2", "-e", 'probe module("nosuchmod").function("f") {}'], set()),
    "unknown-program": (["-p2", "-e", 'probe process("/no/such/program").function("main") {}'], set()),
    "parse-error": (["-p2", "-e", "probe begin { println(1 }"], set()),
    "type-mismatch": (["-p2", "-e", 'global t\nprobe begin { t["a"] = 1; t[1] = 2 }'], set()),
    "needs-guru": (["-p2", "-e", "function f:long() %{ STAP_RETURN(1); %}\nprobe begin { println(f()) }"], set()),
    "unread-variable": (["-p2", "-e", "global unused\nprobe begin { unused = 1 }"], set()),
    "no-headers": (["-p2", "-r", "6.1.0-99-cloud-amd64", "-e", "probe begin {}"], {"release"}),
    "no-debuginfo": (["-p2", "-e", 'probe kernel.function("vfs_read") {}'], {"debuginfo"}),
    "no-debuginfo-for-a-variable": (["-p2", "-e", 'probe kprobe.function("vfs_read") { println($count) }'], set()),
    "runtime-does-not-compile": (["-p4", "-e", "probe begin { exit() }"], {"runtime"}),
    "define-does-not-compile": (["-p4", "-DMAXACTION=%", "-e", "probe begin { exit() }"], set()),
    "unknown-option": (["--no-such-option"], set()),
    "no-such-script": (["-p2", "/no/such/script.stp"], set()),
    "empty-script": (["-p2", "-e", ""], set()),
    "no-compiler": (["-p4", "-e", 'probe begin { println("x"); exit() }'], {"PATH"}),
    "not-root": (["-e", "probe begin { exit() }"], {"root"}),
    "not-root-staprun": (["staprun", "/no/such/module.ko"], {"root"}),
    "staprun-no-module": (["staprun", "/no/such/module.ko"], set()),
    "staprun-no-such-module-to-unload": (["staprun", "-d", "no_such_module"], set()),
    "wildcard": (["-p2", "-e", 'probe kernel.function("vfs_raed*") {}'], set()),
    "optional": (["-p2", "-e", 'probe kernel.function("vfs_raed") ? {} probe begin {}'], set()),
    "untraceable": (["-p4", "-e", 'probe kernel.function("__fentry__") {}'], set()),
    "wrong-arity": (["-p2", "-e", 'probe kernel.function("vfs_read") { println(kernel_string_n(1)) }'], set()),
    "blocklisted": (["-p2", "-e", 'probe kernel.function("_raw_spin_lock") {}'], set()),
    "inlined-return": (["-p2", "-e", 'probe kernel.function("kmalloc").return {}'], set()),
}


def command(name: str, options: argparse.Namespace, home: str) -> tuple[list[str], dict[str, str]]:
    """The argument list and the environment of one case."""
    words, without = CASES[name]
    environment = {**os.environ, "SYSTEMTAP_DIR": home, "LC_ALL": "C", "TERM": "dumb"}
    if words[0] == "staprun":
        line = list(words)
    else:
        line = ["stap", "-v", *([] if "release" in without else ["-r", options.release]), *words]
    if "debuginfo" not in without:
        environment["SYSTEMTAP_DEBUGINFO_PATH"] = "+" + options.debuginfo
    if "runtime" not in without:
        environment["SYSTEMTAP_RUNTIME"] = options.runtime
    if "PATH" in without:
        alone = Path(home) / "bin"
        alone.mkdir()
        (alone / "stap").symlink_to("/usr/bin/stap")
        environment["PATH"] = str(alone)
    if "root" in without:
        Path(home).chmod(0o777)
        line = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *line]
    return line, environment


def record(name: str, options: argparse.Namespace) -> None:
    """Runs one case and writes its file."""
    with tempfile.TemporaryDirectory() as home:
        line, environment = command(name, options, home)
        ended = subprocess.run(line, env=environment, capture_output=True, stdin=subprocess.DEVNULL, timeout=600)
        said = ended.stderr.decode().replace(home, "/home/user/.systemtap").replace(options.runtime, "/runtime")
    head = f"# command: {shlex.join(line)}\n# exit: {ended.returncode}\n# stap: 4.8, Debian 12\n"
    (HERE / f"{name}.txt").write_text(f"{head}\n{said}")
    print(name, ended.returncode, flush=True)


def main() -> None:
    """Records the named cases, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--release", required=True)
    parser.add_argument("--debuginfo", required=True)
    parser.add_argument("--runtime", required=True)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for name in options.names or CASES:
        record(name, options)


if __name__ == "__main__":
    main()
