#!/usr/bin/env bash
# Installs what the benches compare with, into .cache/bench-peers of this checkout: a python environment with PyTorch, transformers, peft and
# onnx, and the npm packages onnxruntime-node, onnxruntime-web, the TensorFlow.js WASM backend and playwright-core. About 2 GB.
# Chromium is not installed: `npm run bench:wasm` takes the one of DEFTUNE_CHROMIUM or of PATH (Debian: apt-get install chromium).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
peers=.cache/bench-peers
mkdir -p "$peers"

if [ -n "${DEFTUNE_PYTHON:-}" ]; then
  echo "setup-peers: python: using DEFTUNE_PYTHON ($DEFTUNE_PYTHON)"
else
  echo "setup-peers: python: installing torch, transformers, peft and onnx into $peers/python"
  python3 -m venv "$peers/python"
  "$peers/python/bin/pip" install --quiet 'torch==2.*' transformers peft onnx
fi

echo "setup-peers: npm: installing into $peers/node_modules"
[ -f "$peers/package.json" ] || echo '{ "private": true }' >"$peers/package.json"
npm install --prefix "$peers" --no-audit --no-fund --ignore-scripts --save-exact \
  onnxruntime-node onnxruntime-web @tensorflow/tfjs-core @tensorflow/tfjs-backend-wasm playwright-core
echo "setup-peers: done"
