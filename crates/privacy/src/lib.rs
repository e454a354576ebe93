//! Hide a model and its activations: the equivariant rewrite under a deployment key.
