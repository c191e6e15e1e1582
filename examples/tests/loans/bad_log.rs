//! Logs that cannot be used: one sentence says what is wrong, where and what
//! to do, nothing is written, and a good log goes into the same store afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::program::{good, invented, packed, run, write};

/// A log of three applications, so small that a test can change one line of it.
fn log() -> String {
    let event = |name: &str, transition: &str, minute: u32| {
        format!(
            "<event><string key=\"concept:name\" value=\"{name}\"/>\
             <string key=\"lifecycle:transition\" value=\"{transition}\"/>\
             <date key=\"time:timestamp\" value=\"2012-01-05T10:{minute:02}:00+01:00\"/></event>\n"
        )
    };
    let trace = |number: u32, rest: String| {
        format!(
            "<trace><string key=\"concept:name\" value=\"{number}\"/>\
             <date key=\"REG_DATE\" value=\"2012-01-05T10:00:00+01:00\"/>\
             <string key=\"AMOUNT_REQ\" value=\"{number}0\"/>\n{}{rest}</trace>\n",
            event("A_SUBMITTED", "COMPLETE", 0)
        )
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<log xes.version=\"1.0\">\n{}{}{}</log>\n",
        trace(701, event("A_DECLINED", "COMPLETE", 1)),
        trace(702, event("W_Valideren aanvraag", "SCHEDULE", 2)),
        trace(703, event("O_SENT", "COMPLETE", 3)),
    )
}

struct Bench {
    folder: TempDir,
    store: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        Self { folder, store }
    }

    /// The log is refused with `error: <its path><message>`.
    fn refuses(&self, name: &str, contents: impl AsRef<[u8]>, message: &str) {
        let path = write(self.folder.path(), name, contents);
        self.refuses_path(&path, message);
    }

    fn refuses_path(&self, path: &Path, message: &str) {
        let run = run(path, &self.store);
        assert_eq!(
            run.stderr,
            format!("error: {}{message}\n", path.display()),
            "{run:?}"
        );
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
        assert!(!self.store.exists(), "{run:?}");
    }

    /// After all that, a good log goes into the same store.
    fn takes_a_good_log(&self) {
        let path = write(self.folder.path(), "good.xes", log());
        let result = good(&run(&path, &self.store));
        assert_eq!(result["imported"], 3);
        assert_eq!(result["events"], 6);
        assert_eq!(result["amount_requested"], 7010 + 7020 + 7030);
        assert_eq!(result["loans"]["declined"], 1);
        assert_eq!(result["loans"]["open"], 2);
    }
}

/// The log with one thing replaced, which must be there just once.
fn with(from: &str, to: &str) -> String {
    let log = log();
    assert_eq!(log.matches(from).count(), 1, "{from}");
    log.replace(from, to)
}

/// The byte at which a text begins.
fn byte_of(log: &str, text: &str) -> usize {
    log.find(text).unwrap()
}

#[test]
fn logs_that_are_cut_off() {
    let bench = Bench::new();
    let plain = log();
    let cut = plain
        .find("<trace><string key=\"concept:name\" value=\"703\"/>")
        .unwrap();
    let in_trace = &plain[..cut + plain[cut..].find("<event>").unwrap()];
    bench.refuses(
        "trace.xes",
        in_trace,
        &format!(
            ", byte {} of the XML, application 703 (trace 3): the XML ends inside <trace>, so the log is cut off; get the file again in full",
            in_trace.len()
        ),
    );
    // Between two traces, where all that is there looks complete.
    bench.refuses(
        "log.xes",
        &plain[..cut],
        &format!(
            ", byte {cut} of the XML: the XML ends inside <log>, so the log is cut off; get the file again in full"
        ),
    );
    let in_tag = &plain[..cut + 3];
    bench.refuses(
        "tag.xes",
        in_tag,
        &format!(
            ", byte {cut} of the XML: the XML is broken (syntax error: tag not closed: `>` not found before end of input); export or get the log again"
        ),
    );
    bench.takes_a_good_log();
}

#[test]
fn packed_logs_that_are_cut_off_or_damaged() {
    let bench = Bench::new();
    let whole = packed(invented(20).as_bytes());
    let path = write(bench.folder.path(), "cut.xes.gz", &whole[..whole.len() / 2]);
    let cut = run(&path, &bench.store);
    assert_eq!(cut.code, Some(1));
    assert!(
        cut.stderr
            .starts_with(&format!("error: {}, byte ", path.display())),
        "{cut:?}"
    );
    assert!(cut.stderr.contains(" of the XML, application "), "{cut:?}");
    assert!(
        cut.stderr.ends_with("; get the file again in full\n"),
        "{cut:?}"
    );
    assert!(
        cut.stderr
            .contains(": the gzip data is damaged or cut off ("),
        "{cut:?}"
    );

    // Only the checksum at the very end is missing.
    let path = write(bench.folder.path(), "end.xes.gz", &whole[..whole.len() - 4]);
    let end = run(&path, &bench.store);
    assert_eq!(end.code, Some(1));
    assert!(
        end.stderr.contains("the gzip data is damaged or cut off ("),
        "{end:?}"
    );

    let mut damaged = whole;
    let middle = damaged.len() / 2;
    damaged[middle..middle + 64].fill(0xff);
    let path = write(bench.folder.path(), "damaged.xes.gz", &damaged);
    let damaged = run(&path, &bench.store);
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(damaged.stderr.starts_with("error: "), "{damaged:?}");
    assert_eq!(damaged.stderr.lines().count(), 1);
    assert!(!bench.store.exists());
    bench.takes_a_good_log();
}

