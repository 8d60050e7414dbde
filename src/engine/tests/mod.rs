//! Proofs of the engine's laws, on the memory store.
