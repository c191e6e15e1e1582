//! Answers of object stores for which a retry is useless, because a setting, a
//! permission or the bucket must change first.
//!
//! `object_store` has types for some of them. The error of a listing is always
//! [`Error::Generic`] around a private type, and requests that the client itself
//! refuses are too, so the other answers are recognised in the texts of the sources.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use slatedb::object_store::{Error, ObjectStore};

use crate::slate::kv::{in_causes, storage_error};

/// The kind of an object store, which decides the variables to name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cloud {
    S3,
    Azure,
    Google,
    /// A folder, or a store of the program's own.
    Other,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    Denied,
    WrongCredentials,
    NoCredentials,
    NoBucket,
    WrongRegion,
    WrongClock,
    HttpNotAllowed,
    UnknownHost,
    NotImplemented,
}

/// The sentence for requests that an object store does not implement.
pub(crate) const UNCONDITIONAL: &str = "this object store does not check conditions of writes, which is needed so that one of two programs that write at the same time is refused; use an object store with conditional writes (`If-None-Match` and `If-Match`)";

const DENIED: &str = "access is denied; check the credentials, or the permissions of the files";
const FULL: &str = "no space left; free space or raise the quota, and try again";

/// An answer for which a retry is useless.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What is wrong and what to do.
    pub(crate) sentence: String,
    /// The answer itself, in one line.
    pub(crate) said: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl StdError for Answer {}

impl Cloud {
    pub(crate) fn of(store: &dyn ObjectStore) -> Self {
        // The types of the clouds exist only with their features. Stores over others
        // include the text of the inner store.
        let text = store.to_string();
        let is = |name: &str| text.contains(name);
        if is("AmazonS3(") {
            Self::S3
        } else if is("MicrosoftAzure ") {
            Self::Azure
        } else if is("GoogleCloudStorage(") {
            Self::Google
        } else {
            Self::Other
        }
    }

    /// The variables of the credentials.
    fn credentials(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            Self::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            Self::Google => "GOOGLE_SERVICE_ACCOUNT (a file) or GOOGLE_SERVICE_ACCOUNT_KEY",
            Self::Other => "the credentials",
        }
    }

    /// The variables of the address.
    fn address(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ENDPOINT or AWS_REGION",
            Self::Azure => "AZURE_STORAGE_ENDPOINT or AZURE_STORAGE_ACCOUNT_NAME",
            Self::Google => "GOOGLE_BASE_URL",
            Self::Other => "the address of the object store",
        }
    }

    fn sentence(self, problem: Problem) -> String {
        let (credentials, address) = (self.credentials(), self.address());
        match (problem, self) {
            (Problem::Denied, Self::Other) => DENIED.to_owned(),
            (Problem::Denied, _) => format!(
                "the object store denied access; allow the account to list, read, write and delete objects, or set {credentials} of another account"
            ),
            (Problem::WrongCredentials, _) => format!(
                "the object store rejected the credentials or their signature; correct {credentials}"
            ),
            (Problem::NoCredentials, _) => format!(
                "there are no credentials, and this machine has no metadata service that gives any; set {credentials}"
            ),
            (Problem::NoBucket, Self::Azure) => format!(
                "the container does not exist; create the container, or correct the store URL or {address}"
            ),
            (Problem::NoBucket, _) => format!(
                "the bucket does not exist; create the bucket, or correct the store URL or {address}"
            ),
            (Problem::WrongRegion, Self::S3) => {
                "the bucket is in another region; set AWS_REGION to the region of the bucket"
                    .to_owned()
            }
            (Problem::WrongRegion, _) => {
                format!("the bucket is in another region; correct {address}")
            }
            (Problem::WrongClock, _) => {
                "the clock of this machine differs from that of the object store; set the clock"
                    .to_owned()
            }
            (Problem::HttpNotAllowed, _) => format!(
                "the address of the object store begins with http://, which must be allowed explicitly; set {}=true, or use https://",
                match self {
                    Self::S3 => "AWS_ALLOW_HTTP",
                    Self::Azure => "AZURE_ALLOW_HTTP",
                    Self::Google => "GOOGLE_ALLOW_HTTP",
                    Self::Other => "`allow_http`",
                }
            ),
            (Problem::UnknownHost, _) => format!(
                "the host name of the object store cannot be resolved; correct {address}, or check the network"
            ),
            (Problem::NotImplemented, _) => UNCONDITIONAL.to_owned(),
        }
    }
}

