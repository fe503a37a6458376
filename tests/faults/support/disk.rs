//! A disk that fills, fails, slows down, or loses what was not synced.
//!
//! [`LoopDisk`] is a small ext4 on a loop device: it fills for real, and [`LoopDisk::lose_power`] shuts the file system
//! down without flushing (`EXT4_IOC_SHUTDOWN`), which drops whatever was not synced, as a power cut does.
//! [`Meddling`] changes the system calls of a running process through strace, for as long as it lives.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::failure::{Doing, Outcome, ensure_shown};
use super::process::{Process, run};
use super::wait;

/// What [`LoopDisk::fill`] does not bother about: a block.
const SMALLEST_PIECE: u64 = 4096;

/// A file system of its own, unmounted and deleted when dropped.
pub struct LoopDisk {
    image: PathBuf,
    mount: PathBuf,
}

impl LoopDisk {
    /// Makes an ext4 of `mebibytes` in `dir` and mounts it.
    pub fn make(dir: &Path, mebibytes: u64) -> Outcome<Self> {
        let disk = Self {
            image: dir.join("disk.img"),
            mount: dir.join("disk"),
        };
        std::fs::create_dir_all(&disk.mount)?;
        std::fs::File::create(&disk.image)?.set_len(mebibytes << 20)?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0"])
            .arg(&disk.image))
        .doing("making the disk")?;
        disk.attach()?;
        Ok(disk)
    }

    fn attach(&self) -> Outcome {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&self.image)
            .arg(&self.mount))
        .doing("mounting the disk")?;
        Ok(())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Free bytes.
    pub fn free(&self) -> Outcome<u64> {
        let stat = rustix::fs::statvfs(&self.mount)?;
        Ok(stat.f_bavail * stat.f_frsize)
    }

    /// Fills it until about `leave` bytes are free, in ever smaller pieces: the file system needs some for itself.
    pub fn fill(&self, leave: u64) -> Outcome {
        let ballast = std::fs::File::create(self.ballast())?;
        let mut taken = 0;
        let mut piece = self.free()?.saturating_sub(leave);
        while piece >= SMALLEST_PIECE {
            let flags = rustix::fs::FallocateFlags::empty();
            match rustix::fs::fallocate(&ballast, flags, taken, piece) {
                Ok(()) => {
                    taken += piece;
                    piece = self.free()?.saturating_sub(leave);
                }
                Err(rustix::io::Errno::NOSPC) => piece /= 2,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Frees what [`Self::fill`] took.
    pub fn relieve(&self) -> Outcome {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Cuts the power: nothing more gets to the disk, and what was not synced is lost. Processes with open files get
    /// errors until [`Self::restore_power`].
    pub fn lose_power(&self) -> Outcome {
        // EXT4_IOC_SHUTDOWN = _IOR('X', 125, u32), EXT4_GOING_FLAGS_NOLOGFLUSH = 2. An ioctl is unsafe code in Rust,
        // perl is on every Debian.
        let script = r#"sysopen(my $d, $ARGV[0], 0) or die $!; my $flags = pack("L", 2); ioctl($d, 0x8004587D, $flags) or die $!;"#;
        run(Command::new("perl").args(["-e", script]).arg(&self.mount))
            .doing("shutting the file system down")?;
        Ok(())
    }

    /// Mounts it again. Nobody may have files open on it.
    pub fn restore_power(&self) -> Outcome {
        let what = format!("{} to be unmounted", self.mount.display());
        wait::until(Duration::from_secs(30), &what, || {
            Ok(run(Command::new("umount").arg(&self.mount)).ok())
        })?;
        self.attach()
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: a process that was not stopped must not keep it. An error leaves a mount behind that `dev/faults` names.
        let _ = run(Command::new("umount").arg("-l").arg(&self.mount));
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Whether this machine lets us make loop disks; else why not.
pub fn can_mount() -> Outcome {
    ensure_shown(rustix::process::geteuid().is_root(), || {
        "needs root for loop devices".into()
    })?;
    let dir = tempfile::tempdir()?;
    LoopDisk::make(dir.path(), 16).map(drop)
}

/// Whether strace may trace here; else why not.
pub fn can_trace() -> Outcome {
    run(Command::new("strace").args(["-qq", "-e", "trace=none", "true"])).map(drop)
}

/// strace on a running process, with every thread of it; detaches when dropped.
pub struct Meddling {
    strace: Process,
    /// What each thread called is in a file of this name with the thread's number behind it. One file for all would tear
    /// calls that wait into two lines.
    calls: PathBuf,
}

impl Meddling {
    /// Attaches with strace's `inject` expression, for example `fsync,fdatasync:error=EIO`, to calls of every file.
    pub fn on_everything(pid: u32, inject: &str, log: &Path) -> Outcome<Self> {
        Self::attach(pid, inject, &[], log)
    }

    /// As [`Self::on_everything`], only for the files that are in `dir` now.
    pub fn on_files(pid: u32, inject: &str, dir: &Path, log: &Path) -> Outcome<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            files.push(entry?.path());
        }
        Self::attach(pid, inject, &files, log)
    }

    fn attach(pid: u32, inject: &str, files: &[PathBuf], log: &Path) -> Outcome<Self> {
        let mut calls = log.as_os_str().to_owned();
        calls.push("-thread");
        let mut command = Command::new("strace");
        command.arg("-ff").arg("-o").arg(&calls).args([
            "-p",
            &pid.to_string(),
            "-e",
            &format!("inject={inject}"),
        ]);
        command.args([
            "-e",
            &format!("trace={}", inject.split(':').next().unwrap_or_default()),
        ]);
        for file in files {
            command.arg("-P").arg(file);
        }
        let strace = Process::start(&mut command, log)?;
        // Every thread has to be caught: one that is not yet traced would still reach the disk.
        wait::until_true(Duration::from_secs(30), "strace to attach", || {
            traced(pid).unwrap_or(false)
        })?;
        Ok(Self {
            strace,
            calls: calls.into(),
        })
    }

    /// How many calls of each thread were changed, by the thread's number.
    pub fn injected_by_thread(&self) -> Outcome<BTreeMap<String, usize>> {
        let mut injected = BTreeMap::new();
        let dir = self.calls.parent().doing("the log has no directory")?;
        let name = self.calls.file_name().unwrap_or_default().to_string_lossy();
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy().into_owned();
            if let Some(thread) = file.strip_prefix(&format!("{name}.")) {
                let text = String::from_utf8_lossy(&std::fs::read(entry.path())?).into_owned();
                let changed = ["(INJECTED)", "(DELAYED)"].map(|word| text.matches(word).count());
                injected.insert(thread.to_owned(), changed.iter().sum());
            }
        }
        Ok(injected)
    }

    /// Waits for the first changed call.
    pub fn wait_injected(&self, limit: Duration) -> Outcome {
        wait::until(limit, "a system call to be changed", || {
            let changed = self.injected_by_thread()?.values().sum::<usize>();
            Ok((changed > 0).then_some(()))
        })
    }
}

/// Whether every thread of a process is traced.
fn traced(pid: u32) -> Outcome<bool> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status"))?;
        if status.lines().any(|line| line == "TracerPid:\t0") {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for Meddling {
    fn drop(&mut self) {
        // SIGTERM lets strace detach; a SIGKILL would take its tracee with it only if it was stopped at that moment.
        if self.strace.signal(rustix::process::Signal::TERM).is_ok() {
            let _ = self.strace.wait_exit(Duration::from_secs(5));
        }
    }
}
