//! Model of how containerd loads its configuration: the files it reads, and the runtimes that result.
//!
//! `LoadConfig`, `resolveImports`, `mergeConfig` and `ValidateV2` in `services/server/config/config.go` at v1.6.20 and
//! v1.7.24; the same and `MigrateConfigTo` in `cmd/containerd/server/config/config.go` at v2.0.0 to v2.2.7, which
//! differ in nothing that matters here; `LoadConfigWithPlugins` at v2.3.4; `migrateConfig` in
//! `plugins/cri/runtime/plugin.go` at v2.1.4. Compared with `containerd config dump` of 1.6, 1.7, 2.1 and 2.2 by tests.

use super::super::keys::is_marked_as_ours;
use super::super::toml::{line_of, table_of, without_line};
use super::files::Files;
use super::glob::{clean, glob};
use super::loading::{Loading, Patterns};
use root::RootError;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use toml_edit::{Document, DocumentMut, Item, TomlError};

/// The CRI plugin's section up to version 2 of the configuration; `V1` is its name in version 1.
pub(super) const GRPC: &str = "io.containerd.grpc.v1.cri";
/// The section with the CRI plugin's runtimes, from version 3 on.
pub(super) const RUNTIME: &str = "io.containerd.cri.v1.runtime";
const V1: &str = "cri";
/// Prefix of all plugin names in version 2; 1.7.24 requires it, 1.6.20 and 2.1.9 do not.
const PREFIX: &str = "io.containerd.";
/// Plugins without which the CRI plugin of containerd 2 does not load, according to 2.1.9's messages at start.
const NEEDED_BY_CRI: [&str; 3] = [
    "io.containerd.cri.v1.images",
    "io.containerd.podsandbox.controller.v1.podsandbox",
    "io.containerd.sandbox.controller.v1.shim",
];

/// Further files are not read.
const MAX_FILES: usize = 1000;

/// One file of the configuration.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
    text: String,
    /// The configuration's version; 0 if the file states none.
    pub(super) version: i64,
    plugins: Map<String, Value>,
    disabled: Vec<String>,
    required: Vec<String>,
}

impl File {
    pub(super) fn has(&self, plugin: &str) -> bool {
        self.plugins.contains_key(plugin)
    }

    /// Returns the handlers in one plugin's section.
    pub(super) fn runtimes(&self, plugin: &str) -> Option<&Map<String, Value>> {
        self.plugins.get(plugin)?.get("containerd")?.get("runtimes")?.as_object()
    }

    /// Returns whether the file says that it is wholly kata-osinfo's.
    pub(super) fn is_marked_as_ours(&self) -> bool {
        is_marked_as_ours(&self.text)
    }

    /// Returns an import that is a pattern and not an absolute path.
    pub(super) fn relative_pattern(&self) -> Option<String> {
        let document: DocumentMut = self.text.parse().ok()?;
        texts(document.get("imports")).into_iter().find(|import| is_relative_pattern(import))
    }

    /// Returns the file's whole content.
    pub(super) fn document(&self) -> Map<String, Value> {
        let document: DocumentMut = self.text.parse().unwrap_or_default();
        if let Value::Object(all) = table_of(document.as_table()) { all } else { Map::new() }
    }

    /// Returns the line, from 1, that sets a key.
    pub(super) fn line(&self, key: &[&str]) -> Option<usize> {
        let document = Document::parse(self.text.as_str()).ok()?;
        let item = key.iter().try_fold(document.as_item(), |item, key| item.get(key))?;
        Some(line_of(&self.text, item.span()?.start))
    }
}

/// The result of loading all files.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Loaded {
    /// The handlers, each with its keys.
    pub(super) runtimes: Map<String, Value>,
    /// All other settings of the CRI plugin.
    pub(super) rest: Map<String, Value>,
    /// The file that disables the CRI plugin.
    pub(super) disabled: Option<PathBuf>,
}