/// What an error says, if a retry is useless.
pub(crate) fn of(error: &Error, cloud: Cloud) -> Option<Answer> {
    let problem = problem(error)?;
    Some(Answer {
        sentence: cloud.sentence(problem),
        said: one_line(&in_full(error)),
    })
}

fn problem(error: &Error) -> Option<Problem> {
    match error {
        // SlateDB expects these of objects, and all objects of a missing bucket are
        // missing too.
        Error::NotFound { source, .. } => {
            return says_no_bucket(&source.to_string()).then_some(Problem::NoBucket);
        }
        Error::AlreadyExists { .. }
        | Error::Precondition { .. }
        | Error::NotModified { .. }
        | Error::NotImplemented { .. }
        | Error::NotSupported { .. } => return None,
        _ => {}
    }
    let text = in_full(error);
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let status = status(&text);
    // The services of a machine that give credentials.
    if says(&[
        "169.254.169.254",
        "169.254.170.2",
        "metadata.google.internal",
    ]) {
        Some(Problem::NoCredentials)
    } else if says(&["URL scheme is not allowed"]) {
        Some(Problem::HttpNotAllowed)
    } else if says(&["dns error", "failed to lookup address"]) {
        Some(Problem::UnknownHost)
    } else if says(&["RequestTimeTooSkewed"]) {
        Some(Problem::WrongClock)
    } else if says(&[
        "SignatureDoesNotMatch",
        "InvalidAccessKeyId",
        "AuthenticationFailed",
        "InvalidToken",
        "ExpiredToken",
    ]) || status == Some(401)
    {
        Some(Problem::WrongCredentials)
    } else if says(&["redirect without LOCATION", "AuthorizationHeaderMalformed"])
        || status == Some(301)
    {
        Some(Problem::WrongRegion)
    } else if says_no_bucket(&text) || status == Some(404) {
        // Only lists get here: a missing object has its own type.
        Some(Problem::NoBucket)
    } else if matches!(status, Some(405 | 501)) {
        Some(Problem::NotImplemented)
    } else if status == Some(403) || is_denied(error) {
        Some(Problem::Denied)
    } else {
        None
    }
}

