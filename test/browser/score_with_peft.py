"""Prints the probability of the likeliest class of each text, by transformers and peft: model directory, adapter directory, JSON of texts."""

import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

model_dir, adapter_dir, texts = sys.argv[1:]
torch.manual_seed(0)
base = AutoModelForSequenceClassification.from_pretrained(model_dir, num_labels=2, dtype=torch.float32)
model = PeftModel.from_pretrained(base, adapter_dir).eval()
tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{model_dir}/tokenizer.json")
with torch.no_grad():
    scores = [
        model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1).max().item() for text in json.loads(texts)
    ]
print(json.dumps(scores))
