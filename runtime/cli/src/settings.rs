//! SlateDB's settings, from a file and from environment variables.

use std::path::Path;

use figment::providers::{Env, Format, Json, Serialized, Toml, Yaml};
use figment::value::{Dict, Value};
use figment::{Figment, Profile, Provider};
use slatedb::config::{CompactorOptions, GarbageCollectorOptions, Settings};

use crate::exit_code::{Failure, Reason};

const PREFIX: &str = "SLATEDB_";

/// The variables that a container platform sets in every container for a service that is
/// named `slatedb` or `slatedb-…`, such as `SLATEDB_PORT=tcp://10.0.0.1:80`.
pub(crate) fn of_a_platform() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut names: Vec<String> = names
        .filter(|name| name.strip_prefix(PREFIX).is_some_and(is_of_a_platform))
        .collect();
    names.sort();
    names
}

/// Whether a variable, without the prefix, has the form of an address of a service.
fn is_of_a_platform(name: &str) -> bool {
    let name = format!("_{}", name.to_ascii_uppercase());
    let ends = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT"];
    ends.iter().any(|end| name.ends_with(end)) || name.contains("_PORT_")
}

/// Applies the settings of a file to the defaults, and those of environment variables
/// to both.
pub(crate) fn over(ours: &Settings, file: Option<&Path>) -> Result<Settings, Failure> {
    let known = known()?;
    let mut all = Figment::from(Serialized::defaults(ours));
    let mut places = Vec::new();
    if let Some(file) = file {
        let said = read(file)?;
        if let Some(key) = unknown(&said, &known, &mut Vec::new()) {
            return Err(Failure::environment(
                Reason::Settings,
                format!(
                    "unknown SlateDB setting `{key}` in the settings file {}; correct its name, or remove it",
                    file.display()
                ),
            ));
        }
        all = all.merge(Serialized::defaults(&said));
        places.push(format!("of the file {}", file.display()));
    }
    let variables = Env::prefixed(PREFIX).filter(|name| !is_of_a_platform(name.as_str()));
    let said = of_default_profile(&variables).unwrap_or_default();
    if let Some(key) = unknown(&said, &known, &mut Vec::new()) {
        return Err(Failure::environment(
            Reason::Settings,
            format!(
                "the variable {} is for the unknown SlateDB setting `{key}`; correct its name, or unset it",
                variable(&key)
            ),
        ));
    }
    if !said.is_empty() {
        places.push(format!("of the variables {PREFIX}*"));
    }
    let settings = all.merge(variables).extract::<Settings>();
    let mut settings = settings.map_err(|error| {
        let key = error.path.join(".");
        let place = if find(&said, &key) {
            format!("of the variable {}", variable(&key))
        } else {
            places.first().cloned().unwrap_or_default()
        };
        Failure::environment(
            Reason::Settings,
            format!(
                "invalid value for the setting `{key}` {place}: {}; correct the value",
                of_value(&one_line(&error.kind.to_string()))
            ),
        )
    })?;
    settings.validate().map_err(|error| {
        Failure::environment(
            Reason::Settings,
            format!(
                "the settings {} are inconsistent: {}; correct them",
                places.join(" and "),
                one_line(&error.to_string())
            ),
        )
    })?;
    keep_bounds(ours, &mut settings);
    Ok(settings)
}

/// Limits the retries of requests: with unlimited retries the tool would hang.
fn keep_bounds(ours: &Settings, settings: &mut Settings) {
    let Some(retries) = ours.object_store_max_retries else {
        return;
    };
    let retries = |of: &mut Option<u32>| {
        of.get_or_insert(retries);
    };
    retries(&mut settings.object_store_max_retries);
    if let Some(collector) = &mut settings.garbage_collector_options {
        retries(&mut collector.object_store_max_retries);
    }
    if let Some(compactor) = &mut settings.compactor_options {
        retries(&mut compactor.object_store_max_retries);
    }
}