/// Reasons why containerd would not start with its files.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// A file cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// An imported file does not exist.
    #[error("{0} is imported but does not exist")]
    Missing(PathBuf),
    /// A file does not parse.
    #[error("{path}: not TOML: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        message: String,
    },
    /// A value has a type that containerd does not accept for its key.
    #[error("{path}:{line}: {key} is of type {found}, expected {expected}")]
    Type {
        /// The file.
        path: PathBuf,
        /// The line in it, from 1.
        line: usize,
        /// The key.
        key: &'static str,
        /// The value's type, by TOML's name.
        found: &'static str,
        /// The expected type.
        expected: &'static str,
    },
    /// An import is not a valid pattern of Go's `filepath.Glob`.
    #[error("{path}: `{import}` is not a pattern")]
    Pattern {
        /// The file that has it.
        path: PathBuf,
        /// The import.
        import: String,
    },
    /// A file has a version that this containerd does not know, or does not accept in this place.
    #[error("{path} has version {version}, but this containerd accepts at most {limit} here")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The file's version.
        version: i64,
        /// The highest version that is accepted in this place.
        limit: i64,
    },
    /// A plugin is named as in an earlier version.
    #[error("`{0}` is not a plugin's name in this version of the configuration")]
    ShortName(String),
    /// A plugin's name lacks the prefix that 1.7 requires.
    #[error("`{0}` is not a plugin's name: this containerd requires `io.containerd.` before it")]
    WithoutPrefix(String),
}

/// Returns the files in the order in which containerd reads them; none if there is no main file.
///
/// # Errors
///
/// The reason why containerd would not start.
pub(super) fn read(files: &Files<'_>, main: &Path, loading: Loading) -> Result<Vec<File>, LoadError> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    let mut pending = VecDeque::from([main.to_owned()]);
    while let Some(path) = pending.pop_front() {
        if !seen.insert(path.clone()) || all.len() == MAX_FILES {
            continue;
        }
        let Some(text) = files.text(&path)? else {
            if path == main {
                return Ok(all);
            }
            return Err(LoadError::Missing(path));
        };
        let document: DocumentMut =
            text.parse().map_err(|e: TomlError| LoadError::Syntax { path: path.clone(), message: without_line(&e) })?;
        if let Some(error) = another_type(&path, &text) {
            return Err(error);
        }
        for import in texts(document.get("imports")) {
            pending.extend(resolve(files, &path, &import, loading)?);
        }
        let plugins = document.get("plugins").and_then(Item::as_table_like).map(table_of);
        all.push(File {
            version: document.get("version").and_then(Item::as_integer).unwrap_or_default(),
            plugins: plugins
                .and_then(|p| if let Value::Object(map) = p { Some(map) } else { None })
                .unwrap_or_default(),
            disabled: texts(document.get("disabled_plugins")),
            required: texts(document.get("required_plugins")),
            path,
            text,
        });
    }
    Ok(all)
}

/// Returns the first top-level key whose value has a type that containerd does not accept.
///
/// The list follows 1.6.20's error messages; the TOML library of later versions is as strict.
fn another_type(path: &Path, text: &str) -> Option<LoadError> {
    let document = Document::parse(text).ok()?;
    let wrong = |key: &'static str, expected: &'static str, is_right: &dyn Fn(&Item) -> bool| {
        let item = document.get(key).filter(|item| !is_right(item))?;
        let line = item.span().map_or(1, |span| line_of(text, span.start));
        Some(LoadError::Type { path: path.to_owned(), line, key, found: item.type_name(), expected })
    };
    let is_texts = |item: &Item| item.as_array().is_some_and(|list| list.iter().all(toml_edit::Value::is_str));
    wrong("version", "an integer", &Item::is_integer)
        .or_else(|| wrong("imports", "an array of strings", &is_texts))
        .or_else(|| wrong("disabled_plugins", "an array of strings", &is_texts))
        .or_else(|| wrong("required_plugins", "an array of strings", &is_texts))
        .or_else(|| wrong("plugins", "a table", &Item::is_table_like))
}

