//! rust-analyzer over the fixture crate, with a text in the place of its `lib.rs`.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

use ra_ap_ide::{
    Analysis, AnalysisHost, AssistResolveStrategy, CompletionConfig, CompletionFieldsToResolve,
    DiagnosticsConfig, FileId, FilePosition, FileRange, GotoDefinitionConfig, HoverConfig,
    HoverDocFormat, RaFixtureConfig, RenameConfig, Severity, SubstTyLen, TextRange, TextSize,
};
use ra_ap_ide_db::ChangeWithProcMacros;
use ra_ap_ide_db::imports::insert_use::{ImportGranularity, InsertUseConfig, PrefixKind};
use ra_ap_load_cargo::{LoadCargoConfig, ProcMacroServerChoice, load_workspace_at};
use ra_ap_paths::{AbsPathBuf, Utf8PathBuf};
use ra_ap_project_model::{CargoConfig, RustLibSource, TargetDirectoryConfig};
use ra_ap_vfs::{Vfs, VfsPath};

pub type Answer<T> = Result<T, Box<dyn Error>>;

pub struct Editor {
    host: AnalysisHost,
    vfs: Vfs,
    file: FileId,
}

/// An open text, with the place of the cursor.
pub struct Opened {
    analysis: Analysis,
    text: String,
    position: FilePosition,
}

const INSERT_USE: InsertUseConfig = InsertUseConfig {
    granularity: ImportGranularity::Crate,
    enforce_granularity: true,
    prefix_kind: PrefixKind::Plain,
    group: true,
    skip_glob_imports: true,
};

impl Editor {
    /// Builds the macros and loads the crate in `folder`.
    pub fn load(folder: &Path, std: &Path, target: &Path) -> Answer<Self> {
        let utf8 = |path: &Path| -> Answer<Utf8PathBuf> {
            let path = Utf8PathBuf::from_path_buf(std::path::absolute(path)?);
            path.map_err(|_| "a path is not UTF-8".into())
        };
        let config = CargoConfig {
            sysroot: Some(RustLibSource::Discover),
            sysroot_src: Some(AbsPathBuf::assert(utf8(std)?)),
            target_dir_config: TargetDirectoryConfig::Directory(utf8(target)?),
            extra_args: vec!["--locked".to_owned()],
            ..CargoConfig::default()
        };
        let load = LoadCargoConfig {
            load_out_dirs_from_check: true,
            with_proc_macro_server: ProcMacroServerChoice::Sysroot,
            prefill_caches: false,
            num_worker_threads: 1,
            proc_macro_processes: 1,
        };
        let (database, vfs, server) = load_workspace_at(folder, &config, &load, &|_| {})?;
        if server.is_none() {
            return Err("the toolchain has no server of procedural macros".into());
        }
        let file = VfsPath::from(AbsPathBuf::assert(utf8(&folder.join("src/lib.rs"))?));
        let (file, _) = vfs.file_id(&file).ok_or("the fixture was not loaded")?;
        Ok(Self {
            host: AnalysisHost::with_database(database),
            vfs,
            file,
        })
    }

    /// Opens a text, in which `|` is the cursor.
    pub fn open(&mut self, text: &str) -> Answer<Opened> {
        let offset = text.find('|').unwrap_or_default();
        let text = text.replacen('|', "", 1);
        let mut change = ChangeWithProcMacros::default();
        change.change_file(self.file, Some(text.clone()));
        self.host.apply_change(change);
        Ok(Opened {
            analysis: self.host.analysis(),
            text,
            position: FilePosition {
                file_id: self.file,
                offset: TextSize::try_from(offset)?,
            },
        })
    }

    fn file_name(&self, file: FileId) -> String {
        let path = self.vfs.file_path(file);
        let name = path
            .name_and_extension()
            .map(|(name, _)| format!("{name}.rs"));
        name.unwrap_or_default()
    }
}

