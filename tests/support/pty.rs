//! A serial line without hardware: a pseudo-terminal behind a path that stays the same when it is unplugged.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, fcntl_setfl, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};

/// The end without a name; reading and writing wait for nothing.
pub struct Pty {
    master: File,
    /// Held, so that the line outlives the daemon that has it open.
    _slave: OwnedFd,
    path: PathBuf,
}

impl Pty {
    /// A new line; `path` leads to it from now on.
    pub fn plug(path: &Path) -> Self {
        // A daemon that inherits an end of the line keeps it plugged in.
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let slave = open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let mut attributes = tcgetattr(&slave).unwrap();
        attributes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &attributes).unwrap();
        let next = path.with_extension("next");
        std::os::unix::fs::symlink(name, &next).unwrap();
        std::fs::rename(next, path).unwrap();
        Self { master: File::from(master), _slave: slave, path: path.to_owned() }
    }

    /// Pulls it out: the path leads nowhere.
    pub fn unplug(self) {
        std::fs::remove_file(&self.path).unwrap();
    }

    /// What is there now; nothing when there is none.
    pub fn read(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4_096];
        match self.master.read(&mut buffer) {
            Ok(length) => buffer[..length].to_vec(),
            Err(_) => Vec::new(),
        }
    }

    /// As much as the line takes; how much that was.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.master.write(bytes).unwrap_or(0)
    }

    /// All of it, as fast as the line takes it; nothing is read meanwhile. The limit is for hanging tests only.
    pub fn pour(&mut self, mut bytes: &[u8]) {
        let end = Instant::now() + Duration::from_secs(60);
        while !bytes.is_empty() {
            assert!(Instant::now() < end, "the line takes no more");
            let written = self.write(bytes);
            bytes = &bytes[written..];
            if written == 0 {
                std::thread::yield_now();
            }
        }
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}
