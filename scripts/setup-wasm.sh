#!/usr/bin/env bash
# Sets up what building crates/wasm needs, when it is missing: a Rust compiler with the wasm32-unknown-unknown target, its standard library with
# atomics for the builds with threads, wasm-pack, and the wasm-bindgen command of exactly the version in Cargo.lock. Says what it is about to install
# before installing it.
#
# The compiler: `rustup target add` and `rustup component add rust-src` where they can download; otherwise, on Debian, the distribution's rustc for the
# web with a standard library built once from its packaged sources. No compiler comes with a standard library with atomics, so that one is always built,
# once. That and the tools (`cargo install`) go to a cache folder, DEFTUNE_CACHE or (in a checkout) .cache/wasm-tools, on CI the user's cache folder.
# What was found is written to .cache/wasm-env.sh, which build-wasm.sh reads; DEFTUNE_WASM_THREADS is there the library with atomics.
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
has_source() { # rustc -> whether it has its standard library's sources
  [ -d "$("$1" --print sysroot)/lib/rustlib/src/rust/library/std" ]
}
find_compiler() {
  if [ "$prefer_debian" = 0 ] && command -v rustc >/dev/null && command -v cargo >/dev/null && has_std rustc && has_source rustc; then
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

# Builds the standard library from the compiler's own sources into FOLDER/std, with the bitcode that link-time optimization needs. Its dependencies come from Debian's vendor folder where there is one.
build_std() { # rustc, cargo, flags, folder
  local folder=$4 vendor
  vendor=$(ls -d "$("$1" --print sysroot)/lib/rustlib/src/rust/library/vendor" 2>/dev/null)
  mkdir -p "$folder/src" "$folder/.cargo" "$folder/std"
  cat >"$folder/Cargo.toml" <<'TOML'
[package]
name = "deftune_scratch"
version = "0.0.0"
edition = "2021"

[lib]
crate-type = ["rlib"]

[workspace]
TOML
  echo 'pub fn one() -> i32 { 1 }' >"$folder/src/lib.rs"
  [ -z "$vendor" ] ||
    printf '[source.crates-io]\nreplace-with = "vendored-std"\n\n[source.vendored-std]\ndirectory = "%s"\n' "$vendor" >"$folder/.cargo/config.toml"
  (cd "$folder" && RUSTC_BOOTSTRAP=1 RUSTC=$1 RUSTFLAGS="-C embed-bitcode=yes $3" limited 900 "$2" build --release --target $target \
    -Zbuild-std=std,panic_abort) >>"$log" 2>&1 || return 1
  find "$folder/target/$target/release/deps" -name 'lib*.rlib' ! -name 'libdeftune_scratch*' -exec cp {} "$folder/std/" \;
}

setup_debian() {
  local missing="rustup could not add $target and rust-src"
  command -v apt-get >/dev/null || unavailable "$missing, and there is no apt-get to install Debian's compiler with."
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null && sudo -n true 2>/dev/null || unavailable "$missing, and installing Debian's compiler needs root."
    as_root=(sudo -n)
  fi
  say "about to install the Debian packages rustc-web cargo-web rust-web-src rust-web-llvm and the matching lld"
  limited 300 "${as_root[@]}" apt-get update -q -o DPkg::Lock::Timeout=300 </dev/null >>"$log" 2>&1 || true
  apt_install rustc-web cargo-web rust-web-src rust-web-llvm || {
    tail_of "$log"
    unavailable "Debian's rustc-web packages could not be installed."
  }
  local llvm scratch
  llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  apt_install "lld-$llvm" || {
    tail_of "$log"
    unavailable "the linker lld-$llvm could not be installed."
  }

  say "about to build the standard library for $target and copy it to $debian_std"
  scratch=$(mktemp -d)
  build_std /usr/bin/rustc /usr/bin/cargo '' "$scratch" || {
    tail_of "$log"
    rm -rf "$scratch"
    unavailable "the standard library for $target did not build."
  }
  "${as_root[@]}" mkdir -p "$debian_std"
  "${as_root[@]}" find "$debian_std" -maxdepth 1 -name 'lib*.rlib' -delete
  "${as_root[@]}" cp "$scratch"/std/lib*.rlib "$debian_std/"
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
    say "about to add the target $target and the component rust-src with rustup"
    limited 300 rustup target add $target </dev/null >>"$log" 2>&1 || say "rustup could not add the target"
    limited 300 rustup component add rust-src </dev/null >>"$log" 2>&1 || say "rustup could not add the component"
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

# --- the standard library with atomics ----------------------------------------------------------------------------------------------------------

rustc=rustc cargo=cargo
[ "$compiler" = debian ] && rustc=/usr/bin/rustc cargo=/usr/bin/cargo
version=$("$rustc" -V | tr -c 'a-zA-Z0-9.\n' -)
find_threads() { threads=$(compgen -G "$tools/threads/$version,*" | head -n 1); }
find_threads
if [ -z "$threads" ]; then
  say "about to build the standard library for $target with atomics into $tools/threads"
  : >"$log"
  scratch=$(mktemp -d)
  build_std "$rustc" "$cargo" '-C target-feature=+atomics,+bulk-memory,+mutable-globals' "$scratch" || {
    tail_of "$log"
    rm -rf "$scratch"
    unavailable "the standard library for $target with atomics did not build."
  }
  # Crates compiled with one build of it do not fit another, so that its checksum is part of its path, and thereby of their flags.
  sum=$(cat "$scratch"/std/*.rlib | cksum | tr ' ' -)
  rm -rf "$tools/threads"
  mkdir -p "$scratch/sysroot/lib/rustlib/$target" "$tools/threads"
  mv "$scratch/std" "$scratch/sysroot/lib/rustlib/$target/lib"
  mv "$scratch/sysroot" "$tools/threads/$version,$sum"
  rm -rf "$scratch"
  find_threads
fi

# --- wasm-pack and wasm-bindgen -----------------------------------------------------------------------------------------------------------------

export PATH="$tools/bin:$PATH"
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
  printf 'export DEFTUNE_WASM_THREADS=%q\n' "$threads"
} >"$env_file.tmp" && mv "$env_file.tmp" "$env_file"

say "ready ($([ "$compiler" = debian ] && /usr/bin/rustc -V || rustc -V), wasm-pack, wasm-bindgen $bindgen_version)"
