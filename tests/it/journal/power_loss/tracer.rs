//! A process and all its threads, run to its end under ptrace: every call that changes files, in the order in which they happened.
//!
//! A thread stops at the entry of a call and at its return, and goes on only when the tracer, which is one thread, has written
//! the stop down. So a call happens between its two events, and of two calls of which one caused the other, the events
//! stand in that order. Numbers come from registers and bytes from memory: there is no text to misread.

use std::collections::HashSet;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::calls::{Entry, Operation};

/// One stop of one thread.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Event {
    Entered {
        thread: i32,
        operation: Operation,
    },
    /// The call that the thread had entered is over. Negative: it did nothing, because of this error, or because a signal
    /// came first and the thread will enter it once more.
    Returned {
        thread: i32,
        result: i64,
    },
}

/// Runs a program to its end: the events, and its exit code. An error when this machine lets no process trace another.
#[expect(clippy::zombie_processes, reason = "`follow` waits for it")]
pub(super) fn trace(program: &Command) -> Result<(Vec<Event>, i32), Errno> {
    // The shell becomes the program when it is told to go on: by then it is traced, and it has one thread.
    let mut gate = Command::new("sh");
    gate.args(["-c", "read -r go && exec \"$@\"", "gate"])
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::piped());
    for (name, value) in program.get_envs() {
        gate.env(name, value.unwrap());
    }
    let mut child = gate.spawn().unwrap();
    let mut go = child.stdin.take().unwrap();
    let process = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let options =
        Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_EXITKILL;
    if let Err(refused) = ptrace::seize(process, options) {
        drop(go);
        child.wait().unwrap();
        return Err(refused);
    }
    ptrace::interrupt(process).unwrap();
    go.write_all(b"go\n").unwrap();
    drop(go);
    let mut events = Vec::new();
    let exit_code = follow(process, &mut events);
    Ok((events, exit_code))
}

/// Follows every thread until the process is over.
fn follow(process: Pid, events: &mut Vec<Event>) -> i32 {
    // Children of this thread alone: other tests wait for theirs.
    let mine = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    // Threads between the entry and the return of a call that is among the events.
    let mut inside = HashSet::new();
    loop {
        match waitpid(None, Some(mine)).unwrap() {
            WaitStatus::Exited(pid, code) if pid == process => return code,
            WaitStatus::Signaled(pid, signal, _) if pid == process => panic!("killed by {signal}"),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => {}
            WaitStatus::PtraceSyscall(thread) => {
                let seen = look(thread, &mut inside);
                let is_gone = !resume(thread, None);
                match seen {
                    Ok(event) => events.extend(event),
                    Err(_) if is_gone => {}
                    Err(error) => panic!("a call of thread {thread}: {error}"),
                }
            }
            WaitStatus::PtraceEvent(thread, ..) => drop(resume(thread, None)),
            WaitStatus::Stopped(thread, signal) => drop(resume(thread, Some(signal))),
            other => panic!("{other:?}"),
        }
    }
}

/// What a thread that stopped at the entry or the return of a call is about.
fn look(thread: Pid, inside: &mut HashSet<i32>) -> io::Result<Option<Event>> {
    let (number, arguments, result) = registers(thread)?;
    let thread_id = thread.as_raw();
    match ptrace::syscall_info(thread)?.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            let entry = Entry {
                thread: thread_id,
                number,
                arguments,
            };
            let operation = entry.operation()?;
            Ok(operation.map(|operation| {
                inside.insert(thread_id);
                Event::Entered {
                    thread: thread_id,
                    operation,
                }
            }))
        }
        libc::PTRACE_SYSCALL_INFO_EXIT if inside.remove(&thread_id) => Ok(Some(Event::Returned {
            thread: thread_id,
            result,
        })),
        _ => Ok(None),
    }
}

/// Number, arguments and, at the return, result of a call.
fn registers(thread: Pid) -> Result<(i64, [u64; 6], i64), Errno> {
    let is = ptrace::getregs(thread)?;
    #[cfg(target_arch = "x86_64")]
    let call = (
        is.orig_rax as i64,
        [is.rdi, is.rsi, is.rdx, is.r10, is.r8, is.r9],
        is.rax as i64,
    );
    #[cfg(target_arch = "aarch64")]
    let call = (
        is.regs[8] as i64,
        std::array::from_fn(|argument| is.regs[argument]),
        is.regs[0] as i64,
    );
    Ok(call)
}

/// Lets a thread go on to its next stop. `false` when it is dead: the process ends, and took it along in the midst of a call.
fn resume(thread: Pid, signal: Option<Signal>) -> bool {
    match ptrace::syscall(thread, signal) {
        Ok(()) => true,
        Err(Errno::ESRCH) => false,
        Err(error) => panic!("thread {thread} does not go on: {error}"),
    }
}
