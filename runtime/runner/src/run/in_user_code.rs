//! The processes in user code: a file that names the process that each thread for user
//! code works on.
//!
//! User code can end the program: it aborts, overflows its stack, exits, or takes all
//! memory. Only this file then says what it worked on, because the system keeps what a
//! program has written when the program ends. A machine that loses its power
//! may lose the file, which then names no process.
//!
//! The execution that claims the store afterwards reads the file: `suspects.rs`. The file is
//! locked while its program lives, so that a program that was only fenced is not taken for
//! one that has ended.
//!
//! The folder of a store and its files have the owner, the group and the rights of the store,
//! so that every user of the store can read and write them. A program that cannot read the
//! file of a dead one, or write its own, does not run user code: the same process could end
//! program after program. Only in the folder for temporary files, a run may be without a
//! file of its own, and reports that.
//!
//! A dry run and the sample of a plan have such a file, too, if the program has the store
//! open for writing: the end of that program is the end of a service. Their file is named
//! after the code of the program, since no record does that for them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use state_migration_core::{Error, ErrorKind, Fingerprint, StreamId};
use uuid::Uuid;

/// Bytes of a slot: the length of a stream id, the id, and a checksum. No slot crosses a
/// page of memory, so that the end of the program leaves no slot half-written.
const SLOT: usize = 2048;

/// How the name of the file of a dry run begins.
const DRY_RUN: &str = "state-migration-dry-run-";

/// Maximum number of slots that are read.
const SLOTS: u64 = 4096;

/// The file of one execution.
pub(crate) struct InUserCode {
    file: File,
    slots: Mutex<Slots>,
    /// The name of the file of a dry run, which is removed once its last thread has ended:
    /// code may end the program after its dry run has ended.
    name: Option<FileName>,
}

/// The name of a file, which is removed when this value is dropped.
struct FileName {
    folder: Folder,
    path: PathBuf,
}

impl Drop for FileName {
    fn drop(&mut self) {
        self.folder.remove_file(&self.path);
    }
}

#[derive(Default)]
struct Slots {
    free: Vec<u64>,
    /// Number of slots that were ever used.
    used: u64,
}

/// The place of one job in the file, which is empty until the job begins with a process,
/// and after the job has ended.
pub(crate) struct Slot {
    in_user_code: Arc<InUserCode>,
    number: u64,
    stream: Option<StreamId>,
}

impl InUserCode {
    /// A free slot.
    pub(crate) fn slot(self: &Arc<Self>) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let number = slots.free.pop().unwrap_or_else(|| {
            slots.used += 1;
            slots.used - 1
        });
        drop(slots);
        Slot {
            in_user_code: self.clone(),
            number,
            stream: None,
        }
    }

    fn write(&self, number: u64, bytes: &[u8]) {
        // Without the name of the process, its code is run all the same.
        let _ = write_at(&self.file, bytes, number * SLOT as u64);
    }
}

impl Slot {
    /// Whether the process is named until its code returns, even after the dry run.
    pub(crate) fn is_of_dry_run(&self) -> bool {
        self.in_user_code.name.is_some()
    }

    /// Names the process that the job works on from now on.
    pub(crate) fn name(&mut self, stream: &StreamId) {
        if self.stream.as_ref() != Some(stream) {
            self.in_user_code.write(self.number, &encode(stream));
            self.stream = Some(stream.clone());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.in_user_code.write(self.number, &[0, 0]);
        }
        let slots = &self.in_user_code.slots;
        let mut slots = slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.free.push(self.number);
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, at)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, at)
}

#[cfg(not(any(unix, windows)))]
fn write_at(_: &File, _: &[u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// FNV-1a, which needs no table and no dependency.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, step)
}

fn encode(stream: &StreamId) -> Vec<u8> {
    let id = stream.as_str().as_bytes();
    // A stream id has at most 1,024 bytes.
    let len = u16::try_from(id.len()).unwrap_or(0);
    let mut slot = Vec::with_capacity(id.len() + 6);
    slot.extend(len.to_be_bytes());
    slot.extend(id);
    slot.extend(checksum(&slot).to_be_bytes());
    slot
}

/// The process in a slot; `None` for an empty slot, or if the slot cannot be read.
fn decode(slot: &[u8]) -> Option<StreamId> {
    let (len, rest) = slot.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes(*len));
    let (id, rest) = rest.split_at_checked(len)?;
    let (sum, _) = rest.split_first_chunk()?;
    let same = u32::from_be_bytes(*sum) == checksum(slot.get(..len + 2)?);
    let id = std::str::from_utf8(id).ok().filter(|_| same && len > 0)?;
    StreamId::new(id).ok()
}