#[test]
fn files_that_are_no_logs() {
    let bench = Bench::new();
    let not_xml = ": the file is not XML; give --log an XES file, plain or gzipped";
    bench.refuses("notes.txt", "Applications: 13,087\n", not_xml);
    bench.refuses("empty.xes", "", not_xml);
    bench.refuses("empty.xes.gz", packed(b""), not_xml);
    bench.refuses(
        "page.html",
        "<!DOCTYPE html>\n<html><body>Not found</body></html>\n",
        ", byte 16 of the XML: the root element is <html>, but XES has <log>; give --log an XES file",
    );
    bench.refuses(
        "latin.xes",
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<log></log>\n",
        ", byte 0 of the XML: the XML is in ISO-8859-1; convert the log to UTF-8",
    );
    let no_applications =
        ": the log holds no applications; give --log one with at least one <trace>";
    bench.refuses("none.xes", "<log></log>\n", no_applications);
    bench.refuses("short.xes", "<log/>\n", no_applications);
    bench.refuses_path(
        &bench.folder.path().join("missing.xes"),
        ": cannot be read (No such file or directory (os error 2)); give --log the path of an XES file, plain or gzipped",
    );
    bench.refuses_path(
        bench.folder.path(),
        ": is not a file; give --log the path of an XES file, plain or gzipped",
    );
    bench.takes_a_good_log();
}

#[test]
fn logs_whose_elements_are_out_of_place() {
    let bench = Bench::new();
    let empty = with(
        "<event><string key=\"concept:name\" value=\"O_SENT\"/>",
        "<event/><event><string key=\"concept:name\" value=\"O_SENT\"/>",
    );
    bench.refuses(
        "event.xes",
        &empty,
        &format!(
            ", byte {} of the XML, application 703 (trace 3): <event/> is empty; remove it from the log or give it its attributes",
            byte_of(&empty, "<event/>")
        ),
    );
    let empty = with("</log>", "<trace/></log>");
    bench.refuses(
        "trace.xes",
        &empty,
        &format!(
            ", byte {} of the XML, trace 4: <trace/> is empty; remove it from the log or give it its attributes",
            byte_of(&empty, "<trace/>")
        ),
    );
    let outside = with("</log>", "<event></event></log>");
    bench.refuses(
        "outside.xes",
        &outside,
        &format!(
            ", byte {} of the XML: <event> is not allowed inside <log>; correct the log",
            byte_of(&outside, "<event></event>")
        ),
    );
    let prefixed = with("</log>", "<xes:trace></xes:trace></log>");
    bench.refuses(
        "prefixed.xes",
        &prefixed,
        &format!(
            ", byte {} of the XML: <xes:trace> is not allowed inside <log>; correct the log",
            byte_of(&prefixed, "<xes:trace>")
        ),
    );
    let two = format!("{}<log></log>", log());
    bench.refuses(
        "two.xes",
        &two,
        &format!(
            ", byte {} of the XML: the XML continues after </log>; an XES file holds one log, so split the file",
            byte_of(&two, "<log></log>")
        ),
    );
    let crossed = with("</log>", "</trace></log>");
    let path = write(bench.folder.path(), "crossed.xes", &crossed);
    let run = run(&path, &bench.store);
    assert_eq!(run.code, Some(1));
    let start = format!(
        "error: {}, byte {} of the XML: the XML is broken (",
        path.display(),
        byte_of(&crossed, "</trace></log>")
    );
    assert!(run.stderr.starts_with(&start), "{run:?}");
    let unknown = with("value=\"O_SENT\"", "value=\"&offer;\"");
    let path = write(bench.folder.path(), "entity.xes", &unknown);
    let run = crate::program::run(&path, &bench.store);
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr
            .contains("application 703 (trace 3): the XML is broken ("),
        "{run:?}"
    );
    bench.takes_a_good_log();
}

