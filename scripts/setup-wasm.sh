#!/usr/bin/env bash
# Sets up what building crates/wasm needs, when it is missing: a Rust compiler with the wasm32-unknown-unknown target, wasm-pack, and the
# wasm-bindgen command of exactly the version in Cargo.lock. Says what it is about to install before installing it.
#
# The compiler: `rustup target add` where it can download; otherwise, on Debian, the distribution's rustc for the web with a standard library built
# once from its packaged sources. The tools: `cargo install` into a cache folder, DEFTUNE_CACHE or (in a checkout) .cache/wasm-tools, on CI the
# user's cache folder. What was found is written to .cache/wasm-env.sh, which build-wasm.sh reads.
#
# DEFTUNE_WASM_COMPILER=debian asks for Debian's compiler even where rustup has the target.
# Exit codes: 0 ready; 3 the toolchain cannot be had here (one plain line says why).
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=wasm32-unknown-unknown
if [ -n "${DEFTUNE_CACHE:-}" ]; then
  mkdir -p "$DEFTUNE_CACHE" && tools=$(cd "$DEFTUNE_CACHE" && pwd)/wasm-tools
elif [ -n "${CI:-}" ] && [ "${CI:-}" != false ]; then
  tools=${XDG_CACHE_HOME:-$HOME/.cache}/deftune/wasm-tools
else
  tools=$root/.cache/wasm-tools
fi
env_file=$root/.cache/wasm-env.sh
debian_std=/usr/lib/rustlib/$target/lib
stamp=$debian_std/.deftune-std