/// Reads a settings file.
fn read(file: &Path) -> Result<Dict, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::environment(
            Reason::Settings,
            format!("cannot read the settings file {shown}: {error}; check `--settings`"),
        )
    })?;
    let kind = file.extension().and_then(|kind| kind.to_str());
    let said = match kind {
        Some("toml") => of_default_profile(&Toml::string(&text)),
        // Without text there are no settings, as in the other formats.
        Some("json") if text.trim().is_empty() => Ok(Dict::new()),
        Some("json") => of_default_profile(&Json::string(&text)),
        Some("yaml" | "yml") => of_default_profile(&Yaml::string(&text)),
        _ => {
            return Err(Failure::environment(
                Reason::Settings,
                format!("unsupported settings file {shown}: expected .toml, .json or .yaml"),
            ));
        }
    };
    said.map_err(|error| {
        Failure::environment(
            Reason::Settings,
            format!(
                "cannot parse the settings file {shown}: {}; correct it",
                one_line(&error.to_string())
            ),
        )
    })
}

fn of_default_profile(provider: &impl Provider) -> Result<Dict, Box<figment::Error>> {
    let mut profiles = provider.data().map_err(Box::new)?;
    Ok(profiles.remove(&Profile::Default).unwrap_or_default())
}

/// All settings that SlateDB knows.
fn known() -> Result<Dict, Failure> {
    let full = Settings {
        compactor_options: Some(CompactorOptions::default()),
        garbage_collector_options: Some(GarbageCollectorOptions::default()),
        ..Settings::default()
    };
    of_default_profile(&Serialized::defaults(full)).map_err(|error| {
        Failure::environment(
            Reason::Settings,
            format!("invalid SlateDB settings: {error}"),
        )
    })
}

/// The path of the first unknown key.
fn unknown(said: &Dict, known: &Dict, within: &mut Vec<String>) -> Option<String> {
    for (key, value) in said {
        within.push(key.clone());
        match (value, known.get(key)) {
            (_, None) => return Some(within.join(".")),
            // An empty table accepts any keys.
            (Value::Dict(_, said), Some(Value::Dict(_, known))) if !known.is_empty() => {
                if let Some(key) = unknown(said, known, within) {
                    return Some(key);
                }
            }
            _ => {}
        }
        within.pop();
    }
    None
}

