//! The record's top level and its releases.

use super::component::{PART_KEYS, parts};
use super::layer::Position;
use super::{CommonFields, Confidence, Draft, Fact, RecordError, ReleaseEntry, Source, read_text};
use crate::decode::Decoder;
use crate::diagnostic::{Diagnostic, Severity, finish};
use crate::package_manager::PackageManager;
use crate::syntax::{self, Node, NodeKind};
use std::path::Path;

const RECORD_KEYS: &[&str] = &[
    "apiVersion",
    "distro",
    "ids",
    "derives-from",
    "version",
    "package-manager",
    "package-installer",
    "arch",
    "confidence",
    "releases",
];
const RELEASE_KEYS: &[&str] = &[
    "version",
    "codename",
    "aliases",
    "derives-from",
    "package-manager",
    "module-platform",
    "released",
    "eol",
    "lts",
    "arch",
    "confidence",
];

/// Returns the keys of a record's top level and of a release, for code that describes the format elsewhere.
#[cfg(all(test, feature = "schema"))]
pub(crate) fn keys() -> (Vec<&'static str>, Vec<&'static str>) {
    let with_parts = |own: &[&'static str]| own.iter().chain(PART_KEYS).copied().collect();
    (with_parts(RECORD_KEYS), with_parts(RELEASE_KEYS))
}

impl Draft {
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Draft, RecordError> {
        let (draft, mut diagnostics) = draft(path, text);
        diagnostics.retain(|d| d.severity == Severity::Error);
        match draft {
            Some(draft) if diagnostics.is_empty() => Ok(draft),
            _ => {
                let diagnostics = finish(diagnostics, text, &path.display().to_string());
                Err(RecordError { path: path.to_owned(), text: text.to_owned(), diagnostics })
            }
        }
    }

    pub(crate) fn read(path: &Path) -> Result<Draft, RecordError> {
        Draft::of_text(path, read_text(path))
    }

    /// Like [`Draft::parse`], for the result of reading a file.
    pub(crate) fn of_text(path: &Path, text: Result<String, Box<Diagnostic>>) -> Result<Draft, RecordError> {
        Draft::parse(path, &text.map_err(|found| RecordError::unread(path, *found))?)
    }
}

/// Parses the record as far as possible, and returns all findings except missing keys that a lower layer can supply.
pub(crate) fn draft(path: &Path, text: &str) -> (Option<Draft>, Vec<Diagnostic>) {
    let file = path.display().to_string();
    let named = |diagnostics| finish(diagnostics, text, &file);
    let root = match syntax::parse(text) {
        Ok(root) => root,
        Err(diagnostics) => return (None, named(diagnostics)),
    };
    let mut d = Decoder { text, diagnostics: crate::fix::diagnose(text, &root) };
    // A list without its dashes repeats names and paths; the finding about dashes is more helpful than the generic one.
    if d.diagnostics.is_empty() {
        d.duplicates(&root);
    }
    let record = top_level(&mut d, &root, path);
    (record, named(d.diagnostics))
}

fn top_level(d: &mut Decoder<'_>, root: &Node, path: &Path) -> Option<Draft> {
    let allowed: Vec<&str> = RECORD_KEYS.iter().chain(PART_KEYS).copied().chain(["verified"]).collect();
    d.fields(root, "the record", &allowed)?;
    reject_verdicts(d, root);
    if let Some(version) = root.get("apiVersion") {
        d.word(version, "apiVersion", "unknown-version", &[("v1", ())]);
    }
    let distro = d.distro(root);
    let manager = package_manager(d, root);
    let arches = or_missing(root.get("arch"), |n| Some((d.arches(n)?, Position::of(n))));
    let ids = or_missing(root.get("ids"), |n| d.strings(n, "ids"));
    let derives_from = or_missing(root.get("derives-from"), |n| d.distro_id(n, "derives-from"));
    let confidence = d.confidence(root, Confidence::Assumed);
    let defaults = parts(d, root, confidence);
    let releases = releases(d, root, confidence);
    Some(Draft {
        sources: vec![Source { path: path.to_owned(), text: d.text.to_owned() }],
        distro: distro?,
        ids: ids?.unwrap_or_default(),
        derives_from: derives_from?,
        package_manager: manager?,
        arches: arches?,
        defaults,
        releases: releases?,
        start: root.span.start,
    })
}

/// Rejects verdicts in a record, which people write: verdicts have a file of their own.
fn reject_verdicts(d: &mut Decoder<'_>, root: &Node) {
    let Some(entry) = root.entries().iter().find(|entry| entry.key == "verified") else { return };
    d.error("misplaced", entry.key_span.clone(), "verdicts do not belong in a record").hint =
        Some("move `verified` into a file `verified/DISTRO.yaml` beside the records, with `distro` above it".into());
}

/// Reads a key's value by `read`: `Some(None)` if the key is missing, `None` if its value is wrong.
fn or_missing<T>(node: Option<&Node>, read: impl FnOnce(&Node) -> Option<T>) -> Option<Option<T>> {
    match node {
        Some(node) => Some(Some(read(node)?)),
        None => Some(None),
    }
}

fn package_manager(d: &mut Decoder<'_>, root: &Node) -> Option<Option<(PackageManager, Position)>> {
    let node = match (root.get("package-manager"), root.get("package-installer")) {
        (Some(_), Some(second)) => {
            let message = "`package-installer` is another name for `package-manager`: give one";
            d.error("duplicate-key", second.span.clone(), message);
            return None;
        }
        (None, Some(node)) | (Some(node), None) => node,
        (None, None) => return Some(None),
    };
    Some(Some((manager_word(d, node)?, Position::of(node))))
}

fn manager_word(d: &mut Decoder<'_>, node: &Node) -> Option<PackageManager> {
    let known: Vec<(&str, PackageManager)> = PackageManager::ALL.iter().map(|m| (m.name(), *m)).collect();
    d.word(node, "package manager", "unknown-package-manager", &known)
}

/// Reads the platform as a single word, because dnf gets it as a setting.
fn module_platform(d: &mut Decoder<'_>, node: &Node) -> Option<String> {
    let platform = d.string(node, "module-platform")?;
    if platform.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Some(platform);
    }
    let message = format!("module-platform: `{platform}` is not a module platform");
    d.error("bad-name", node.span.clone(), message).hint =
        Some("write what follows `platform:` in PLATFORM_ID of os-release, such as `el8`".into());
    None
}