say() { echo "setup-wasm: $*"; }
unavailable() {
  say "no WASM toolchain: $*"
  exit 3
}
# The last lines of a log, when a step failed.
tail_of() { tail -n 15 "$1" | sed 's/^/  | /'; }
limited() {
  local seconds=$1
  shift
  if command -v timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

# A build of these tools must not see the caller's flags or target folder.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR CARGO_BUILD_TARGET RUSTC RUSTC_WRAPPER RUSTC_BOOTSTRAP CARGO

bindgen_version=${DEFTUNE_WASM_BINDGEN:-}
if [ -z "$bindgen_version" ] && [ -f "$root/Cargo.lock" ]; then
  bindgen_version=$(awk '/^name = "wasm-bindgen"$/ { getline; gsub(/version = |"/, ""); print; exit }' "$root/Cargo.lock")
fi
[ -n "$bindgen_version" ] || unavailable "Cargo.lock names no wasm-bindgen version."

mkdir -p "$root/.cache" "$tools/bin" "$tools/shims" || unavailable "cannot write to $tools."
log=$tools/setup.log
if command -v flock >/dev/null; then
  exec 9>"$tools/lock"
  flock -w 1200 9 || unavailable "another setup has been running for 20 minutes."
fi

# --- the compiler -------------------------------------------------------------------------------------------------------------------------------

has_std() { # rustc -> whether its target folder holds a standard library
  local lib
  lib=$("$1" --print target-libdir --target $target 2>/dev/null) && compgen -G "$lib/libstd-*.rlib" >/dev/null
}
debian_ready() {
  [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(/usr/bin/rustc -V)" ]
}

compiler=
prefer_debian=0
[ "${DEFTUNE_WASM_COMPILER:-}" = debian ] && prefer_debian=1
find_compiler() {
  if [ "$prefer_debian" = 0 ] && command -v rustc >/dev/null && command -v cargo >/dev/null && has_std rustc; then
    compiler=default
  elif debian_ready; then
    compiler=debian
  fi
}

as_root=()
apt_install() {
  limited 900 "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "$@" </dev/null >>"$log" 2>&1
}

setup_debian() {
  command -v apt-get >/dev/null || unavailable "rustup could not add $target, and there is no apt-get to install Debian's compiler with."
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
      unavailable "rustup could not add $target, and installing Debian's compiler needs root."
    as_root=(sudo -n)
  fi
  say "about to install the Debian packages rustc-web cargo-web rust-web-src rust-web-llvm and the matching lld"
  limited 300 "${as_root[@]}" apt-get update -q -o DPkg::Lock::Timeout=300 </dev/null >>"$log" 2>&1 || true
  apt_install rustc-web cargo-web rust-web-src rust-web-llvm || {
    tail_of "$log"
    unavailable "Debian's rustc-web packages could not be installed."
  }
  local llvm
  llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  apt_install "lld-$llvm" || {
    tail_of "$log"
    unavailable "the linker lld-$llvm could not be installed."
  }

  say "about to build the standard library for $target and copy it to $debian_std"
  local scratch vendor
  vendor=$(ls -d /usr/lib/rustlib/src/rust/library/vendor /usr/src/rustc-*/library/vendor 2>/dev/null | head -n 1)
  [ -n "$vendor" ] || unavailable "Debian's sources of the standard library hold no vendor folder."
  scratch=$(mktemp -d)
  mkdir -p "$scratch/src" "$scratch/.cargo"
  cat >"$scratch/Cargo.toml" <<'TOML'
[package]
name = "deftune_scratch"
version = "0.0.0"
edition = "2021"

[lib]
crate-type = ["cdylib"]

[workspace]
TOML
  echo '#[no_mangle] pub extern "C" fn one() -> i32 { 1 }' >"$scratch/src/lib.rs"
  printf '[source.crates-io]\nreplace-with = "vendored-std"\n\n[source.vendored-std]\ndirectory = "%s"\n' "$vendor" >"$scratch/.cargo/config.toml"
  (cd "$scratch" && RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc limited 900 /usr/bin/cargo build --release --target $target \
    -Zbuild-std=std,panic_abort) >>"$log" 2>&1 || {
    tail_of "$log"
    rm -rf "$scratch"
    unavailable "the standard library for $target did not build."
  }
  "${as_root[@]}" mkdir -p "$debian_std"
  "${as_root[@]}" find "$debian_std" -maxdepth 1 -name 'lib*.rlib' -delete
  find "$scratch/target/$target/release/deps" -name 'lib*.rlib' ! -name 'libdeftune_scratch*' -exec "${as_root[@]}" cp {} "$debian_std/" \;
  rm -rf "$scratch"
  /usr/bin/rustc -V | "${as_root[@]}" tee "$stamp" >/dev/null
}

works() { # rustc -> whether it compiles and links a module
  local dir status
  dir=$(mktemp -d)
  echo '#[no_mangle] pub extern "C" fn f(x: f32) -> f32 { vec![x; 3].iter().sum() }' >"$dir/a.rs"
  "$1" --edition 2021 -O --target $target --crate-type cdylib -o "$dir/a.wasm" "$dir/a.rs" >>"$log" 2>&1
  status=$?
  rm -rf "$dir"
  return $status
}

find_compiler
if [ -z "$compiler" ]; then
  : >"$log"
  if [ "$prefer_debian" = 0 ] && command -v rustup >/dev/null; then
    say "about to add the target $target with rustup"
    limited 300 rustup target add $target </dev/null >>"$log" 2>&1 || say "rustup could not add it"
    find_compiler
  fi
  if [ -z "$compiler" ]; then
    setup_debian
    compiler=debian
  fi
  rustc=rustc
  [ "$compiler" = debian ] && rustc=/usr/bin/rustc
  works "$rustc" || {
    tail_of "$log"
    [ "$compiler" = debian ] && "${as_root[@]}" rm -f "$stamp"
    unavailable "the compiler for $target does not link a module."
  }
fi

# --- wasm-pack and wasm-bindgen -----------------------------------------------------------------------------------------------------------------

export PATH="$tools/bin:$PATH"
cargo=cargo
command -v cargo >/dev/null || cargo=/usr/bin/cargo
# With the versions the tool was released with; where the registry at hand lacks one of those, with the newest that fit.
install_tool() { # crate, version ('' for the newest)
  local version=()
  [ -n "$2" ] && version=(--version "$2")
  say "about to install $1${2:+ $2} with cargo into $tools"
  limited 1500 "$cargo" install "$1" "${version[@]}" --locked --force --root "$tools" </dev/null >"$log" 2>&1 && return
  say "that failed with $1's own lockfile; trying again without it"
  limited 1500 "$cargo" install "$1" "${version[@]}" --force --root "$tools" </dev/null >>"$log" 2>&1 && return
  tail_of "$log"
  unavailable "cargo could not install $1."
}
command -v wasm-pack >/dev/null || install_tool wasm-pack ''
[ "$(wasm-bindgen --version 2>/dev/null)" = "wasm-bindgen $bindgen_version" ] || install_tool wasm-bindgen-cli "$bindgen_version"

# Debian's compiler is put before the default one through a folder of two links, so that nothing else in /usr/bin moves to the front.
{
  echo '# Written by scripts/setup-wasm.sh.'
  if [ "$compiler" = debian ]; then
    ln -sfn /usr/bin/rustc "$tools/shims/rustc"
    ln -sfn /usr/bin/cargo "$tools/shims/cargo"
    printf 'export RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo\nexport PATH=%q:%q:"$PATH"\n' "$tools/bin" "$tools/shims"
  else
    printf 'unset RUSTC CARGO\nexport PATH=%q:"$PATH"\n' "$tools/bin"
  fi
} >"$env_file.tmp" && mv "$env_file.tmp" "$env_file"

say "ready ($([ "$compiler" = debian ] && /usr/bin/rustc -V || rustc -V), wasm-pack, wasm-bindgen $bindgen_version)"
