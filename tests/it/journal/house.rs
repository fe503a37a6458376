//! Limits, retention and quarantine.
