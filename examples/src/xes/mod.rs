//! Loan applications out of an event log in XES (IEEE 1849).
//!
//! A log is read several times, always as a stream: [`XesLog::fingerprint`]
//! says which log it is, [`XesLog::check`] reads all of it before anything is
//! written anywhere, and [`XesLog::applications`] yields one application after
//! the other. Memory holds one application, and during the check the numbers
//! of all.

mod application;
mod error;
mod structure;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;
use process_mining::core::event_data::case_centric::xes::{
    XESImportOptions, XESParsingTraceStream, stream_xes_bufread,
};
use serde::{Deserialize, Serialize};

pub use application::{Activity, Application, Happening};
pub use error::{LogError, Place, Problem};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An event log, plain or gzipped, in a file or in the program itself.
#[derive(Debug, Clone)]
pub struct XesLog {
    name: String,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    File(PathBuf),
    Embedded(&'static [u8]),
}

/// Which log it is: two logs with the same fingerprint are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFingerprint {
    /// The CRC-32 of the file as it is, packed or not.
    pub crc32: u32,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSize {
    /// The number of applications.
    pub applications: u64,
    /// The number of events of all applications.
    pub events: u64,
}

impl XesLog {
    /// A log in a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self {
            name: path.display().to_string(),
            source: Source::File(path),
        }
    }

    /// A log that is part of the program.
    pub fn embedded(name: impl Into<String>, bytes: &'static [u8]) -> Self {
        Self {
            name: name.into(),
            source: Source::Embedded(bytes),
        }
    }

    /// What to call the log when talking to people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which log this is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fingerprint(&self) -> Result<LogFingerprint, LogError> {
        let fail = |error| self.error(Place::Whole, Problem::Unreadable(error));
        let mut file = self.raw()?;
        let (mut crc, mut bytes) = (crc32fast::Hasher::new(), 0);
        loop {
            let part = file.fill_buf().map_err(fail)?;
            if part.is_empty() {
                break;
            }
            crc.update(part);
            let read = part.len();
            bytes += read as u64;
            file.consume(read);
        }
        Ok(LogFingerprint {
            crc32: crc.finalize(),
            bytes,
        })
    }

    /// Reads the whole log and says what it holds, if all of it can be used.
    ///
    /// # Errors
    /// Something in the log cannot be used; the error says what and where.
    pub fn check(&self) -> Result<LogSize, LogError> {
        let found = structure::check(self.open()?)
            .map_err(|fault| self.error(fault.place, fault.problem.unpacking(self.is_packed())))?;
        if found.applications == 0 {
            return Err(self.error(Place::Whole, Problem::NoApplications));
        }
        let mut numbers = HashSet::new();
        let mut read = LogSize {
            applications: 0,
            events: 0,
        };
        for application in self.applications()? {
            let application = application?;
            read.applications += 1;
            read.events += application.activities.len() as u64;
            let place = Place::Application {
                ordinal: read.applications,
                number: Some(application.number.to_string()),
            };
            if !numbers.insert(application.number) {
                return Err(self.error(place, Problem::Duplicate));
            }
        }
        if read == found {
            Ok(read)
        } else {
            // The two readers disagree about what the XML says.
            Err(self.error(Place::Whole, Problem::Miscounted { found, read }))
        }
    }

    /// The applications, one by one, in the order of the log.
    ///
    /// Use it on a log that [`check`](Self::check) found good: an XML that ends
    /// early looks complete here, and some broken ones make the parser panic.
    ///
    /// # Errors
    /// The log cannot be opened or does not begin like one.
    pub fn applications(&self) -> Result<Applications<'_>, LogError> {
        let options = XESImportOptions {
            // What it would print is either found by the check or harmless.
            verbose: false,
            ..XESImportOptions::default()
        };
        let (traces, _) = stream_xes_bufread(self.open()?, false, options).map_err(|error| {
            self.error(Place::Whole, Problem::Xes(error::shown(&error.to_string())))
        })?;
        Ok(Applications {
            log: self,
            traces,
            ordinal: 0,
        })
    }

    fn open(&self) -> Result<Box<dyn BufRead>, LogError> {
        let mut file = self.raw()?;
        let packed = file
            .fill_buf()
            .map_err(|error| self.error(Place::Whole, Problem::Unreadable(error)))?
            .starts_with(&GZIP_MAGIC);
        Ok(if packed {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            file
        })
    }

    fn raw(&self) -> Result<Box<dyn BufRead>, LogError> {
        Ok(match &self.source {
            Source::Embedded(bytes) => Box::new(*bytes),
            Source::File(path) => {
                let fail = |error| self.error(Place::Whole, Problem::Unreadable(error));
                // A log is read more than once, which a pipe cannot be.
                if !path.metadata().map_err(fail)?.is_file() {
                    return Err(self.error(Place::Whole, Problem::NotAFile));
                }
                Box::new(BufReader::new(File::open(path).map_err(fail)?))
            }
        })
    }

    fn is_packed(&self) -> bool {
        self.raw().is_ok_and(|file| {
            let mut magic = Vec::new();
            let read: io::Result<usize> = file.take(2).read_to_end(&mut magic);
            read.is_ok() && magic == GZIP_MAGIC
        })
    }

    fn error(&self, place: Place, problem: Problem) -> LogError {
        LogError {
            log: self.name.clone(),
            place,
            problem,
        }
    }
}

/// The applications of a log, one by one.
#[derive(Debug)]
pub struct Applications<'a> {
    log: &'a XesLog,
    traces: XESParsingTraceStream<'static>,
    ordinal: u64,
}

impl Iterator for Applications<'_> {
    type Item = Result<Application, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(trace) = (&mut self.traces).next() else {
            let error = self.traces.error.take()?;
            let problem = Problem::Xes(error::shown(&error.to_string()));
            return Some(Err(self.log.error(Place::Whole, problem)));
        };
        self.ordinal += 1;
        Some(
            Application::from_trace(trace, self.ordinal)
                .map_err(|fault| self.log.error(fault.place, fault.problem)),
        )
    }
}