#[test]
fn applications_that_cannot_be_used() {
    let bench = Bench::new();
    let second = ", application 702 (trace 2)";
    bench.refuses(
        "amount.xes",
        with("<string key=\"AMOUNT_REQ\" value=\"7020\"/>", ""),
        &format!(
            "{second}: `AMOUNT_REQ` is missing; add it to the log as <string key=\"AMOUNT_REQ\" …>"
        ),
    );
    bench.refuses(
        "lots.xes",
        with("value=\"7020\"", "value=\"7020,50\""),
        &format!(
            "{second}: `AMOUNT_REQ` is \"7020,50\"; correct the log, which needs a whole number of euro here"
        ),
    );
    let int = with(
        "<string key=\"AMOUNT_REQ\" value=\"7020\"/>",
        "<int key=\"AMOUNT_REQ\" value=\"lots\"/>",
    );
    bench.refuses(
        "int.xes",
        &int,
        &format!(
            ", byte {} of the XML{second}: <int key=\"AMOUNT_REQ\"> has the value \"lots\", which is not a whole number; correct the log",
            byte_of(&int, "<int ")
        ),
    );
    bench.refuses(
        "negative.xes",
        with(
            "<string key=\"AMOUNT_REQ\" value=\"7020\"/>",
            "<int key=\"AMOUNT_REQ\" value=\"-1\"/>",
        ),
        &format!(
            "{second}: `AMOUNT_REQ` is -1; correct the log, which needs a whole number of euro here"
        ),
    );
    bench.refuses(
        "number.xes",
        with("<string key=\"concept:name\" value=\"702\"/>", ""),
        ", trace 2: `concept:name` is missing; add it to the log as <string key=\"concept:name\" …>",
    );
    bench.refuses(
        "slash.xes",
        with("value=\"702\"", "value=\"7/02\""),
        ", trace 2: `concept:name` cannot be an application's number: process id \"7/02\" contains a `/`, which separates the parts of a stream id; correct the log",
    );
    bench.refuses(
        "twice.xes",
        with("value=\"703\"", "value=\"701\""),
        ", application 701 (trace 3): another application in the log has the same number; give each its own",
    );
    let events = log();
    let from = events.find("value=\"7020\"/>\n").unwrap() + "value=\"7020\"/>\n".len();
    let to = from + events[from..].find("</trace>").unwrap();
    bench.refuses(
        "events.xes",
        format!("{}{}", &events[..from], &events[to..]),
        &format!("{second}: the application has no events; remove it from the log"),
    );
    bench.takes_a_good_log();
}

#[test]
fn events_that_cannot_be_used() {
    let bench = Bench::new();
    let third = ", application 703 (trace 3), event 2";
    bench.refuses(
        "time.xes",
        with(
            "<date key=\"time:timestamp\" value=\"2012-01-05T10:03:00+01:00\"/>",
            "",
        ),
        &format!(
            "{third}: `time:timestamp` is missing; add it to the log as <date key=\"time:timestamp\" …>"
        ),
    );
    bench.refuses(
        "date.xes",
        with("2012-01-05T10:03:00+01:00", "5 January 2012"),
        &format!(
            "{third}: `time:timestamp` is unreadable; correct the log, which needs a <date> such as 2011-10-01T09:00:00+02:00 here"
        ),
    );
    bench.refuses(
        "activity.xes",
        with("O_SENT", "O_SENDT"),
        &format!(
            "{third}: the activity \"O_SENDT\" is unknown (A_ and O_ activities are those of the bank's loan process, W_ activities are free); correct the log"
        ),
    );
    bench.refuses(
        "transition.xes",
        with("SCHEDULE", "SUSPEND"),
        ", application 702 (trace 2), event 2: W_Valideren aanvraag has the transition \"SUSPEND\"; correct the log, which needs SCHEDULE, START or COMPLETE here",
    );
    bench.refuses(
        "status.xes",
        with(
            "value=\"A_DECLINED\"/><string key=\"lifecycle:transition\" value=\"COMPLETE\"",
            "value=\"A_DECLINED\"/><string key=\"lifecycle:transition\" value=\"START\"",
        ),
        ", application 701 (trace 1), event 2: A_DECLINED has the transition \"START\"; correct the log, which needs COMPLETE here",
    );
    bench.refuses(
        "name.xes",
        with(
            "<string key=\"concept:name\" value=\"O_SENT\"/>",
            "<string key=\"concept:name\" value=\"O_SENT\"/><string key=\"concept:name\" value=\"O_CREATED\"/>",
        ),
        &format!("{third}: `concept:name` is there twice; remove one of the two from the log"),
    );
    let deep = "<string key=\"a\" value=\"b\">".repeat(200_000);
    let run = run(
        &write(
            bench.folder.path(),
            "deep.xes",
            with("<string key=\"concept:name\" value=\"O_SENT\"/>", &deep),
        ),
        &bench.store,
    );
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("more than 64 levels deep"), "{run:?}");
    bench.refuses(
        "again.xes",
        with("O_SENT", "A_SUBMITTED"),
        &format!(
            "{third}: an application begins with A_SUBMITTED and has it once; correct the log"
        ),
    );
    bench.takes_a_good_log();
    fs::remove_dir_all(&bench.store).unwrap();
}
