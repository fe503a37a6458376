//! What a neighbour on the host, or whoever finds a backup, gets out of the process.

use crate::support::bridge::Home;

#[test]
fn the_process_leaves_no_core_dump() {
    let home = Home::new(&[]);
    let bridge = home.serve();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", bridge.pid())).unwrap();
    let core: Vec<&str> = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(core[..2], ["0", "0"], "{limits}");
}

#[test]
fn a_key_inside_the_journals_directory_is_warned_of() {
    let home = Home::new(&[
        ("JOURNAL__DIR", "data"),
        ("TOKENS__KEY_FILE", "data/token.key"),
    ]);
    let output = home.run(&["check", "--json"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("data/token.key is inside journal.dir"),
        "{said}"
    );
}
