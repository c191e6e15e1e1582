//! The socket in the file system.
//!
//! It is bound in a private folder and then moved to its path, so that only the owner can
//! ever connect. A lock says whether its service is alive: of two services only one gets
//! the path, and the socket of a dead service is replaced.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use state_migration_core::{Error, ErrorKind};

/// Maximum bytes of a socket path that all systems support.
const LONGEST_PATH: usize = 103;

/// A bound socket, with the files to remove when it is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode, since the file at the path may have been replaced.
    file: (u64, u64),
    /// Dropped last.
    _lock: Lock,
}

impl SocketFile {
    /// Binds a socket at the path.
    ///
    /// The socket is bound in a private folder, gets its permissions there, and is then
    /// renamed to its path. At no moment can another user connect.
    pub(crate) fn bind(path: &Path) -> Result<(Self, UnixListener), Error> {
        let lock = Lock::take(path)?;
        refuse_what_is_there(path)?;
        let (folder, private) = private_folder(path)?;
        let bound = bind_privately(&private).and_then(|listener| {
            let there = fs::metadata(&private)?;
            fs::rename(&private, path)?;
            Ok((listener, (there.dev(), there.ino())))
        });
        // Anything left behind does not accept connections.
        let _ = fs::remove_file(&private);
        let _ = fs::remove_dir(&folder);
        let (listener, file) = bound.map_err(|error| unusable(path, &error))?;
        let path = path.to_owned();
        let socket = Self {
            path,
            file,
            _lock: lock,
        };
        Ok((socket, listener))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == self.file);
        if ours {
            // If it cannot be removed, the next service replaces it as the socket of a
            // dead service.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn bind_privately(private: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(private)?;
    fs::set_permissions(private, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Fails if a live socket or another kind of file exists at the path. The socket of a
/// dead service is accepted.
fn refuse_what_is_there(path: &Path) -> Result<(), Error> {
    let shown = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unusable(path, &error)),
        Ok(there) if !there.file_type().is_socket() => Err(Error::invalid(format!(
            "{shown} exists and is not a socket; give the control socket another path"
        ))),
        // A socket that another program has bound without a lock.
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(unusable(path, &error)),
            Ok(_) => Err(in_use(path)),
        },
    }
}

/// Creates a folder next to `path` that only its owner may enter, so that a socket in
/// it can be renamed to `path`. Returns the folder and the path of the socket in it.
fn private_folder(path: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let beside = path.parent().filter(|parent| parent.as_os_str() != "");
    let beside = beside.unwrap_or(Path::new("."));
    let name = format!(".{:08x}", uuid::Uuid::new_v4().as_fields().0);
    let folder = beside.join(name);
    let private = folder.join("s");
    for path in [path, &private] {
        let length = path.as_os_str().as_bytes().len();
        if length > LONGEST_PATH {
            return Err(Error::invalid(format!(
                "the path {} has {length} bytes, more than the limit of {LONGEST_PATH} bytes for a socket; give the control socket a shorter path",
                path.display()
            )));
        }
    }
    DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .map_err(|error| unusable(path, &error))?;
    Ok((folder, private))
}

/// A file that is locked while the service lives. The system releases the lock when the
/// process ends for any reason.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(socket: &Path) -> Result<Self, Error> {
        let mut name = socket.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(&path)
                .map_err(|error| match path.exists() {
                    true => unusable_lock(&path, &error),
                    false => unusable(socket, &error),
                })?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(socket)),
                Err(TryLockError::Error(error)) => return Err(unusable(socket, &error)),
            }
            // Another service may have removed the file between the open and the lock.
            let locked = file.metadata().map_err(|error| unusable(socket, &error))?;
            let there = fs::metadata(&path);
            if there.is_ok_and(|there| (there.dev(), there.ino()) == (locked.dev(), locked.ino())) {
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while locked, so that a waiting service notices the removal.
        let _ = fs::remove_file(&self.path);
    }
}

fn in_use(path: &Path) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "another service listens on the control socket {}; stop that service, or use another path",
            path.display()
        ),
    )
}

fn unusable(path: &Path, error: &io::Error) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "cannot create the control socket {}: {error}; use a path in an existing folder that this program can write to",
            path.display()
        ),
    )
}

/// The lock of another user, or what is not a lock.
fn unusable_lock(lock: &Path, error: &io::Error) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "cannot open {}, the lock of the control socket: {error}; remove that file if its service has ended, or use another path",
            lock.display()
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries.map(name).collect();
        names.sort();
        names.iter().map(|n| n.to_string_lossy().into()).collect()
    }

    #[test]
    fn only_its_owner_may_connect_and_nothing_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let (socket, _listener) = SocketFile::bind(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("control.lock")), 0o600);
        assert_eq!(names(folder.path()), ["control", "control.lock"]);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    /// Even with a permissive umask, the folder that the socket is bound in is private.
    #[test]
    fn the_socket_is_bound_in_a_private_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (private, socket) = private_folder(&folder.path().join("control")).unwrap();
        assert_eq!(mode(&private), 0o700);
        let _listener = bind_privately(&socket).unwrap();
        assert_eq!(mode(&socket), 0o600);
    }

    #[test]
    fn what_a_dead_service_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        drop(UnixListener::bind(&path).unwrap());
        fs::write(folder.path().join("control.lock"), "").unwrap();
        assert!(UnixStream::connect(&path).is_err());
        let (_socket, _listener) = SocketFile::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
    }

    #[test]
    fn a_lock_that_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("control.lock")).unwrap();
        let error = SocketFile::bind(&folder.path().join("control")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("control.lock, the lock of"), "{text}");
    }

    #[test]
    fn a_live_service_keeps_its_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let says = |error: Error| error.to_string().starts_with("another service listens on");
        let (socket, listener) = SocketFile::bind(&path).unwrap();
        assert!(says(SocketFile::bind(&path).unwrap_err()));
        // Even if its socket was removed.
        fs::remove_file(&path).unwrap();
        assert!(says(SocketFile::bind(&path).unwrap_err()));
        drop((socket, listener));
        // Even if another program owns the socket, without a lock.
        let other = UnixListener::bind(&path).unwrap();
        assert!(says(SocketFile::bind(&path).unwrap_err()));
        UnixStream::connect(&path).unwrap();
        drop(other);
        SocketFile::bind(&path).unwrap();
    }

    #[test]
    fn of_many_at_once_one_has_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        for _ in 0..20 {
            drop(UnixListener::bind(&path));
            let start = std::sync::Barrier::new(8);
            let bound = std::thread::scope(|scope| {
                let bind = || {
                    start.wait();
                    SocketFile::bind(&path).ok()
                };
                let all: Vec<_> = (0..8).map(|_| scope.spawn(bind)).collect();
                let all: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
                all.into_iter().flatten().collect::<Vec<_>>()
            });
            assert_eq!(bound.len(), 1);
            UnixStream::connect(&path).unwrap();
            drop(bound);
            assert_eq!(names(folder.path()), [""; 0]);
        }
    }

    #[test]
    fn what_is_not_a_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        fs::write(&path, "mine").unwrap();
        let error = SocketFile::bind(&path).unwrap_err().to_string();
        assert!(error.contains("exists and is not a socket"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(names(folder.path()), ["notes"]);
        let error = SocketFile::bind(&folder.path().join("no/where")).unwrap_err();
        assert!(error.to_string().contains("in an existing folder"));
        let error = SocketFile::bind(&folder.path().join("x".repeat(200))).unwrap_err();
        assert!(
            error.to_string().contains("more than the limit of 103"),
            "{error}"
        );
    }
}
