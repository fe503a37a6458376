//! System calls that change files or make changes durable, read from a thread that the tracer stopped at the entry of one.

use std::fs::{self, File};
use std::io::{self, Error};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::libc;
use serde::{Deserialize, Serialize};

/// A descriptor's number.
pub(super) type Descriptor = i32;

/// What a thread asks the kernel to do. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Operation {
    Open {
        path: PathBuf,
        flags: i32,
    },
    Close(Descriptor),
    Write {
        descriptor: Descriptor,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        descriptor: Descriptor,
        length: usize,
    },
    /// The file becomes at least this long.
    Allocate {
        descriptor: Descriptor,
        length: usize,
    },
    Sync(Descriptor),
    /// Memory that the kernel writes to the file at any time.
    MapWritable(Descriptor),
    MakeDirectory(PathBuf),
    Unlink(PathBuf),
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// A call that may change files in a way the recording does not know.
    Other {
        name: String,
        descriptors: Vec<Descriptor>,
        paths: Vec<PathBuf>,
    },
}

/// A thread stopped at the entry of a system call.
pub(super) struct Entry {
    pub(super) thread: i32,
    pub(super) number: i64,
    pub(super) arguments: [u64; 6],
}

impl Entry {
    /// What the thread asks for; `None` when no file changes by it.
    pub(super) fn operation(&self) -> io::Result<Option<Operation>> {
        let other = |name: &str, descriptors: &[Descriptor], paths: Vec<PathBuf>| {
            Some(Operation::Other {
                name: name.to_owned(),
                descriptors: descriptors.to_vec(),
                paths,
            })
        };
        let descriptor = self.int(0);
        Ok(match self.number {
            libc::SYS_openat => self.open(self.path(0, 1)?, self.int(2)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => self.open(self.path_from(None, 0)?, self.int(1)),
            libc::SYS_close => Some(Operation::Close(descriptor)),
            libc::SYS_write => self.write(self.position()?, self.memory(1, self.size(2))?),
            libc::SYS_writev => self.write(self.position()?, self.vectors()?),
            libc::SYS_pwrite64 => self.write(self.size(3), self.memory(1, self.size(2))?),
            libc::SYS_pwritev => self.write(self.size(3), self.vectors()?),
            libc::SYS_ftruncate => Some(Operation::Truncate {
                descriptor,
                length: self.size(1),
            }),
            libc::SYS_fallocate if self.int(1) == 0 => Some(Operation::Allocate {
                descriptor,
                length: self.size(2) + self.size(3),
            }),
            libc::SYS_fsync | libc::SYS_fdatasync => Some(Operation::Sync(descriptor)),
            libc::SYS_mmap => {
                let is_writable = self.int(2) & libc::PROT_WRITE != 0;
                let is_shared = self.int(3) & libc::MAP_SHARED != 0;
                (is_writable && is_shared).then(|| Operation::MapWritable(self.int(4)))
            }
            libc::SYS_mkdirat => Some(Operation::MakeDirectory(self.path(0, 1)?)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_mkdir => Some(Operation::MakeDirectory(self.path_from(None, 0)?)),
            libc::SYS_unlinkat if self.int(2) == 0 => Some(Operation::Unlink(self.path(0, 1)?)),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_unlink => Some(Operation::Unlink(self.path_from(None, 0)?)),
            libc::SYS_renameat | libc::SYS_renameat2
                if self.number == libc::SYS_renameat || self.int(4) == 0 =>
            {
                Some(Operation::Rename {
                    from: self.path(0, 1)?,
                    to: self.path(2, 3)?,
                })
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_rename => Some(Operation::Rename {
                from: self.path_from(None, 0)?,
                to: self.path_from(None, 1)?,
            }),

            libc::SYS_fallocate => other("fallocate", &[descriptor], vec![]),
            libc::SYS_pwritev2 => other("pwritev2", &[descriptor], vec![]),
            libc::SYS_sync_file_range => other("sync_file_range", &[descriptor], vec![]),
            libc::SYS_syncfs => other("syncfs", &[descriptor], vec![]),
            libc::SYS_dup => other("dup", &[descriptor], vec![]),
            libc::SYS_dup3 => other("dup3", &[descriptor, self.int(1)], vec![]),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_dup2 => other("dup2", &[descriptor, self.int(1)], vec![]),
            libc::SYS_fcntl if [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].contains(&self.int(1)) => {
                other("fcntl", &[descriptor], vec![])
            }
            libc::SYS_sendfile => other("sendfile", &[descriptor], vec![]),
            libc::SYS_splice => other("splice", &[self.int(2)], vec![]),
            libc::SYS_copy_file_range => other("copy_file_range", &[self.int(2)], vec![]),
            libc::SYS_truncate => other("truncate", &[], vec![self.path_from(None, 0)?]),
            libc::SYS_openat2 => other("openat2", &[], vec![self.path(0, 1)?]),
            libc::SYS_unlinkat => other("unlinkat", &[], vec![self.path(0, 1)?]),
            libc::SYS_mknodat => other("mknodat", &[], vec![self.path(0, 1)?]),
            libc::SYS_symlinkat => other("symlinkat", &[], vec![self.path(1, 2)?]),
            libc::SYS_renameat2 => {
                let paths = vec![self.path(0, 1)?, self.path(2, 3)?];
                other("renameat2", &[], paths)
            }
            libc::SYS_linkat => {
                let paths = vec![self.path(0, 1)?, self.path(2, 3)?];
                other("linkat", &[], paths)
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_creat | libc::SYS_rmdir | libc::SYS_mknod => {
                let path = self.path_from(None, 0)?;
                other("creat, rmdir or mknod", &[], vec![path])
            }
            #[cfg(target_arch = "x86_64")]
            libc::SYS_link | libc::SYS_symlink => {
                let path = self.path_from(None, 1)?;
                other("link or symlink", &[], vec![path])
            }
            libc::SYS_sync => other("sync", &[], vec![]),
            libc::SYS_msync => other("msync", &[], vec![]),
            libc::SYS_io_uring_setup => other("io_uring_setup", &[], vec![]),
            libc::SYS_io_submit => other("io_submit", &[], vec![]),
            libc::SYS_close_range => other("close_range", &[], vec![]),
            _ => None,
        })
    }

    fn open(&self, path: PathBuf, flags: i32) -> Option<Operation> {
        Some(Operation::Open { path, flags })
    }

    fn write(&self, at: usize, bytes: Vec<u8>) -> Option<Operation> {
        Some(Operation::Write {
            descriptor: self.int(0),
            at,
            bytes,
        })
    }

    /// An argument that the kernel takes for a C `int`: the lower half of the register.
    fn int(&self, argument: usize) -> i32 {
        self.arguments[argument] as u32 as i32
    }

    fn size(&self, argument: usize) -> usize {
        self.arguments[argument] as usize
    }

    /// Where a `write` without a place writes.
    fn position(&self) -> io::Result<usize> {
        let descriptor = self.int(0);
        let (thread, broken) = (self.thread, || Error::other("/proc/…/fdinfo"));
        let info = match fs::read_to_string(format!("/proc/{thread}/fdinfo/{descriptor}")) {
            // The call will fail.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            info => info?,
        };
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).ok_or_else(broken)
        };
        let flags = i32::from_str_radix(field("flags:")?, 8).map_err(|_| broken())?;
        if flags & libc::O_APPEND != 0 {
            let file = fs::metadata(format!("/proc/{thread}/fd/{descriptor}"))?;
            return usize::try_from(file.len()).map_err(|_| broken());
        }
        field("pos:")?.parse().map_err(|_| broken())
    }

    /// The path in an argument, relative to the directory whose descriptor is in another.
    fn path(&self, directory: usize, argument: usize) -> io::Result<PathBuf> {
        self.path_from(Some(self.int(directory)), argument)
    }

    fn path_from(&self, directory: Option<Descriptor>, argument: usize) -> io::Result<PathBuf> {
        let bytes = self.memory_until_nul(argument)?;
        let path = Path::new(std::ffi::OsStr::from_bytes(&bytes));
        if path.is_absolute() {
            return Ok(path.to_owned());
        }
        let base = match directory {
            None | Some(libc::AT_FDCWD) => format!("/proc/{}/cwd", self.thread),
            Some(descriptor) => format!("/proc/{}/fd/{descriptor}", self.thread),
        };
        Ok(fs::read_link(base)?.join(path))
    }

    fn memory_until_nul(&self, argument: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; libc::PATH_MAX as usize];
        // The page behind the path may not be there: then the read is short.
        let read = self
            .memory_file()?
            .read_at(&mut bytes, self.arguments[argument])?;
        let length = bytes[..read].iter().position(|byte| *byte == 0);
        bytes.truncate(length.ok_or_else(|| Error::other("a path without an end"))?);
        Ok(bytes)
    }

    fn memory(&self, argument: usize, length: usize) -> io::Result<Vec<u8>> {
        self.memory_at(self.arguments[argument], length)
    }

    /// The bytes of all parts of a `writev`.
    fn vectors(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let vectors = self.memory(1, self.size(2) * 16)?;
        for vector in vectors.chunks_exact(16) {
            let word =
                |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| vector[at + byte]));
            bytes.extend(self.memory_at(word(0), word(8) as usize)?);
        }
        Ok(bytes)
    }

    fn memory_at(&self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory_file()?.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    }

    fn memory_file(&self) -> io::Result<File> {
        File::open(format!("/proc/{}/mem", self.thread))
    }
}