/// Whether a key is set.
fn find(said: &Dict, key: &str) -> bool {
    let mut parts = key.split('.');
    let mut found = parts.next().and_then(|part| said.get(part));
    for part in parts {
        found = match found {
            Some(Value::Dict(_, dict)) => dict.get(part),
            _ => None,
        };
    }
    found.is_some()
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// The first and last line of an error text, without the drawing in between.
/// The problem of a value. The parser of durations repeats the value only.
fn of_value(problem: &str) -> String {
    match problem.split_once(": partial_input:") {
        Some((value, _)) => format!("{value:?} is not a duration, such as 5ms or 10s"),
        None => problem.to_owned(),
    }
}

fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let last = lines.rfind(|line| line.chars().any(char::is_alphabetic));
    match last {
        Some(last) if text.lines().count() > 2 => format!("{first}: {last}"),
        _ => first.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    fn ours() -> Settings {
        Settings {
            object_store_max_retries: Some(8),
            l0_max_ssts: 77,
            ..Settings::default()
        }
    }

    #[test]
    fn a_file_of_each_kind_goes_over_our_defaults_and_leaves_the_others() {
        for (name, text) in [
            (
                "a.toml",
                "flush_interval = \"7ms\"\n[compactor_options]\nmax_concurrent_compactions = 3\n",
            ),
            (
                "a.json",
                r#"{"flush_interval":"7ms","compactor_options":{"max_concurrent_compactions":3}}"#,
            ),
            (
                "a.yaml",
                "flush_interval: 7ms\ncompactor_options:\n  max_concurrent_compactions: 3\n",
            ),
            (
                "a.yml",
                "flush_interval: 7ms\ncompactor_options:\n  max_concurrent_compactions: 3\n",
            ),
        ] {
            let (_folder, file) = file(name, text);
            let settings = over(&ours(), Some(&file)).unwrap();
            let seven = std::time::Duration::from_millis(7);
            assert_eq!(settings.flush_interval, Some(seven), "{name}");
            assert_eq!(settings.l0_max_ssts, 77, "{name}");
            let compactor = settings.compactor_options.unwrap();
            assert_eq!(compactor.max_concurrent_compactions, 3, "{name}");
            assert_eq!(
                compactor.checkpoint_lifetime,
                CompactorOptions::default().checkpoint_lifetime
            );
        }
    }

    #[test]
    fn variables_of_a_container_platform_are_not_settings_and_no_setting_looks_like_them() {
        for name in [
            "PORT",
            "SERVICE_HOST",
            "SERVICE_PORT",
            "SERVICE_PORT_HTTP",
            "PORT_80_TCP",
            "PORT_80_TCP_ADDR",
            "WRITER_SERVICE_HOST",
            "writer_service_port",
            "WRITER_PORT",
            "WRITER_PORT_80_TCP_PROTO",
        ] {
            assert!(is_of_a_platform(name), "{name}");
        }
        fn names(settings: &Dict, all: &mut Vec<String>) {
            for (name, value) in settings {
                all.push(name.clone());
                if let Value::Dict(_, inner) = value {
                    names(inner, all);
                }
            }
        }
        let mut all = Vec::new();
        names(&known().unwrap(), &mut all);
        assert!(all.len() > 20, "{all:?}");
        for name in all {
            assert!(!is_of_a_platform(&name), "{name}");
        }
    }

    #[test]
    fn a_file_without_text_has_no_settings_whatever_its_kind() {
        for name in ["a.toml", "a.json", "a.yaml"] {
            for text in ["", "\n"] {
                let (_folder, file) = file(name, text);
                let settings = over(&ours(), Some(&file)).unwrap();
                assert_eq!(settings.l0_max_ssts, 77, "{name}");
            }
        }
    }

    #[test]
    fn a_value_that_is_not_a_duration_is_named_once() {
        for (value, wrong) in [("banana", "\"banana\""), ("", "\"\"")] {
            let text = format!("flush_interval = \"{value}\"");
            let (_folder, file) = file("a.toml", &text);
            let error = over(&ours(), Some(&file)).unwrap_err().to_string();
            let why = format!(": {wrong} is not a duration, such as 5ms or 10s; correct the value");
            assert!(error.ends_with(&why), "{error}");
        }
    }

    #[test]
    fn the_number_of_retries_is_limited_whatever_a_file_says() {
        let (_folder, file) = file("a.json", r#"{"object_store_max_retries":null}"#);
        let settings = over(&ours(), Some(&file)).unwrap();
        assert_eq!(settings.object_store_max_retries, Some(8));
        let compactor = settings.compactor_options.unwrap();
        assert_eq!(compactor.object_store_max_retries, Some(8));
        let collector = settings.garbage_collector_options.unwrap();
        assert_eq!(collector.object_store_max_retries, Some(8));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_file() {
        for (name, text, wrong) in [
            (
                "a.toml",
                "flush_intervall = \"7ms\"",
                "unknown SlateDB setting `flush_intervall` in",
            ),
            (
                "a.toml",
                "[garbage_collector_options.wal_options]\nage = \"1s\"",
                "unknown SlateDB setting `garbage_collector_options.wal_options.age` in",
            ),
            (
                "a.json",
                r#"{"l0_max_ssts":"many"}"#,
                "invalid type: found string \"many\", expected ",
            ),
            (
                "a.json",
                r#"{"flush_interval":"soon"}"#,
                "the setting `flush_interval` of the file ",
            ),
            (
                "a.json",
                r#"{"compactor_options":{"poll_interval":"soon"}}"#,
                "the setting `compactor_options.poll_interval` of the file ",
            ),
            ("a.json", "{", ": EOF while parsing"),
            (
                "a.toml",
                "flush_interval = ",
                ": TOML parse error at line 1",
            ),
            (
                "a.json",
                r#"{"max_unflushed_bytes":1}"#,
                "are inconsistent: ",
            ),
            ("a.ini", "a=1", "expected .toml, .json or .yaml"),
        ] {
            let (_folder, file) = file(name, text);
            let failure = over(&ours(), Some(&file)).unwrap_err();
            let message = failure.to_string();
            assert!(message.contains(wrong), "{message}");
            assert!(message.contains(&file.display().to_string()), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
        let missing = over(&ours(), Some(Path::new("/nowhere/a.toml"))).unwrap_err();
        assert!(
            missing.to_string().contains("check `--settings`"),
            "{missing}"
        );
    }

    #[test]
    fn what_is_not_known_of_a_part_that_takes_any_key_is_taken() {
        let text = "[compactor_options.scheduler_options]\nmax_compaction_sources = \"9\"";
        let (_folder, file) = file("a.toml", text);
        let compactor = over(&ours(), Some(&file))
            .unwrap()
            .compactor_options
            .unwrap();
        assert_eq!(compactor.scheduler_options["max_compaction_sources"], "9");
    }
}
