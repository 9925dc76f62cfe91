"""Settings of the model tests: the transformers library never looks for anything outside this machine."""

import os

# Models are made from configurations; a look outside would be a mistake of ours, and this makes it an error.
os.environ["HF_HUB_OFFLINE"] = "1"
