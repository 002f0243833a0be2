"""Corpora and manifests in, checked utterances and training batches out."""