/// Reads `releases:`, or the short form `version: [...]`.
fn releases(d: &mut Decoder<'_>, root: &Node, confidence: Confidence) -> Option<Option<Vec<ReleaseEntry>>> {
    match (root.get("version"), root.get("releases")) {
        (Some(_), Some(releases)) => {
            let message = "`version` and `releases` cannot be used together";
            d.error("duplicate-key", releases.span.clone(), message).hint =
                Some("make each version an entry of `releases`".into());
            None
        }
        (None, None) => Some(None),
        (Some(versions), None) => {
            let one = |version, span| ReleaseEntry {
                version,
                codename: None,
                aliases: Vec::new(),
                released: None,
                eol: None,
                lts: None,
                arches: None,
                derives_from: None,
                based_on: Vec::new(),
                package_manager: None,
                module_platform: None,
                confidence: None,
                is_added: false,
                parts: CommonFields::default(),
                span,
                source: 0,
            };
            match &versions.kind {
                NodeKind::List(items) => {
                    d.all(items, |d, i| Some(one(d.version(i, "version")?, i.span.clone()))).map(Some)
                }
                _ => Some(Some(vec![one(d.version(versions, "version")?, versions.span.clone())])),
            }
        }
        (None, Some(node)) => match &node.kind {
            NodeKind::List(items) => d.all(items, |d, i| release(d, i, confidence)).map(Some),
            _ => d.wrong(node, "releases", "a list of maps with `version`"),
        },
    }
}

fn release(d: &mut Decoder<'_>, node: &Node, inherited: Confidence) -> Option<ReleaseEntry> {
    let allowed: Vec<&str> = RELEASE_KEYS.iter().chain(PART_KEYS).copied().collect();
    d.fields(node, "a release", &allowed)?;
    let version = d.required(node, "version").and_then(|n| d.version(n, "version"));
    let confidence = d.confidence(node, inherited);
    let day = |d: &mut Decoder<'_>, key: &str| {
        let node = node.get(key)?;
        d.fact(node, confidence, |d, n| d.date(n, key))
    };
    let (released, eol, lts) = (day(d, "released"), day(d, "eol"), day(d, "lts"));
    let codename = node.get("codename").and_then(|n| d.name(n, "codename"));
    let derives_from = node.get("derives-from").and_then(|n| d.string(n, "derives-from"));
    let aliases = node.get("aliases").and_then(|n| d.names(n, "aliases"));
    let package_manager = node.get("package-manager").and_then(|n| manager_word(d, n));
    let module_platform = node.get("module-platform").and_then(|n| module_platform(d, n));
    let arches = node.get("arch").and_then(|n| d.arches(n));
    Some(ReleaseEntry {
        version: version?,
        codename,
        aliases: aliases.unwrap_or_default(),
        released,
        eol,
        lts,
        arches,
        derives_from,
        based_on: Vec::new(),
        package_manager,
        module_platform,
        confidence: node.get("confidence").map(|_| Fact {
            value: Some(confidence),
            confidence,
            span: node.span.clone(),
            source: 0,
        }),
        is_added: false,
        parts: parts(d, node, confidence),
        span: node.span.clone(),
        source: 0,
    })
}