impl Opened {
    /// Where *jump to definition* leads to, as `file: line`.
    pub fn definitions(&self, editor: &Editor) -> Answer<Vec<String>> {
        let config = GotoDefinitionConfig {
            ra_fixture: RaFixtureConfig::default(),
        };
        let found = self.analysis.goto_definition(self.position, &config)?;
        let mut places = Vec::new();
        for target in found.map(|found| found.info).unwrap_or_default() {
            let text = self.analysis.file_text(target.file_id)?;
            let at = target.focus_range.unwrap_or(target.full_range).start();
            let line = line_at(&text, at);
            places.push(format!("{}: {line}", editor.file_name(target.file_id)));
        }
        Ok(places)
    }

    /// The names that are proposed.
    pub fn completions(&self) -> Answer<BTreeSet<String>> {
        let config = CompletionConfig {
            enable_postfix_completions: true,
            enable_imports_on_the_fly: false,
            enable_self_on_the_fly: true,
            enable_auto_iter: true,
            enable_auto_await: true,
            enable_private_editable: false,
            enable_term_search: false,
            term_search_fuel: 0,
            full_function_signatures: false,
            callable: None,
            add_colons_to_module: false,
            add_semicolon_to_unit: true,
            snippet_cap: None,
            insert_use: INSERT_USE,
            prefer_no_std: false,
            prefer_prelude: true,
            prefer_absolute: false,
            snippets: Vec::new(),
            limit: None,
            fields_to_resolve: CompletionFieldsToResolve::empty(),
            exclude_flyimport: Vec::new(),
            exclude_traits: &[],
            ra_fixture: RaFixtureConfig::default(),
        };
        let found = self.analysis.completions(&config, self.position, None)?;
        let found = found.unwrap_or_default().into_iter();
        Ok(found.map(|item| item.label.primary.to_string()).collect())
    }

    /// The errors and warnings, as the text that is underlined and the message.
    pub fn diagnostics(&self) -> Answer<Vec<(String, String)>> {
        let config = DiagnosticsConfig {
            proc_macros_enabled: true,
            proc_attr_macros_enabled: true,
            style_lints: false,
            ..DiagnosticsConfig::test_sample()
        };
        let found = self.analysis.full_diagnostics(
            &config,
            AssistResolveStrategy::None,
            self.position.file_id,
        )?;
        let found = found.into_iter();
        let shown =
            found.filter(|shown| matches!(shown.severity, Severity::Error | Severity::Warning));
        Ok(shown
            .map(|shown| (self.at(shown.range.range).to_owned(), shown.message))
            .collect())
    }

    pub fn hover(&self) -> Answer<Option<String>> {
        let config = HoverConfig {
            links_in_hover: false,
            memory_layout: None,
            documentation: true,
            keywords: true,
            format: HoverDocFormat::Markdown,
            max_trait_assoc_items_count: None,
            max_fields_count: None,
            max_enum_variants_count: None,
            max_subst_ty_len: SubstTyLen::Unlimited,
            show_drop_glue: false,
            ra_fixture: RaFixtureConfig::default(),
        };
        let at = FileRange {
            file_id: self.position.file_id,
            range: TextRange::empty(self.position.offset),
        };
        let found = self.analysis.hover(&config, at)?;
        Ok(found.map(|found| found.info.markup.as_str().to_owned()))
    }

    /// The text of `lib.rs` after a rename; an error if the name cannot be changed.
    pub fn rename(&self, name: &str) -> Answer<String> {
        let config = RenameConfig {
            prefer_no_std: false,
            prefer_prelude: true,
            prefer_absolute: false,
            show_conflicts: true,
        };
        let change = self.analysis.rename(self.position, name, &config)?;
        let change = change.map_err(|error| error.to_string())?;
        let mut text = self.text.clone();
        if let Some((edit, _)) = change.source_file_edits.get(&self.position.file_id) {
            edit.apply(&mut text);
        }
        Ok(text)
    }

    fn at(&self, range: TextRange) -> &str {
        self.text
            .get(range.start().into()..range.end().into())
            .unwrap_or_default()
    }
}

fn line_at(text: &str, at: TextSize) -> &str {
    let before = &text[..usize::from(at)];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    text[start..].lines().next().unwrap_or_default().trim()
}
