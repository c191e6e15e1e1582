//! A run in a real terminal: the bar moves, follows the size of the window, and
//! leaves nothing behind.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::sample::Sample;
use crate::store_state::stands;

/// Longer than anything here takes, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal with something that runs in it.
struct Terminal {
    master: Box<dyn MasterPty>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

/// What there was to see.
struct Seen {
    screen: vt100::Parser,
    /// Everything that was written to the terminal.
    bytes: Vec<u8>,
    /// Every share that a bar has shown, in order, each once in a row.
    shares: Vec<u64>,
    /// The terminal was closed.
    is_gone: bool,
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize {
        rows,
        cols,
        ..PtySize::default()
    }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

impl Terminal {
    /// A shell that says something, starts the program, and says something more.
    fn new(sample: &Sample, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let pair = native_pty_system().openpty(size(24, 100)).unwrap();
        let script = "echo before; loans-admin \"$@\"; code=$?; echo after; exit $code";
        let mut command = CommandBuilder::new("sh");
        command.args(["-c", script, "sh"]);
        command.args(args);
        command.args(["--store", "./loans"]);
        command.cwd(sample.folder());
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        let programs = Path::new(crate::PROGRAM).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", programs.display()));
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let seen = Arc::new(Mutex::new(Seen {
            screen: vt100::Parser::new(cells(24), cells(100), 0),
            bytes: Vec::new(),
            shares: Vec::new(),
            is_gone: false,
        }));
        let mut output = pair.master.try_clone_reader().unwrap();
        let watched = seen.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            // At its end, a terminal is an error on some systems.
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                let mut seen = watched.lock().unwrap();
                seen.look(&buffer[..read]);
                if seen.is_gone {
                    break;
                }
            }
        });
        Self {
            keyboard: pair.master.take_writer().unwrap(),
            master: pair.master,
            child,
            seen,
            reader,
        }
    }

    fn shares(&self) -> Vec<u64> {
        self.seen.lock().unwrap().shares.clone()
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().lines()
    }

    /// Waits for a bar that has come so far.
    fn until(&self, share: u64) {
        let begun = Instant::now();
        while self.shares().last().is_none_or(|last| *last < share) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.lines());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn resize(&self, rows: u16, cols: u16) {
        let mut seen = self.seen.lock().unwrap();
        seen.screen.screen_mut().set_size(cells(rows), cells(cols));
        self.master.resize(size(rows, cols)).unwrap();
    }

    /// Waits for the end; returns the exit code.
    fn end(mut self) -> (u32, Seen) {
        let code = self.child.wait().unwrap().exit_code();
        drop((self.keyboard, self.master));
        self.reader.join().unwrap();
        let seen = Arc::try_unwrap(self.seen).ok().unwrap();
        (code, seen.into_inner().unwrap())
    }
}

impl Seen {
    fn look(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.screen.process(bytes);
        let lines = self.lines();
        let bar = lines.iter().find(|line| line.starts_with("loan  ["));
        let share = bar.and_then(|bar| {
            let (before, _) = bar.split_once(" %")?;
            before.rsplit(' ').next()?.parse().ok()
        });
        if let Some(share) = share
            && self.shares.last() != Some(&share)
        {
            self.shares.push(share);
        }
    }

