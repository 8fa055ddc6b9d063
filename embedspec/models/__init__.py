"""Models: from a name in the spec to vectors. Import the modules below directly.

resolve       `use` -> folder, commit, hashes, settings      (hub, folder, hashing: its parts)
identity      what shapes a vector, as JSON-able data         lock: the committed embedspec.lock
tokenization  texts -> token ids, cut at the window           batching: length-sorted token budgets
encoder       the one interface to every engine               openvino_engine, openvino_bert: the CPU one
canaries      64 fixed texts that prove an engine             reduce: cut, renormalise, float16
"""
