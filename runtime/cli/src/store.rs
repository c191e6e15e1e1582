//! The store named on the command line, and how it is opened.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slatedb::config::Settings;
use slatedb::object_store::ObjectStore;
use slatedb::object_store::memory::InMemory;
use state_migration_core::store_api::claim::interrupted_by;
use state_migration_core::{ErrorKind, InUse, RunId};
use state_migration_store::{SlateDbReader, SlateDbStore, SlateDbStoreBuilder};
use url::Url;

use crate::exit_code::{Failure, Reason};
use crate::settings;
use crate::take_over::{QUIET, TakeOver};

/// A function that configures how a store is opened.
pub(crate) type Configure = Arc<dyn Fn(SlateDbStoreBuilder) -> SlateDbStoreBuilder + Send + Sync>;

/// The warning about a store that another program has open.
pub(crate) fn in_use(in_use: &InUse) -> String {
    let way_out = match in_use.appears_alive() {
        true => "",
        false => ", or --take-over if that program is dead",
    };
    format!("{in_use}; use --socket PATH to run inside that program{way_out}")
}

/// A store named on the command line.
pub(crate) struct Target {
    url: String,
    place: StoreLocation,
    settings: Option<PathBuf>,
    /// How long a run waits for a store that does not answer.
    patience: Option<Duration>,
    configure: Option<Configure>,
}

/// The claims on a store that prevent a command from opening it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Claim {
    /// No claim.
    Any,
    /// Any claim except that of the given run, which the command resumes.
    Of(Option<RunId>),
    /// The claim of a run in progress.
    Interrupted,
}

/// Reason why a store was not opened for writing, and the suggested next step.
pub(crate) struct OpenFailure {
    pub(crate) failure: Failure,
    pub(crate) next_step: Option<NextStep>,
}

/// The suggested step if another program has, or had, the store open.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NextStep {
    /// The program is writing, so nothing that would fence it.
    Inspect,
    TakeOver,
    /// The run was interrupted, and no program has the store open.
    Resume(RunId),
    /// Another run than the requested one was interrupted.
    ResumeByTakingOver(RunId),
}

impl From<Failure> for OpenFailure {
    fn from(failure: Failure) -> Self {
        let next_step = None;
        Self { failure, next_step }
    }
}

enum StoreLocation {
    Folder(PathBuf),
    /// A store in memory, which is empty and lives as long as the program: only for
    /// commands that read.
    Memory(Arc<dyn ObjectStore>),
    ObjectStore(Arc<dyn ObjectStore>, String),
}