fn is_denied(error: &(dyn StdError + 'static)) -> bool {
    in_causes(error, |cause| {
        let denied = match storage_error(cause) {
            Some(Error::PermissionDenied { .. } | Error::Unauthenticated { .. }) => true,
            _ => matches!(
                cause.downcast_ref::<io::Error>()?.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ),
        };
        denied.then_some(())
    })
    .is_some()
}

fn says_no_bucket(text: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"]
        .iter()
        .any(|word| text.contains(word))
}

/// The status of an HTTP answer, in the text of the client.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}

/// Whether an error says that the storage is full.
pub(crate) fn is_full(error: &(dyn StdError + 'static)) -> bool {
    in_causes(error, |cause| {
        let kind = cause.downcast_ref::<io::Error>()?.kind();
        matches!(
            kind,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
        .then_some(())
    })
    .is_some()
}

/// What to do about an error of the storage.
pub(crate) fn way_out(error: &(dyn StdError + 'static)) -> Option<String> {
    find(error)
        .map(|answer| answer.sentence.clone())
        .or_else(|| is_full(error).then(|| FULL.to_owned()))
        .or_else(|| is_denied(error).then(|| DENIED.to_owned()))
}

/// The answer in an error.
pub(crate) fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Answer> {
    in_causes(error, |cause| cause.downcast_ref::<Answer>())
}

/// The texts of an error and its sources. Some include the texts of their sources.
fn in_full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}

/// A text with the XML document in it as `Code: Message`.
fn one_line(text: &str) -> String {
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (inner, _) = rest.split_once("</")?;
        inner.lines().next().map(str::trim)
    };
    let start = text.find("<?xml").or_else(|| text.find("<Error"));
    let said = match (start, element("Code")) {
        (Some(start), Some(code)) => {
            let message = element("Message").unwrap_or_default();
            format!("{}{code}: {message}", &text[..start])
        }
        _ => text.to_owned(),
    };
    let words: Vec<&str> = said.split_whitespace().collect();
    words.join(" ").trim_end_matches([':', ' ']).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>CODE</Code><Message>It is\nwrong</Message></Error>";

    /// The text of the client for an HTTP answer.
    fn answered(status: &str, code: &str) -> String {
        format!(
            "Error performing GET http://127.0.0.1:9/buck?prefix=st1 in 2ms - Server returned non-2xx status code: {status}: {}",
            XML.replace("CODE", code)
        )
    }

    fn listing(text: impl Into<String>) -> Error {
        Error::Generic {
            store: "S3",
            source: text.into().into(),
        }
    }

    #[test]
    fn each_answer_names_the_variables_of_its_cloud() {
        let path = "st1/manifest".to_owned();
        let denied = Error::PermissionDenied {
            path: path.clone(),
            source: answered("403 Forbidden", "AccessDenied").into(),
        };
        let no_bucket = Error::NotFound {
            path,
            source: answered("404 Not Found", "NoSuchBucket").into(),
        };
        for (error, s3, azure) in [
            (
                listing(answered("403 Forbidden", "SignatureDoesNotMatch")),
                "the object store rejected the credentials or their signature; correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                "correct AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            ),
            (
                denied,
                "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of another account",
                "or set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY of another account",
            ),
            (
                listing(answered("403 Forbidden", "AccessDenied")),
                "the object store denied access; allow the account",
                "the object store denied access; allow the account",
            ),
            (
                listing(answered("404 Not Found", "NoSuchBucket")),
                "the bucket does not exist; create the bucket, or correct the store URL or AWS_ENDPOINT",
                "the container does not exist; create the container, or correct the store URL or AZURE_STORAGE_ENDPOINT",
            ),
            (
                no_bucket,
                "the bucket does not exist",
                "the container does not exist",
            ),
            (
                listing(answered("501 Not Implemented", "NotImplemented")),
                UNCONDITIONAL,
                UNCONDITIONAL,
            ),
            (
                listing(answered("403 Forbidden", "RequestTimeTooSkewed")),
                "the clock of this machine differs",
                "the clock of this machine differs",
            ),
            (
                listing("Received redirect without LOCATION, this normally indicates"),
                "set AWS_REGION",
                "another region; correct AZURE_STORAGE_ENDPOINT",
            ),
            (
                listing(
                    "Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error: error sending request",
                ),
                "there are no credentials",
                "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            ),
            (
                listing("HTTP error: builder error: URL scheme is not allowed"),
                "set AWS_ALLOW_HTTP=true, or use https://",
                "set AZURE_ALLOW_HTTP=true, or use https://",
            ),
            (
                listing(
                    "error sending request: client error (Connect): dns error: failed to lookup address information",
                ),
                "the host name of the object store cannot be resolved; correct AWS_ENDPOINT or AWS_REGION",
                "correct AZURE_STORAGE_ENDPOINT or AZURE_STORAGE_ACCOUNT_NAME",
            ),
        ] {
            for (cloud, expected) in [(Cloud::S3, s3), (Cloud::Azure, azure)] {
                let answer = of(&error, cloud).unwrap();
                assert!(answer.sentence.contains(expected), "{}", answer.sentence);
                assert!(!answer.said.contains('\n'), "{}", answer.said);
                assert!(!answer.said.contains("<?xml"), "{}", answer.said);
            }
        }
    }

    #[test]
    fn the_document_of_an_answer_is_read_into_the_line() {
        let error = listing(answered("403 Forbidden", "SignatureDoesNotMatch"));
        let answer = of(&error, Cloud::S3).unwrap();
        let end =
            " - Server returned non-2xx status code: 403 Forbidden: SignatureDoesNotMatch: It is";
        assert!(answer.said.ends_with(end), "{}", answer.said);
    }

    #[test]
    fn answers_that_slatedb_expects_and_outages_stay_as_they_are() {
        let path = String::new;
        for error in [
            Error::NotFound {
                path: path(),
                source: answered("404 Not Found", "NoSuchKey").into(),
            },
            Error::AlreadyExists {
                path: path(),
                source: answered("412 Precondition Failed", "PreconditionFailed").into(),
            },
            listing(answered("503 Service Unavailable", "SlowDown")),
            listing("error sending request: tcp connect error: Connection refused"),
        ] {
            assert!(of(&error, Cloud::S3).is_none(), "{error}");
        }
    }
}
