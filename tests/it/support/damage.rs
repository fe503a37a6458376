//! Damage to files.

use std::os::unix::fs::FileExt;
use std::path::Path;

/// Overwrites every copy: SQLite leaves old ones in the unused parts of its pages.
pub(crate) fn overwrite(file: &Path, old: &[u8], new: &[u8]) {
    let bytes = std::fs::read(file).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    let copies = bytes
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| *window == old);
    let mut count = 0;
    for (at, _) in copies {
        file.write_all_at(new, at as u64).unwrap();
        count += 1;
    }
    assert!(count > 0, "nothing to damage");
}
