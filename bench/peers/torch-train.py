"""PyTorch's side of bench:train: a model of transformers with peft's LoRA of rank 8 on query and value.

Arguments: activation, precision (f32 or bf16: CPU autocast), {"model", "inputs", "outputs"} (tokens of each sequence) as JSON, threads. The batch is
padded to its longest sequence.
"""

import json
import sys
import time

import peft
import torch
import transformers

activation, precision, work = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(int(sys.argv[4]))
lengths = work["inputs"]


def bert():
    config = transformers.BertConfig(hidden_act=activation, num_labels=2)
    lora = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")
    return transformers.BertForSequenceClassification(config), lora, torch.arange(len(lengths)) % 2


def t5():
    config = transformers.T5Config(
        d_model=768, d_ff=3072, d_kv=64, num_layers=12, num_heads=12, decoder_start_token_id=0
    )
    lora = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM")
    labels = 3 + torch.arange(len(lengths) * work["outputs"][0]).reshape(len(lengths), -1)
    return transformers.T5ForConditionalGeneration(config), lora, labels


model, lora, labels = {"bert": bert, "t5": t5}[work["model"]]()
vocab_size = model.config.vocab_size
model = peft.get_peft_model(model, lora).train()
parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-4)
longest = max(lengths)
ids = torch.zeros(len(lengths), longest, dtype=torch.long)
mask = torch.zeros(len(lengths), longest, dtype=torch.long)
for row, length in enumerate(lengths):
    ids[row, :length] = torch.arange(length) * 104_729 % vocab_size
    mask[row, :length] = 1


def step():
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    loss.item()
    return time.perf_counter() - start


def memory():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def describe():
    return f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"


COMMANDS = {"step": step, "memory": memory, "describe": describe}
for line in sys.stdin:
    print(COMMANDS[line.strip()](), flush=True)
