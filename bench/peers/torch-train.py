"""PyTorch's side of bench:train: a model of transformers with peft's LoRA of rank 8 on query and value.

Arguments: activation, precision (f32 or bf16: CPU autocast), {"model", "batches": [{"inputs", "outputs"}]} (tokens of each sequence) as JSON, threads.
Each batch is padded to its longest sequence.
"""

import json
import sys
import time

import peft
import torch
import transformers

activation, precision, work = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
torch.set_num_threads(int(sys.argv[4]))


def bert():
    config = transformers.BertConfig(hidden_act=activation, num_labels=2)
    lora = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["query", "value"], task_type="SEQ_CLS")
    return transformers.BertForSequenceClassification(config), lora, lambda batch: torch.arange(len(batch["inputs"])) % 2


def t5():
    config = transformers.T5Config(
        d_model=768, d_ff=3072, d_kv=64, num_layers=12, num_heads=12, decoder_start_token_id=0
    )
    lora = peft.LoraConfig(r=8, lora_alpha=16, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM")

    def labels(batch):
        outputs = batch["outputs"]
        return 3 + torch.arange(len(outputs) * outputs[0]).reshape(len(outputs), -1)

    return transformers.T5ForConditionalGeneration(config), lora, labels


model, lora, labels_of = {"bert": bert, "t5": t5}[work["model"]]()
vocab_size = model.config.vocab_size
model = peft.get_peft_model(model, lora).train()
parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-4)


def padded(batch):
    lengths = batch["inputs"]
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(length) * 104_729 % vocab_size
        mask[row, :length] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels_of(batch)}


batches = [padded(batch) for batch in work["batches"]]


def step():
    """Seconds of an optimizer step, the mean over the batches."""
    start = time.perf_counter()
    for batch in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
    return (time.perf_counter() - start) / len(batches)


def memory():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def describe():
    return f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"


COMMANDS = {"step": step, "memory": memory, "describe": describe}
for line in sys.stdin:
    print(COMMANDS[line.strip()](), flush=True)