fn texts(item: Option<&Item>) -> Vec<String> {
    let list = item.and_then(Item::as_array);
    list.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Returns whether an import is a pattern without an absolute path.
fn is_relative_pattern(import: &str) -> bool {
    import.contains('*') && !import.starts_with('/')
}

/// Returns the files that an import matches. A relative import starts at the importing file's directory, or at
/// containerd's working directory, which is `/` for a service.
fn resolve(files: &Files<'_>, parent: &Path, import: &str, loading: Loading) -> Result<Vec<PathBuf>, LoadError> {
    let folder = match loading.patterns() {
        Patterns::InWorkingFolder if is_relative_pattern(import) => PathBuf::from("/"),
        Patterns::InWorkingFolder | Patterns::BesideFile => parent.with_file_name(""),
    };
    let path = clean(&folder.join(import));
    if !import.contains('*') {
        return Ok(vec![path]);
    }
    let wrong = || LoadError::Pattern { path: parent.to_owned(), import: import.to_owned() };
    glob(files, &path)?.ok_or_else(wrong)
}

/// Merges the files.
///
/// # Errors
///
/// The reason why containerd would not start.
pub(super) fn join(files: &[File], loading: Loading) -> Result<Loaded, LoadError> {
    let newest = loading.newest();
    // containerd 2 starts with its own version, and a file's version replaces that; a file below version 2 does not.
    let mut version = if loading.replaces() { 0 } else { newest };
    let mut cap = 0;
    let mut plugins = Map::new();
    let mut disabled: Vec<(String, &Path)> = Vec::new();
    let mut required: Vec<String> = Vec::new();
    for file in files {
        let mut own = file.plugins.clone();
        let too_new = |limit| LoadError::TooNew { path: file.path.clone(), version: file.version, limit };
        if file.version > newest {
            return Err(too_new(newest));
        }
        let old = !loading.replaces() && file.version < 2;
        if old {
            rename(&mut own);
        }
        match loading {
            Loading::Replaces(_) | Loading::ReplacesPrefixed(_) => {
                version = if file.version == 0 { version } else { file.version };
                plugins.extend(own);
            }
            Loading::MergesThenMigrates => {
                version = if old { version } else { file.version };
                merge(&mut plugins, own);
            }
            Loading::MigratesThenMerges => {
                cap = if cap == 0 { file.version } else { cap };
                if file.version > cap {
                    return Err(too_new(cap));
                }
                if file.version < 3 {
                    migrate(&mut own);
                }
                merge(&mut plugins, own);
            }
        }
        let name = |d: &String| if old && d == V1 { GRPC.to_owned() } else { d.clone() };
        disabled.extend(file.disabled.iter().map(|d| (name(d), file.path.as_path())));
        required.extend(file.required.iter().map(name));
    }
    let section = match (loading.replaces(), version) {
        (true, ..2) => V1,
        (true, _) => GRPC,
        (false, _) => RUNTIME,
    };
    let parts = if section == GRPC { 4 } else { 2 };
    let stated = plugins.keys().filter(|_| parts == 4);
    let named: Vec<&String> = disabled.iter().map(|(d, _)| d).chain(&required).chain(stated).collect();
    if section != V1 {
        if let Some(short) = named.iter().find(|d| d.split('.').count() < parts) {
            return Err(LoadError::ShortName((*short).clone()));
        }
        let is_prefixed = matches!(loading, Loading::ReplacesPrefixed(_));
        let is_foreign = |d: &&&String| is_prefixed && !d.starts_with(PREFIX);
        if let Some(foreign) = named.iter().find(is_foreign) {
            return Err(LoadError::WithoutPrefix((*foreign).clone()));
        }
    }
    if loading == Loading::MergesThenMigrates && version < 3 {
        migrate(&mut plugins);
    }
    // Other sections are not read.
    let read = |name: &String| name == section || (!loading.replaces() && name.starts_with("io.containerd.cri."));
    let mut rest: Map<String, Value> = plugins.into_iter().filter(|(name, _)| read(name)).collect();
    let runtimes = rest
        .get_mut(section)
        .and_then(|s| s.get_mut("containerd")?.as_object_mut()?.remove("runtimes"))
        .and_then(|r| if let Value::Object(map) = r { Some(map) } else { None })
        .unwrap_or_default();
    prune(&mut rest);
    let ends_cri = |name: &str| {
        name == section || (name == GRPC && section != V1) || (section == RUNTIME && NEEDED_BY_CRI.contains(&name))
    };
    let off = disabled.iter().find(|(name, _)| ends_cri(name));
    Ok(Loaded { runtimes, rest, disabled: off.map(|(_, path)| (*path).to_owned()) })
}

/// Removes empty sections, because they mean the same as none.
fn prune(map: &mut Map<String, Value>) {
    map.values_mut().filter_map(Value::as_object_mut).for_each(prune);
    map.retain(|_, v| v.as_object().is_none_or(|m| !m.is_empty()));
}

/// Migrates version 1 to 2: the plugin gets its full name.
fn rename(plugins: &mut Map<String, Value>) {
    if let Some(cri) = plugins.remove(V1) {
        plugins.insert(GRPC.to_owned(), cri);
    }
}

/// Migrates version 2 to 3: keys that version 3's section lacks are taken from version 2's.
fn migrate(plugins: &mut Map<String, Value>) {
    let Some(Value::Object(old)) = plugins.remove(GRPC) else { return };
    let empty = || Value::Object(Map::new());
    let Some(new) = plugins.entry(RUNTIME).or_insert_with(empty).as_object_mut() else { return };
    for (key, value) in &old {
        match (key.as_str(), value) {
            ("containerd" | "cni", Value::Object(old)) => {
                let Some(new) = new.entry(key).or_insert_with(empty).as_object_mut() else { continue };
                for (key, value) in old {
                    new.entry(key).or_insert_with(|| value.clone());
                }
            }
            _ => {
                new.entry(key).or_insert_with(|| value.clone());
            }
        }
    }
}

/// Merges key by key; lists are replaced.
pub(super) fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// Returns a message if a file imports a relative pattern and one of these containerds resolves it in its working
/// directory, which cannot be determined here.
pub(super) fn working_folder(loadings: &[Loading], files: &[File]) -> Option<String> {
    let in_working_folder = |loading: &&Loading| loading.patterns() == Patterns::InWorkingFolder;
    loadings.iter().find(in_working_folder)?;
    let (file, pattern) = files.iter().find_map(|file| Some((file, file.relative_pattern()?)))?;
    Some(format!(
        "{} imports the relative path `{pattern}`: containerd before 1.6.29, and 1.7 before 1.7.16, looks for it in its working directory (/ for a service without WorkingDirectory=), later versions look beside the file: write an absolute path, or pass containerd's full version, such as 1.7.24, with --containerd-version",
        file.path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::loading::ContainerdVersion;
    use super::*;
    use root::Root;
    use std::collections::BTreeMap;

    const MAIN: &str = "/etc/containerd/config.toml";
    const DROP_IN: &str = "/etc/containerd/conf.d/50-kata.toml";
    const HANDLER: &str = "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.kata]\n\
                           runtime_type = \"io.containerd.kata.v2\"\n";

    /// Matches the answers of `containerd config dump` of 1.6.20, 1.7.24 and 2.1.9 for a file of version 2.
    #[test]
    fn plugin_names_are_checked_before_2_0_and_their_prefix_in_1_7() {
        let short = "`a.b` is not a plugin's name in this version";
        let foreign = "`a.b.c.d` is not a plugin's name: this containerd requires `io.containerd.` before it";
        for (text, of_1_6, of_1_7) in [
            ("[plugins.\"a.b\"]\nx = 1\n", Some(short), Some(short)),
            ("disabled_plugins = [\"a.b\"]\n", Some(short), Some(short)),
            ("required_plugins = [\"a.b\"]\n", Some(short), Some(short)),
            ("[plugins.\"a.b.c.d\"]\nx = 1\n", None, Some(foreign)),
            ("disabled_plugins = [\"a.b.c.d\"]\n", None, Some(foreign)),
            ("required_plugins = [\"a.b.c.d\"]\n", None, Some(foreign)),
            ("disabled_plugins = [\"io.containerd.x.y\"]\n", None, None),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("etc/containerd")).unwrap();
            std::fs::write(dir.path().join(&MAIN[1..]), format!("version = 2\n{text}")).unwrap();
            let root = Root::new(dir.path()).unwrap();
            let files = Files { root: &root, replaced: &BTreeMap::new() };
            for (version, expected) in [([1, 6, 20], of_1_6), ([1, 7, 24], of_1_7), ([2, 1, 9], None)] {
                let all = Loading::all(ContainerdVersion::of_numbers(&version));
                let [loading] = all[..] else { panic!("it joins its files in one way") };
                let joined = join(&read(&files, Path::new(MAIN), loading).unwrap(), loading);
                match (joined, expected) {
                    (Ok(_), None) => {}
                    (Err(error), Some(why)) if error.to_string().starts_with(why) => {}
                    (joined, _) => panic!("{version:?} {text}: {joined:?}"),
                }
            }
        }
    }

    /// Matches the answers of `containerd config dump` of 2.2.7, built from source, for a drop-in in its own `conf.d`.
    ///
    /// It always prints `imports = ['/etc/containerd/conf.d/*.toml']`, even if it does not follow that import: without
    /// a main file, and with a main file that has no imports.
    #[test]
    fn containerd_2_2_reads_its_folder_only_where_a_main_file_imports_it() {
        let imports = "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
        let two = "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n";
        for (main, has) in [(None, false), (Some("version = 3\n"), false), (Some(imports), true), (Some(two), true)] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("etc/containerd/conf.d")).unwrap();
            std::fs::write(dir.path().join(&DROP_IN[1..]), HANDLER).unwrap();
            if let Some(text) = main {
                std::fs::write(dir.path().join(&MAIN[1..]), text).unwrap();
            }
            let root = Root::new(dir.path()).unwrap();
            let files = Files { root: &root, replaced: &BTreeMap::new() };
            let [loading] = Loading::all(Some((2, 2).into()))[..] else { panic!("2.2 joins its files in one way") };
            let loaded = join(&read(&files, Path::new(MAIN), loading).unwrap(), loading).unwrap();
            assert_eq!(loaded.runtimes.contains_key("kata"), has, "{main:?}");
        }
    }
}
