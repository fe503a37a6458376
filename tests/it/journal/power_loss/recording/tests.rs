use super::*;

/// The descriptor of the journal's file in these tests.
const FILE: Descriptor = 5;

fn entered(thread: i32, operation: Operation) -> Event {
    Event::Entered { thread, operation }
}

fn returned(thread: i32, result: i64) -> Event {
    Event::Returned { thread, result }
}

fn open(path: &str) -> Operation {
    Operation::Open {
        path: PathBuf::from(path),
        flags: libc::O_RDWR,
    }
}

fn write(descriptor: Descriptor, bytes: &[u8]) -> Operation {
    Operation::Write {
        descriptor,
        at: 0,
        bytes: bytes.to_vec(),
    }
}

/// A process that opened its journal's file, and then did this.
fn recording(events: impl IntoIterator<Item = Event>) -> Recording {
    let opened = [
        entered(1, open("/test/journal/file")),
        returned(1, i64::from(FILE)),
    ];
    let events: Vec<Event> = opened.into_iter().chain(events).collect();
    Recording::of(Path::new("/test"), &events)
}

/// The bytes written, each with whether a sync covered them.
fn writes(recording: &Recording) -> Vec<(&[u8], bool)> {
    let changes = recording.changes.iter();
    changes
        .filter_map(|timed| match &timed.change {
            Change::Write { bytes, .. } => Some((&bytes[..], timed.durable_from.is_some())),
            _ => None,
        })
        .collect()
}

#[test]
fn a_call_is_what_it_did_and_not_what_it_asked_for() {
    let recording = recording([entered(1, write(FILE, b"long")), returned(1, 2)]);
    assert_eq!(writes(&recording), [(&b"lo"[..], false)]);
}

#[test]
fn a_call_that_a_signal_interrupted_counts_when_it_is_entered_again() {
    let restart = -512; // ERESTARTSYS
    let recording = recording([
        entered(1, write(FILE, b"once")),
        returned(1, restart),
        entered(1, write(FILE, b"once")),
        returned(1, 4),
    ]);
    assert_eq!(writes(&recording), [(&b"once"[..], false)]);
}

#[test]
fn a_call_that_never_returned_and_one_that_failed_change_nothing() {
    let recording = recording([
        entered(1, write(FILE, b"failed")),
        returned(1, -i64::from(libc::ENOSPC)),
        entered(1, write(FILE, b"unfinished")),
    ]);
    assert_eq!(writes(&recording), []);
}

#[test]
fn a_sync_covers_what_had_returned_before_it_was_entered() {
    let recording = recording([
        entered(1, write(FILE, b"before")),
        returned(1, 6),
        entered(1, write(FILE, b"beside")),
        entered(2, Operation::Sync(FILE)),
        returned(1, 6),
        returned(2, 0),
    ]);
    assert_eq!(
        writes(&recording),
        [(&b"before"[..], true), (&b"beside"[..], false)]
    );
    assert_eq!(recording.syncs, 1);
}

#[test]
fn a_sync_that_failed_covers_nothing() {
    let recording = recording([
        entered(1, write(FILE, b"x")),
        returned(1, 1),
        entered(1, Operation::Sync(FILE)),
        returned(1, -i64::from(libc::EIO)),
    ]);
    assert_eq!(writes(&recording), [(&b"x"[..], false)]);
}

#[test]
fn a_descriptor_stands_for_nothing_from_the_entry_of_its_close() {
    let recording = recording([
        entered(1, Operation::Close(FILE)),
        entered(2, open("/test/elsewhere")),
        returned(2, i64::from(FILE)),
        returned(1, 0),
        entered(2, write(FILE, b"elsewhere")),
        returned(2, 9),
    ]);
    assert_eq!(writes(&recording), []);
}

#[test]
fn an_acknowledgement_counts_from_the_entry_of_its_note() {
    let acks = FILE + 1;
    let recording = recording([
        entered(1, open("/test/acks")),
        returned(1, i64::from(acks)),
        entered(1, write(acks, b"acked 3 7\n")),
        entered(2, Operation::Sync(FILE)),
        returned(1, 10),
    ]);
    assert_eq!(recording.acked, [(4, (3, 7))]);
}

#[test]
#[should_panic(expected = "copy_file_range")]
fn a_call_that_the_recording_does_not_know_is_not_passed_over() {
    recording([
        entered(
            1,
            Operation::Other {
                name: "copy_file_range".into(),
                descriptors: vec![FILE],
                paths: vec![],
            },
        ),
        returned(1, 1),
    ]);
}
