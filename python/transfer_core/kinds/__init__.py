"""The kinds of transfer as numeric methods on embeddings: arrays in, arrays out, numpy alone.

Instance-based methods weight source examples (`kmm`, `kliep`, `ulsif`, `discriminator`, `tradaboost`),
feature-based ones map both domains into a common space (`coral`, `subspace`, `tca`, `optimal_transport`),
`label_shift` estimates changed shares of classes, `domain_distance` and `mmd` measure how far two domains are
apart, and `selection` compares methods without labels of the target domain.
"""
