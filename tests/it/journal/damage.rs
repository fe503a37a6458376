//! Damage is found, never skipped.
