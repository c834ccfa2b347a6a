"""PyTorch's side of `npm run bench`: reads one work a line, answers its best seconds (see crates/core/benches/kernels/main.rs)."""

import sys
import time

import torch

BATCHES = 5
SHORTEST = 0.004


def best(work):
    """Best seconds of one call, as the Rust side measures it."""
    work()
    start = time.perf_counter()
    work()
    repeats = max(1, int(SHORTEST / max(time.perf_counter() - start, 1e-7) + 1))
    seconds = float("inf")
    for _ in range(BATCHES):
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        seconds = min(seconds, (time.perf_counter() - start) / repeats)
    return seconds


def dtype(name):
    return {"f32": torch.float32, "bf16": torch.bfloat16}[name]


def matmul(m, k, n, threads, precision):
    torch.set_num_threads(int(threads))
    weight = torch.rand(int(n), int(k)).sub(0.5).to(dtype(precision))
    x = torch.rand(int(m), int(k)).sub(0.5).to(dtype(precision))
    return lambda: torch.nn.functional.linear(x, weight)


def at_b(p, q, rows, threads):
    torch.set_num_threads(int(threads))
    a, b = torch.rand(int(rows), int(p)).sub(0.5), torch.rand(int(rows), int(q)).sub(0.5)
    return lambda: a.t() @ b


def mlp(threads, precision):
    torch.set_num_threads(int(threads))
    x = torch.rand(800, 768).sub(0.5).to(dtype(precision)).requires_grad_()
    up = torch.rand(3072, 768).sub(0.5).to(dtype(precision))
    down = torch.rand(768, 3072).sub(0.5).to(dtype(precision))
    bias = torch.zeros(3072, dtype=dtype(precision))
    dy = torch.rand(800, 768).to(dtype(precision))

    def step():
        with torch.enable_grad():
            y = torch.nn.functional.linear(torch.relu(torch.nn.functional.linear(x, up, bias)), down)
            torch.autograd.grad(y, x, dy)

    return step


WORKS = {"matmul": matmul, "at-b": at_b, "mlp": mlp}


def main():
    prepared = {}
    with torch.no_grad():
        for line in sys.stdin:
            words = line.split()
            if words[0] == "describe":
                answer = f"torch {torch.__version__}"
            elif words[0] == "forget":
                prepared.clear()
                answer = "0"
            else:
                work = prepared.get(line)
                if work is None:
                    work = prepared[line] = WORKS[words[0]](*words[1:])
                # The number of threads is the process's, not the work's.
                torch.set_num_threads(int(words[{"matmul": 4, "at-b": 4, "mlp": 1}[words[0]]]))
                answer = str(best(work))
            print(answer, flush=True)


main()
