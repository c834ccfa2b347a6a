"""Writes a BERT-base-shaped classifier with random weights as ONNX, for bench:infer. Argument: the file to write."""

import sys

import torch
import transformers

config = transformers.BertConfig(num_labels=2, attn_implementation="eager")
model = transformers.BertForSequenceClassification(config).eval()


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.model(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


ids = torch.ones(1, 25, dtype=torch.long)
names = ["input_ids", "attention_mask", "token_type_ids"]
torch.onnx.export(
    Classifier(),
    (ids, ids, torch.zeros_like(ids)),
    sys.argv[1],
    input_names=names,
    output_names=["logits"],
    dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names},
    opset_version=17,
    dynamo=False,
)