impl Target {
    pub(crate) fn new(
        url: &str,
        settings: Option<&Path>,
        configure: Option<Configure>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            url: url.to_owned(),
            place: StoreLocation::of(url)?,
            settings: settings.map(Path::to_owned),
            patience: None,
            configure,
        })
    }

    /// Waits this long for a store that does not answer, unless the settings say otherwise.
    pub(crate) fn with_patience(mut self, patience: Option<Duration>) -> Self {
        self.patience = patience;
        self
    }

    fn builder(&self) -> Result<SlateDbStoreBuilder, Failure> {
        let builder = match &self.place {
            StoreLocation::Folder(folder) => {
                SlateDbStore::local_builder(folder).map_err(Failure::of_opening)?
            }
            StoreLocation::Memory(store) => SlateDbStore::builder("store", store.clone()),
            StoreLocation::ObjectStore(store, path) => {
                SlateDbStore::builder(path.as_str(), store.clone()).location(&self.url)
            }
        };
        let mut said = Ok(Settings::default());
        let file = self.settings.as_deref();
        let mut builder = builder.with_settings(|ours| {
            if let Some(patience) = self.patience {
                ours.object_store_max_retries = Some(retries(patience));
            }
            said = settings::over(ours, file);
            if let Ok(said) = &said {
                ours.clone_from(said);
            }
        });
        let said = said?;
        builder = builder.with_reader_options(|reader| {
            reader.manifest_poll_interval = said.manifest_poll_interval;
            reader.object_store_cache_options = said.object_store_cache_options;
            reader.object_store_max_retries = said.object_store_max_retries;
            reader.metric_level = Some(said.metric_level);
        });
        if let Some(configure) = &self.configure {
            builder = configure(builder);
        }
        builder = builder.patience(self.patience.unwrap_or(PATIENCE));
        Ok(builder)
    }

    /// Opens the store read-only.
    pub(crate) async fn reader(&self) -> Result<SlateDbReader, Failure> {
        if let StoreLocation::Memory(_) = self.place {
            // A store in memory is empty, so nothing is overwritten.
            self.builder()?.open().await?.close().await?;
        }
        let opened = self.builder()?.open_reader().await;
        opened.map_err(Failure::of_opening)
    }

    /// Refuses a store in memory, in which nothing could be changed.
    pub(crate) fn check_writable(&self) -> Result<(), Failure> {
        match self.place {
            StoreLocation::Memory(_) => Err(Failure::environment(
                Reason::Usage,
                "the store `memory:` is empty and ends with the command, so there is nothing to change; give a folder or the URL of a store",
            )),
            _ => Ok(()),
        }
    }

    /// Opens the store for writing. `claim` says which run a command may continue; it
    /// cannot start one where another run was interrupted.
    ///
    /// The store must be closed in any case, or the next command assumes that it is
    /// still open.
    pub(crate) async fn writer(
        &self,
        take_over: TakeOver,
        claim: Claim,
    ) -> Result<SlateDbStore, OpenFailure> {
        self.check_writable()?;
        let mut builder = self.builder()?.only_existing();
        let opened = if take_over.fences() {
            builder.open().await
        } else if take_over.is_meant() {
            builder.open_unless_alive(QUIET).await
        } else {
            if let Claim::Of(run) = claim {
                builder = builder.unless_claimed(run);
            }
            builder.open_unless_in_use().await
        };
        opened.map_err(|error| match error.kind() {
            ErrorKind::InUse(in_use) => OpenFailure {
                next_step: match (in_use.run, claim) {
                    _ if in_use.appears_alive() => Some(NextStep::Inspect),
                    (Some(run), Claim::Of(wanted)) if wanted != Some(run) => {
                        Some(NextStep::ResumeByTakingOver(run))
                    }
                    _ => Some(NextStep::TakeOver),
                },
                failure: Failure::refused(Reason::StoreInUse, format!(
                    "the store {} cannot be opened: {in_use}; opening the store would fence that program, so {}{}",
                    self.url,
                    match claim {
                        Claim::Of(_) | Claim::Interrupted => "use `--socket PATH` to run inside that program",
                        Claim::Any => "use `--socket PATH` to ask that program, or try again after it has ended",
                    },
                    match in_use.appears_alive() {
                        true => "",
                        false => ", or add `--take-over` if that program is dead",
                    }
                ))
                .run(in_use.run),
            },
            ErrorKind::Claimed { run } => OpenFailure {
                next_step: Some(NextStep::Resume(*run)),
                failure: Failure::refused(
                    Reason::InterruptedRun,
                    format!("{} with --take-over", interrupted_by(*run)),
                )
                .run(*run),
            },
            _ => Failure::of_opening(error).into(),
        })
    }
}

/// How long a command other than a run waits for a store that does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often SlateDB repeats a request in this time: with pauses of a second, after the
/// first few.
fn retries(patience: Duration) -> u32 {
    const FIRST: u64 = 4;
    u32::try_from(patience.as_secs() + FIRST).unwrap_or(u32::MAX)
}

impl StoreLocation {
    fn of(text: &str) -> Result<Self, Failure> {
        let (scheme, rest) = text.split_once(':').unzip();
        // A single letter is a drive.
        let is_scheme = |scheme: &str| {
            scheme.len() > 1 && scheme.chars().all(|letter| letter.is_ascii_alphanumeric())
        };
        let Some(scheme) = scheme.filter(|scheme| is_scheme(scheme)) else {
            return Ok(Self::Folder(PathBuf::from(text)));
        };
        let scheme = scheme.to_ascii_lowercase();
        let bad = |why: String| {
            Failure::environment(
                Reason::Usage,
                format!(
                    "invalid store `{text}`: {why}; expected a folder, file:///folder, s3://bucket/path, az://container/path or gs://bucket/path"
                ),
            )
        };
        if scheme == "memory" {
            return Ok(Self::Memory(Arc::new(InMemory::new())));
        }
        let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
        if scheme == "file" {
            // The URL parser reads `file:loans` as `/loans`.
            let is_whole = rest.is_some_and(|rest| rest.starts_with('/'));
            return is_whole
                .then(|| url.to_file_path().ok())
                .flatten()
                .map(Self::Folder)
                .ok_or_else(|| bad("the path of a file: URL must begin with a slash".to_owned()));
        }
        if !matches!(scheme.as_str(), "s3" | "s3a" | "az" | "azure" | "gs") {
            return Err(bad(format!("unsupported URL scheme `{scheme}`")));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(bad("the bucket is missing".to_owned()));
        }
        let path = slatedb::object_store::path::Path::from_url_path(url.path())
            .map_err(|error| bad(error.to_string()))?;
        Ok(Self::ObjectStore(cloud(&url)?, path.to_string()))
    }
}

