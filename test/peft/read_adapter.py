"""What transformers and peft make of model directories and adapters: logits of a fixture's batch.

Reads a JSON list of {"model", "expected", "adapter" or null} on stdin, writes a list of {"logits", ...} on stdout.
"""
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()


@torch.no_grad()
def result(job):
    with open(job["expected"]) as f:
        data = json.load(f)
    model = AutoModelForSequenceClassification.from_pretrained(
        job["model"], num_labels=data["numLabels"], attn_implementation="eager"
    ).eval()
    info = {}
    if job["adapter"]:
        model = PeftModel.from_pretrained(model, job["adapter"]).eval()
        config = model.peft_config["default"]
        info = dict(peftType=config.peft_type.value, r=config.r, taskType=config.task_type)
    rows = zip(data["batch"]["inputIds"], data["batch"]["tokenTypeIds"])
    logits = [
        model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).logits[0].tolist()
        for ids, types in rows
    ]
    return dict(info, logits=logits)


json.dump([result(job) for job in json.load(sys.stdin)], sys.stdout)