    /// What is on the screen, without empty lines at the end.
    fn lines(&self) -> Vec<String> {
        let screen = self.screen.screen();
        let (_, columns) = screen.size();
        let rows = screen.rows(0, columns.get());
        let mut lines: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// The screen is as if there had never been a bar.
    #[track_caller]
    fn is_clean(&self) {
        let lines = self.lines();
        assert_eq!(lines[0], "before", "{lines:#?}");
        assert_eq!(lines.last().unwrap(), "after", "{lines:#?}");
        assert!(lines[1].starts_with("run "), "{lines:#?}");
        for line in &lines {
            assert!(!line.contains('%') && !line.contains("[="), "{lines:#?}");
        }
        let screen = self.screen.screen();
        assert!(!screen.hide_cursor());
        assert_eq!(screen.cursor_position().1, 0, "{lines:#?}");
        assert!(!screen.alternate_screen());
    }
}

#[test]
fn the_bar_moves_follows_the_window_and_leaves_a_clean_screen() {
    let sample = Sample::new();
    let terminal = Terminal::new(&sample, &["run", "--yes", "--throttle", "60"], &[]);
    terminal.until(20);
    let wide = terminal.lines();
    assert_eq!((wide.len(), wide[0].as_str()), (2, "before"), "{wide:#?}");
    assert!(
        wide[1].starts_with("loan  [") && wide[1].ends_with(" failed"),
        "{wide:#?}"
    );
    assert!(
        wide[1].contains("/240  ") && wide[1].contains(" left  "),
        "{wide:#?}"
    );

    assert!(wide[1].contains("/s (limit 60/s)  "), "{wide:#?}");

    terminal.resize(20, 50);
    terminal.until(40);
    let narrow = terminal.lines();
    assert_eq!(
        (narrow.len(), narrow[0].as_str()),
        (2, "before"),
        "{narrow:#?}"
    );
    assert!(
        narrow[1].starts_with("loan  [") && narrow[1].ends_with(" failed"),
        "{narrow:#?}"
    );
    assert!(
        narrow[1].len() < 50 && wide[1].len() > 60,
        "{wide:#?} {narrow:#?}"
    );

    terminal.resize(24, 120);
    terminal.until(60);
    let wide = terminal.lines();
    assert_eq!((wide.len(), wide[0].as_str()), (2, "before"), "{wide:#?}");
    assert!(wide[1].len() > 60, "{wide:#?}");

    let (code, seen) = terminal.end();
    assert_eq!(code, 0);
    let shares = &seen.shares;
    assert!(shares.len() >= 8 && shares.is_sorted(), "{shares:?}");
    seen.is_clean();
    let last = &seen.lines();
    assert!(
        last.iter()
            .any(|line| line.starts_with("migrated") && line.ends_with(" 240"))
    );
    let text = String::from_utf8_lossy(&seen.bytes);
    assert!(text.contains("\x1b[2m0 failed"), "no colours in a terminal");
    assert_eq!(stands(&sample).at("loan@2013"), 240);
}

/// A terminal that breaks lines anew when it becomes narrower, as many do: the
/// old frame takes more rows then than it had when it was drawn.
#[test]
fn a_line_that_the_terminal_broke_is_drawn_over_as_a_whole() {
    let sample = Sample::new();
    let terminal = Terminal::new(&sample, &["run", "--yes", "--throttle", "60"], &[]);
    terminal.until(20);
    {
        let mut seen = terminal.seen.lock().unwrap();
        let bar = seen.lines()[1].clone();
        let (head, tail) = bar.split_at(50);
        // The cursor stays with the text that it is on: at its start.
        let broken = format!("\r\x1b[J{head}\r\n{tail}\x1b[1A\r");
        seen.screen.screen_mut().set_size(cells(24), cells(50));
        seen.look(broken.as_bytes());
        assert_eq!(seen.lines().len(), 3);
        terminal.master.resize(size(24, 50)).unwrap();
    }
    terminal.until(40);
    let lines = terminal.lines();
    assert_eq!(
        (lines.len(), lines[0].as_str()),
        (2, "before"),
        "{lines:#?}"
    );
    let (code, seen) = terminal.end();
    assert_eq!(code, 0);
    seen.is_clean();
}

#[test]
fn control_c_in_a_terminal_stops_a_run_and_shows_how_to_resume() {
    let sample = Sample::new();
    let mut terminal = Terminal::new(&sample, &["run", "--yes", "--throttle", "60"], &[]);
    terminal.until(20);
    // The shell is to print its last word as well.
    terminal.keyboard.write_all(b"\x03").unwrap();
    let begun = Instant::now();
    let (_, seen) = terminal.end();
    assert!(begun.elapsed() < Duration::from_secs(10));
    let lines = seen.lines();
    let next = lines.iter().find(|line| line.starts_with("next: "));
    assert_eq!(next.unwrap(), "next: loans-admin --store ./loans resume 1");
    assert!(!lines.iter().any(|line| line.contains('%')), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("^C")), "{lines:#?}");
    let trace = "SIGINT: finishing the chunks in progress; ";
    assert!(
        lines.iter().any(|line| line.starts_with(trace)),
        "{lines:#?}"
    );
    let moved = stands(&sample).at("loan@2013");
    assert!((20..240).contains(&moved), "{moved}");
}

#[test]
fn a_terminal_that_wants_no_colours_gets_none() {
    let sample = Sample::new();
    let args = ["run", "--yes", "--throttle", "200"];
    let terminal = Terminal::new(&sample, &args, &[("NO_COLOR", "1")]);
    let (code, seen) = terminal.end();
    assert_eq!(code, 0);
    assert!(seen.shares.len() >= 3, "{:?}", seen.shares);
    seen.is_clean();
    let text = String::from_utf8_lossy(&seen.bytes);
    for (at, _) in text.match_indices("\x1b[") {
        let code = text[at + 2..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        assert!(!code.starts_with('m'), "{text:?}");
    }
}

#[test]
fn a_terminal_that_cannot_draw_gets_lines() {
    let sample = Sample::new();
    let args = [
        "run",
        "--yes",
        "--throttle",
        "200",
        "--progress-interval",
        "100ms",
    ];
    let terminal = Terminal::new(&sample, &args, &[("TERM", "dumb"), ("NO_COLOR", "1")]);
    let (code, seen) = terminal.end();
    assert_eq!(code, 0);
    let text = String::from_utf8_lossy(&seen.bytes);
    assert!(!text.contains('\x1b'), "{text:?}");
    assert!(text.contains("\nloan: "), "{text:?}");
}

#[test]
fn a_terminal_without_a_name_gets_neither_bars_nor_colours() {
    let sample = Sample::new();
    let terminal = Terminal::new(&sample, &["run", "--yes"], &[("TERM", "")]);
    let (code, seen) = terminal.end();
    assert_eq!(code, 0);
    let text = String::from_utf8_lossy(&seen.bytes);
    assert!(!text.contains('\x1b'), "{text:?}");
}

/// The terminal is closed during a run.
#[test]
fn a_run_whose_terminal_goes_away_ends_and_can_be_resumed() {
    let sample = Sample::new();
    let mut terminal = Terminal::new(&sample, &["run", "--yes", "--throttle", "60"], &[]);
    terminal.until(20);
    terminal.seen.lock().unwrap().is_gone = true;
    terminal.reader.join().unwrap();
    drop((terminal.keyboard, terminal.master));
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && crate::store_state::holder(&sample).is_some() {
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(crate::store_state::holder(&sample), None);
    let _ = terminal.child.kill();
    terminal.child.wait().unwrap();
    let moved = stands(&sample).at("loan@2013");
    assert!((20..240).contains(&moved), "{moved}");
    crate::program::run(&sample, &["resume", "last"]).exits(0);
    assert_eq!(stands(&sample).migrations, [(1, 240)].into());
}