/// The object store of a cloud, with credentials from the cloud's environment
/// variables.
fn cloud(url: &Url) -> Result<Arc<dyn ObjectStore>, Failure> {
    let feature = match url.scheme() {
        "s3" | "s3a" => "aws",
        "gs" => "gcp",
        _ => "azure",
    };
    let built: Option<Result<Arc<dyn ObjectStore>, slatedb::object_store::Error>> = match feature {
        #[cfg(feature = "aws")]
        "aws" => Some(
            slatedb::object_store::aws::AmazonS3Builder::from_env()
                .with_url(url.as_str())
                .with_retry(requests::retry())
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
        ),
        #[cfg(feature = "azure")]
        "azure" => Some(
            slatedb::object_store::azure::MicrosoftAzureBuilder::from_env()
                .with_url(url.as_str())
                .with_retry(requests::retry())
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
        ),
        #[cfg(feature = "gcp")]
        "gcp" => Some(
            slatedb::object_store::gcp::GoogleCloudStorageBuilder::from_env()
                .with_url(url.as_str())
                .with_retry(requests::retry())
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
        ),
        _ => None,
    };
    match built {
        Some(Ok(store)) => Ok(store),
        Some(Err(error)) => Err(Failure::environment(
            Reason::StoreUnavailable,
            format!(
                "the store {url} cannot be opened: {error}; check the variables {}",
                match feature {
                    "aws" =>
                        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT",
                    "gcp" => "GOOGLE_SERVICE_ACCOUNT and GOOGLE_SERVICE_ACCOUNT_KEY",
                    _ => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
                }
            ),
        )),
        None => Err(Failure::environment(
            Reason::Unsupported,
            format!(
                "this program is built without support for the store {url}; build it with the feature `{feature}` of state-migration"
            ),
        )),
    }
}

#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
mod requests {
    use std::time::Duration;

    use slatedb::object_store::RetryConfig;

    /// Few retries, since SlateDB retries as well.
    pub(crate) fn retry() -> RetryConfig {
        RetryConfig {
            max_retries: 1,
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn folder(text: &str) -> PathBuf {
        match StoreLocation::of(text) {
            Ok(StoreLocation::Folder(folder)) => folder,
            _ => panic!("{text} is no folder"),
        }
    }

    #[test]
    fn text_without_a_scheme_is_a_folder() {
        for text in ["loans", "./loans", "/data/loans", "C:\\loans", "a b:c/d"] {
            assert_eq!(folder(text), PathBuf::from(text));
        }
        assert_eq!(
            folder("file:///data/my%20loans"),
            PathBuf::from("/data/my loans")
        );
        assert!(matches!(
            StoreLocation::of("memory:"),
            Ok(StoreLocation::Memory(_))
        ));
    }

    #[test]
    fn what_names_no_store_is_told_how_to_write_one() {
        for (text, why) in [
            ("ftp://host/loans", "unsupported URL scheme `ftp`"),
            (
                "file://loans",
                "the path of a file: URL must begin with a slash",
            ),
            (
                "file:loans",
                "the path of a file: URL must begin with a slash",
            ),
            ("s3:///loans", "the bucket is missing"),
            ("s3:loans", "the bucket is missing"),
        ] {
            let message = StoreLocation::of(text).err().unwrap().to_string();
            assert!(message.contains(why), "{message}");
            assert!(message.contains("s3://bucket/path"), "{message}");
        }
    }

    #[test]
    #[cfg(not(any(feature = "aws", feature = "azure", feature = "gcp")))]
    fn a_cloud_that_was_left_out_is_named_with_its_feature() {
        for (text, feature) in [
            ("s3://bucket/path", "aws"),
            ("S3://bucket/path", "aws"),
            ("az://container/path", "azure"),
            ("gs://bucket/path", "gcp"),
        ] {
            let message = StoreLocation::of(text).err().unwrap().to_string();
            assert!(
                message.contains(&format!("the feature `{feature}` of")),
                "{message}"
            );
        }
    }
}
