#!/usr/bin/env bash
# Builds crates/wasm for WASM with 128-bit SIMD (wasm/simd128) and with relaxed SIMD as well (wasm/relaxed), each also with threads
# (wasm/simd128-threads, wasm/relaxed-threads), and prints the sizes.
# Needs what setup-wasm.sh sets up, and runs it when it has not run yet (exit 3 as there when the toolchain cannot be had).
# Does nothing where the output is newer than the sources; `--force` builds regardless.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
say() { echo "build-wasm: $*"; }
force=
[ "${1:-}" = --force ] && force=1

if [ ! -f crates/wasm/Cargo.toml ]; then
  say "there is no crates/wasm here, so nothing to build"
  exit 0
fi

module=$(sed -n '/^\[package\]/,/^\[lib\]\|^\[dep/s/^name *= *"\(.*\)"/\1/p' crates/wasm/Cargo.toml | head -n 1 | tr - _)
sources=(crates/wasm crates/core Cargo.toml scripts/build-wasm.sh scripts/inline-wasm.mjs)
[ -f Cargo.lock ] && sources+=(Cargo.lock)

is_fresh() { # folder
  local stamp=.cache/wasm-built-$1
  [ -z "$force" ] && [ -f "$stamp" ] && [ -f "wasm/$1/${module}_bg.wasm" ] && [ -f "wasm/$1/$module.js" ] &&
    [ -z "$(find "${sources[@]}" -type f ! -path '*/target/*' ! -path '*/pkg/*' -newer "$stamp" -print -quit)" ]
}

print_size() { # folder
  local file=wasm/$1/${module}_bg.wasm
  say "$file: $(wc -c <"$file" | tr -d ' ') bytes, $(gzip -9 -c "$file" | wc -c | tr -d ' ') gzipped"
}

folders=(simd128 relaxed simd128-threads relaxed-threads)
up_to_date=1
for folder in "${folders[@]}"; do is_fresh "$folder" || up_to_date=; done
if [ -n "$up_to_date" ]; then
  say "up to date"
  for folder in "${folders[@]}"; do print_size "$folder"; done
  exit 0
fi

"$root/scripts/setup-wasm.sh" || exit $?
# shellcheck disable=SC1091
. "$root/.cache/wasm-env.sh"
unset CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET
# Another compiler may be at work here than in target/: they would rebuild each other's crates.
export CARGO_TARGET_DIR=$root/target-wasm

wasm_opt=node_modules/.bin/wasm-opt
[ -x "$wasm_opt" ] || say "note: the npm package binaryen is not installed, so the modules are not run through wasm-opt"

build() { # folder, rustc's flags, wasm-opt's flags
  local folder=$1 flags=$2 started log
  shift 2
  if is_fresh "$folder"; then
    say "wasm/$folder is up to date"
    print_size "$folder"
    return
  fi
  started=$(date +%s)
  log=.cache/wasm-build-$folder.log
  touch ".cache/wasm-built-$folder.new"
  # wasm-opt is run below, from binaryen's npm package: wasm-pack would download its own. `--no-pack`: these folders are part of this package.
  if ! RUSTFLAGS=$flags wasm-pack build crates/wasm --target web --release --no-opt --no-pack \
    --out-dir "$root/wasm/$folder" --out-name "$module" </dev/null >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    say "building wasm/$folder failed"
    return 1
  fi
  # wasm-pack's .gitignore would keep the folder out of the npm package.
  rm -f "wasm/$folder/.gitignore" "wasm/$folder/package.json"
  if [ -x "$wasm_opt" ]; then
    local file=wasm/$folder/${module}_bg.wasm
    "$wasm_opt" -O3 --enable-simd --enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals \
      --enable-reference-types --enable-multivalue "$@" "$file" -o "$file.opt"
    mv "$file.opt" "$file"
  fi
  # Without threads a bundle runs everywhere; so only that build is worth its size there.
  [[ $folder = *-threads ]] || node scripts/inline-wasm.mjs "wasm/$folder/${module}_bg.wasm"
  mv ".cache/wasm-built-$folder.new" ".cache/wasm-built-$folder"
  say "built wasm/$folder in $(($(date +%s) - started)) s"
  print_size "$folder"
}

mkdir -p .cache wasm
build simd128 "-C target-feature=+simd128"
build relaxed "-C target-feature=+simd128,+relaxed-simd" --enable-relaxed-simd
# A memory of at most 4 GB, made by the host and shared; the exports are what wasm-bindgen makes each thread's stack and variables with.
threads="-C target-feature=+atomics,+bulk-memory,+mutable-globals --sysroot=$DEFTUNE_WASM_THREADS"
threads+=" -C link-arg=--shared-memory -C link-arg=--import-memory -C link-arg=--max-memory=4294967296"
for symbol in __wasm_init_tls __tls_size __tls_align __tls_base; do threads+=" -C link-arg=--export=$symbol"; done
build simd128-threads "-C target-feature=+simd128 $threads" --enable-threads
build relaxed-threads "-C target-feature=+simd128,+relaxed-simd $threads" --enable-threads --enable-relaxed-simd
