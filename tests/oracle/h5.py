"""h5py opens a run's newest checkpoint: weights, moments and texts are where docs/formats.md says.

    h5.py RUN
"""
import glob
import json
import sys

import h5py
import numpy as np

path = sorted(glob.glob(sys.argv[1] + "/checkpoints/step-*.h5"))[-1]
with h5py.File(path, "r") as f:
    config = json.loads(bytes(f["texts/files/config.json"][:]))
    step = int(f.attrs["step"])
    arrays = {}
    for folder in ("weights", "adam_m", "adam_v"):
        for name, item in f[folder].items():
            arrays[folder + "/" + name] = item
    weights = {name: array for name, array in arrays.items() if name.startswith("weights/")}
    embed = f["weights/model.embed_tokens.weight"]
    assert embed.shape == (config["vocab_size"], config["hidden_size"]), embed.shape
    assert embed.dtype == np.float32
    for name, array in weights.items():
        assert np.isfinite(array[:]).all(), name
        assert name.replace("weights/", "adam_v/") in arrays, name
        assert (arrays[name.replace("weights/", "adam_v/")][:] >= 0).all(), name
print("%s: step %d, %d arrays of weights" % (path, step, len(weights)))
