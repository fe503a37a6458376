//! The raw corpus.
