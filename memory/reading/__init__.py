"""What a language model draws from documents, beside what rules do: Graphiti's `add_episode`, in the background.

`queue.py` holds which chunk is still to be read, `reader.py` reads them one after the other, `client.py` is the model
as Graphiti asks it, `admission.py` lets in what the chunk states (`entailment.py`) and sets the rest apart
(`quarantine.py`), `estimate.py` says beforehand what it will cost.
"""
