//! Seals events into records.
