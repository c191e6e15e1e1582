//! The program that has a store open or executes a run: where it runs, and whether it
//! has ended.
//!
//! That a program has ended is certain only on the machine where it ran, and there
//! without a clock: its process id is free, or is the id of a process that started at
//! another time. Everywhere else it is unknown.

use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A program that writes to a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Program {
    /// Unique for each process of an operating system.
    #[doc(hidden)]
    pub id: Uuid,
    /// The file name of the program.
    pub name: String,
    /// The process id.
    pub pid: u32,
    /// The name of the host.
    pub host: String,
    /// The user of the operating system.
    pub user: String,
    /// The boot of the operating system and the namespace of the process id, where the
    /// operating system tells them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    /// The time at which the process started, in ticks since the boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
}

impl Program {
    /// This program.
    #[must_use]
    pub fn this() -> &'static Self {
        static THIS: OnceLock<Program> = OnceLock::new();
        THIS.get_or_init(|| {
            let name = std::env::current_exe().ok();
            let name = name.as_deref().and_then(std::path::Path::file_name);
            let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            Self::of(std::process::id(), name)
        })
    }

    /// A program of this machine and user.
    fn of(pid: u32, name: String) -> Self {
        Self {
            id: Uuid::new_v4(),
            name,
            pid,
            host: host(),
            user: user(),
            machine: machine(),
            start: stat(pid).map(|stat| stat.start),
        }
    }

    /// Whether this is the program that asks.
    #[must_use]
    pub fn is_this(&self) -> bool {
        self.id == Self::this().id
    }

    /// Whether the program runs on this machine; `None` if that cannot be determined,
    /// as for a program of another machine.
    #[must_use]
    pub fn is_alive(&self) -> Option<bool> {
        if self.is_this() {
            return Some(true);
        }
        let (machine, start) = (self.machine.as_ref()?, self.start?);
        if *machine != self::machine()? {
            return None;
        }
        match stat(self.pid) {
            Some(stat) => Some(stat.start == start && !stat.has_exited),
            // The operating system may hide the processes of other users.
            None => is_free(self.pid).then_some(false),
        }
    }

    /// Whether the program is known to have ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.is_alive() == Some(false)
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            pid,
            host,
            user,
            ..
        } = self;
        write!(f, "{name} (pid {pid} on {host}, user {user})")
    }
}

/// What the operating system says of a process.
struct Stat {
    start: u64,
    /// The process has ended, but its parent has not asked for its exit code.
    has_exited: bool,
}

#[cfg(target_os = "linux")]
fn stat(pid: u32) -> Option<Stat> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses, and may contain any character.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    Some(Stat {
        start: fields.get(19)?.parse().ok()?,
        has_exited: matches!(*fields.first()?, "Z" | "X"),
    })
}

#[cfg(not(target_os = "linux"))]
fn stat(_pid: u32) -> Option<Stat> {
    None
}

/// Whether no process has this id.
#[cfg(unix)]
fn is_free(pid: u32) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn is_free(_pid: u32) -> bool {
    false
}

/// The boot of the operating system, and the namespaces of its process ids and of its time:
/// containers may have their own, in which ids and start times are others.
#[cfg(target_os = "linux")]
fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
    // A kernel without namespaces for time has one time.
    let time = std::fs::read_link("/proc/self/ns/time").unwrap_or_default();
    Some(format!(
        "{} {} {}",
        boot.trim(),
        namespace.display(),
        time.display()
    ))
}

#[cfg(not(target_os = "linux"))]
fn machine() -> Option<String> {
    None
}

#[cfg(unix)]
fn host() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

fn user() -> String {
    let names = ["USER", "LOGNAME", "USERNAME"];
    let mut names = names.iter().filter_map(|name| std::env::var(name).ok());
    names.find(|name| !name.is_empty()).unwrap_or_else(uid)
}

/// The number of the user: in a container a user may have no name.
fn uid() -> String {
    #[cfg(unix)]
    return rustix::process::getuid().as_raw().to_string();
    #[cfg(not(unix))]
    return "unknown".to_owned();
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_alive_and_says_where_it_runs() {
        let this = Program::this();
        assert_eq!(
            (this.pid, this.is_alive()),
            (std::process::id(), Some(true))
        );
        assert!(!this.host.is_empty() && !this.user.is_empty());
        assert!(this.to_string().contains(&format!("(pid {} on ", this.pid)));
        let read: Program = serde_json::from_str(&serde_json::to_string(this).unwrap()).unwrap();
        assert_eq!(read, *this);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_of_this_machine_is_known_to_have_ended() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let program = Program::of(child.id(), "sleep".to_owned());
        assert_eq!(program.is_alive(), Some(true));
        child.kill().unwrap();
        // Its parent has not asked for its exit code yet.
        while program.is_alive() != Some(false) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(program.is_alive(), Some(false));
        // Another program got the id of one that has ended.
        let mut before = Program::of(std::process::id(), "before".to_owned());
        before.start = before.start.map(|start| start + 1);
        assert!(before.has_ended());
    }

    #[test]
    fn of_a_program_of_another_machine_nothing_is_known() {
        let mut program = Program::of(std::process::id(), "loans".to_owned());
        program.start = Some(1);
        for machine in [Some("another boot".to_owned()), None] {
            program.machine = machine;
            assert_eq!(program.is_alive(), None);
        }
    }
}
