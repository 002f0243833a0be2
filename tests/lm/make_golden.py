"""Score sentences with the kenlm library (0.3.0, in an environment of its own) and print them as JSON.

    python tests/lm/make_golden.py tests/lm/golden.arpa > tests/lm/golden.json

`golden.arpa` is a pruned 4-gram of 150 random sentences over 12 words, written by `jasper lm build`; that its
probabilities are what Kneser and Ney meant is not tested with it.
"""

import json
import math
import random
import sys

import kenlm

model = kenlm.Model(sys.argv[1])
draw = random.Random(0)
words = [f"w{number}" for number in range(12)] + ["strange"]
sentences = [" ".join(draw.choices(words, k=draw.randint(0, 12))) for _ in range(300)]
json.dump(
    {
        "scores": [[text, model.score(text) * math.log(10)] for text in sentences],
        "open": [[text, model.score(text, eos=False) * math.log(10)] for text in sentences[:50]],
    },
    sys.stdout,
    indent=0,
)