/// The file of an execution of this program, which is removed when this value is dropped.
pub(crate) struct InUserCodeFile {
    in_user_code: Arc<InUserCode>,
    _name: FileName,
}

/// What a dry run had in user code when its program ended.
pub(crate) struct LeftByDryRun {
    /// The fingerprint of the code of the program, as in the name of the file.
    pub(crate) code: String,
    pub(crate) streams: Vec<StreamId>,
    path: PathBuf,
}

/// The folder of such files.
#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Whether the folder is for nothing else, and may be created and removed.
    own: bool,
}

impl Folder {
    /// The folder that a store has for this, or else the one for temporary files.
    pub(crate) fn of(scratch: Option<PathBuf>) -> Self {
        match scratch {
            Some(path) => Self { path, own: true },
            None => Self {
                path: std::env::temp_dir(),
                own: false,
            },
        }
    }

    fn file(&self, execution: Uuid) -> PathBuf {
        self.path.join(format!("state-migration-{execution}"))
    }

    /// Whether a run is refused if its file cannot be created. The folder for temporary files
    /// may be missing, or be new in each container.
    pub(crate) fn is_required(&self) -> bool {
        self.own
    }

    /// Checks that the file of an execution can be created.
    pub(crate) fn check_writable(&self, execution: Uuid) -> Result<(), Error> {
        match self.create(execution) {
            Err(error) if self.is_required() => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates the file of an execution.
    pub(crate) fn create(&self, execution: Uuid) -> Result<InUserCodeFile, Error> {
        let (file, name) = self.create_file(self.file(execution))?;
        let in_user_code = InUserCode {
            file,
            slots: Mutex::default(),
            name: None,
        };
        Ok(InUserCodeFile {
            in_user_code: Arc::new(in_user_code),
            _name: name,
        })
    }

    /// Creates the file of a dry run with this code; `None` if the folder has files of other
    /// stores.
    pub(crate) fn create_for_dry_run(
        &self,
        code: Fingerprint,
    ) -> Result<Option<Arc<InUserCode>>, Error> {
        if !self.own {
            return Ok(None);
        }
        let name = format!("{DRY_RUN}{code}-{}", Uuid::new_v4());
        let (file, name) = self.create_file(self.path.join(name))?;
        Ok(Some(Arc::new(InUserCode {
            file,
            slots: Mutex::default(),
            name: Some(name),
        })))
    }

    fn create_file(&self, path: PathBuf) -> Result<(File, FileName), Error> {
        let file = match self.create_new(&path) {
            // Another program has just removed the folder, with its last file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create_new(&path),
            created => created,
        };
        let file = file.map_err(|error| self.unusable(&self.path, &error))?;
        // In a file system without locks, the file is used without a lock.
        let _ = file.try_lock();
        let folder = self.clone();
        Ok((file, FileName { folder, path }))
    }

    fn create_new(&self, path: &Path) -> io::Result<File> {
        if self.own {
            self.create_folder()?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        if self.own {
            self.share(&file, 0o666);
        }
        Ok(file)
    }

    fn create_folder(&self) -> io::Result<()> {
        match fs::create_dir(&self.path) {
            Ok(()) => {
                if let Ok(folder) = File::open(&self.path) {
                    self.share(&folder, 0o2777);
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // A link could lead to the folder of another user.
                match fs::symlink_metadata(&self.path)?.is_dir() {
                    true => Ok(()),
                    false => Err(io::ErrorKind::NotADirectory.into()),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a new file or folder the owner, the group and the rights of the store, as far as
    /// this program may: a user without access is refused later.
    #[cfg(unix)]
    fn share(&self, new: &File, rights: u32) {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};

        let store = self.path.parent().map(fs::metadata);
        let Some(Ok(store)) = store else { return };
        let _ = fchown(new, None, Some(store.gid()));
        let _ = new.set_permissions(fs::Permissions::from_mode(store.mode() & rights));
        // The last step, after which a program without all rights may change nothing.
        let _ = fchown(new, Some(store.uid()), None);
    }

    #[cfg(not(unix))]
    fn share(&self, _: &File, _: u32) {}

    /// The error about a file or the folder, with what to do.
    fn unusable(&self, path: &Path, error: &io::Error) -> Error {
        let folder = self.path.display();
        let (what, way_out) = match error.kind() {
            io::ErrorKind::PermissionDenied => (
                format!("access is denied{}", self.owner(path)),
                match self.own {
                    true => format!(
                        "give the user of this program access to the folder {folder} (chown -R, or chmod -R), or remove the folder"
                    ),
                    false => "give the user of this program access to it, or remove it".to_owned(),
                },
            ),
            io::ErrorKind::NotADirectory => (
                "it is not a folder".to_owned(),
                format!("remove {folder}, which is created again"),
            ),
            _ => (error.to_string(), format!("check {folder}")),
        };
        let message = format!(
            "cannot use {}, which names the processes in user code: {what}; {way_out}",
            path.display()
        );
        Error::new(ErrorKind::Unavailable, message)
    }

    /// The owner of a file, or of the folder if that denies access to the file.
    #[cfg(unix)]
    fn owner(&self, path: &Path) -> String {
        use std::os::unix::fs::MetadataExt as _;

        let owner = fs::symlink_metadata(path).or_else(|_| fs::symlink_metadata(&self.path));
        owner.map_or_else(
            |_| String::new(),
            |owner| format!(", the owner is user {}", owner.uid()),
        )
    }

    #[cfg(not(unix))]
    fn owner(&self, _: &Path) -> String {
        String::new()
    }

    /// The processes that an execution had in user code when its program ended; none if the
    /// program lives, or left no file.
    pub(crate) fn left_by(&self, execution: Uuid) -> Result<Vec<StreamId>, Error> {
        Ok(self.read(&self.file(execution))?.unwrap_or_default())
    }

    /// The processes that dry runs had in user code when their programs ended: for each
    /// file, with the code in its name.
    pub(crate) fn left_by_dry_runs(&self) -> Result<Vec<LeftByDryRun>, Error> {
        let mut left = Vec::new();
        if !self.own {
            return Ok(left);
        }
        let unusable = |error| self.unusable(&self.path, &error);
        let files = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(left),
            files => files.map_err(unusable)?,
        };
        for file in files {
            let file = file.map_err(unusable)?;
            let Some(code) = dry_run_code(&file.file_name()) else {
                continue;
            };
            let path = file.path();
            if let Some(streams) = self.read(&path)? {
                left.push(LeftByDryRun {
                    code,
                    streams,
                    path,
                });
            }
        }
        Ok(left)
    }

    /// The processes that a file names; `None` if it is missing, or its program lives.
    fn read(&self, path: &Path) -> Result<Option<Vec<StreamId>>, Error> {
        match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map_err(|error| self.unusable(path, &error)),
        }
    }

    /// Removes the file of a dry run whose program has ended.
    pub(crate) fn remove_dry_run(&self, left: &LeftByDryRun) {
        self.remove_file(&left.path);
    }

    /// Removes the file of an execution whose program has ended.
    pub(crate) fn remove(&self, execution: Uuid) {
        self.remove_file(&self.file(execution));
    }

    fn remove_file(&self, path: &Path) {
        let _ = fs::remove_file(path);
        if self.own {
            // Fails while there are files of other executions.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// The code in the name of the file of a dry run.
fn dry_run_code(name: &std::ffi::OsStr) -> Option<String> {
    let (code, _) = name.to_str()?.strip_prefix(DRY_RUN)?.split_once('-')?;
    Some(code.to_owned())
}

/// The processes that a file names; `None` if its program lives.
fn read(path: &Path) -> io::Result<Option<Vec<StreamId>>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let file = File::open(path)?;
    if matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(SLOTS * SLOT as u64).read_to_end(&mut bytes)?;
    let mut streams: Vec<StreamId> = bytes.chunks(SLOT).filter_map(decode).collect();
    streams.sort();
    streams.dedup();
    Ok(Some(streams))
}

impl InUserCodeFile {
    pub(crate) fn in_user_code(&self) -> Arc<InUserCode> {
        self.in_user_code.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stream(id: &str) -> StreamId {
        StreamId::new(id).unwrap()
    }

    fn folder() -> (tempfile::TempDir, Folder) {
        let folder = tempfile::tempdir().unwrap();
        let own = Folder::of(Some(folder.path().join("in-user-code")));
        (folder, own)
    }

    /// Closes the file without removing it, like a program that ends.
    fn end(own: &Folder, file: impl Sized) {
        let mut files = fs::read_dir(&own.path).unwrap();
        let path = files.next().unwrap().unwrap().path();
        let copy = fs::read(&path).unwrap();
        drop(file);
        let _ = fs::create_dir(&own.path);
        fs::write(path, copy).unwrap();
    }

    #[test]
    fn the_processes_in_user_code_are_those_of_the_jobs_in_progress() {
        let (_folder, own) = folder();
        let execution = Uuid::from_u128(7);
        let file = own.create(execution).unwrap();
        let in_user_code = file.in_user_code();
        let longest = "x".repeat(1_024);
        let (mut one, mut two) = (in_user_code.slot(), in_user_code.slot());
        let mut three = in_user_code.slot();
        one.name(&stream("process/t/long-name"));
        one.name(&stream("process/t/a"));
        two.name(&stream("process/t/b"));
        three.name(&stream(&longest));
        drop(two);
        assert_eq!(own.left_by(execution).unwrap(), [], "its program lives");
        end(&own, file);
        let left = own.left_by(execution).unwrap();
        assert_eq!(left, [stream("process/t/a"), stream(&longest)]);
        own.remove(execution);
        assert_eq!(own.left_by(execution).unwrap(), []);
        assert!(!own.path.exists());
        drop((one, three));
    }

    #[test]
    fn a_dry_run_names_its_processes_with_the_code_of_its_program() {
        let (_folder, own) = folder();
        let code = Fingerprint::of_bytes(b"code");
        let in_user_code = own.create_for_dry_run(code).unwrap().unwrap();
        let mut slot = in_user_code.slot();
        slot.name(&stream("process/t/a"));
        drop(in_user_code);
        assert_eq!(
            own.left_by_dry_runs().unwrap().len(),
            0,
            "its program lives"
        );
        assert!(own.path.exists(), "its code has not returned");
        end(&own, slot);
        let left = own.left_by_dry_runs().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].code, code.to_string());
        assert_eq!(left[0].streams, [stream("process/t/a")]);
        own.remove_dry_run(&left[0]);
        assert!(!own.path.exists());
        // Files of several stores have no place for the files of dry runs.
        let of_none = Folder::of(None).create_for_dry_run(code);
        assert!(of_none.unwrap().is_none());
    }

    #[test]
    fn a_slot_is_used_again_after_its_job() {
        let (_folder, own) = folder();
        let file = own.create(Uuid::from_u128(8)).unwrap();
        let in_user_code = file.in_user_code();
        let numbers: Vec<u64> = (0..3)
            .map(|_| in_user_code.slot())
            .map(|slot| slot.number)
            .collect();
        assert_eq!(numbers, [0, 0, 0]);
        drop(file);
        assert!(!own.path.exists());
    }

    #[test]
    fn a_missing_and_a_damaged_file_name_no_process() {
        let folder = tempfile::tempdir().unwrap();
        let execution = Uuid::from_u128(9);
        let none = Folder::of(Some(folder.path().join("missing/in-user-code")));
        assert!(none.create(execution).is_err());
        assert_eq!(none.left_by(execution).unwrap(), []);
        let own = Folder::of(Some(folder.path().to_owned()));
        let mut slot = encode(&stream("process/t/a"));
        assert_eq!(decode(&slot), Some(stream("process/t/a")));
        slot[4] ^= 1;
        assert_eq!(decode(&slot), None);
        for damaged in [&slot[..], &[0xff; 3000], &[], &[0]] {
            fs::write(own.file(execution), damaged).unwrap();
            assert_eq!(own.left_by(execution).unwrap(), []);
        }
    }

    #[test]
    fn what_cannot_be_read_or_written_is_an_error() {
        let (_folder, own) = folder();
        let execution = Uuid::from_u128(9);
        fs::write(&own.path, "").unwrap();
        let errors = [
            own.create(execution).err(),
            own.check_writable(execution).err(),
            own.left_by(execution).err(),
            own.left_by_dry_runs().err(),
            own.create_for_dry_run(Fingerprint::default()).err(),
        ];
        for error in errors {
            let message = error.unwrap().to_string();
            let place = own.path.display().to_string();
            assert!(
                message.starts_with(&format!("cannot use {place}")),
                "{message}"
            );
            assert!(message.contains("it is not a folder; remove"), "{message}");
        }
        fs::remove_file(&own.path).unwrap();
        // A file of a dead program that is not a file.
        fs::create_dir_all(own.file(execution)).unwrap();
        let message = own.left_by(execution).unwrap_err().to_string();
        assert!(message.contains("it is not a file"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_to_another_folder_is_not_followed() {
        let (folder, own) = folder();
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, &own.path).unwrap();
        assert!(own.create(Uuid::from_u128(11)).is_err());
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    }

    /// The test fails if a user of the store cannot read the file of another user, or write
    /// one beside it.
    #[cfg(unix)]
    #[test]
    fn the_folder_of_a_store_has_the_rights_of_the_store() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

        let (folder, own) = folder();
        // Only root can do that.
        let _ = chown(folder.path(), Some(1234), Some(1235));
        for (store, file) in [(0o770, 0o660), (0o755, 0o644), (0o700, 0o600)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(store)).unwrap();
            let it = own.create(Uuid::from_u128(10)).unwrap();
            let of = |path: &Path| {
                let it = fs::metadata(path).unwrap();
                (it.mode() & 0o777, it.uid(), it.gid())
            };
            let (_, uid, gid) = of(folder.path());
            assert_eq!(of(&own.path), (store, uid, gid));
            assert_eq!(of(&it._name.path), (file, uid, gid));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_among_temporary_files_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let file = Folder::of(None).create(Uuid::new_v4()).unwrap();
        let mode = fs::metadata(&file._name.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
