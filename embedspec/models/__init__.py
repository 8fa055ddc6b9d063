"""Models: from a name in the spec to vectors. Import the modules below directly.

resolve          `use` -> folder, commit, hashes, settings; hub: its part for hub models
folder           what the folder's files say; modules, architecture, folder_files: its parts
weights          safetensors files: which, complete or refused, values; hashing: sha256, remembered
identity         what shapes a vector, as JSON-able data; lock: the committed embedspec.lock
tokenization     texts -> token ids, cut at the window; batching: length-sorted token budgets
encoder          the one interface to every engine; openvino_engine, openvino_bert: the CPU one
canaries         fixed texts that prove an engine; canary_texts: the texts
reduce           cut, renormalise, float16; bad rows
"""
