//! The record's top level and its releases.

use super::component::{PART_KEYS, parts};
use super::{Confidence, Decoder, Parts, Record, ReleaseEntry};
use crate::diagnostic::{Diagnostic, finish};
use crate::release::PackageManager;
use crate::syntax::{self, Kind, Node};
use std::path::Path;

const RECORD_KEYS: &[&str] = &[
    "apiVersion",
    "distro",
    "version",
    "package-manager",
    "package-installer",
    "arch",
    "confidence",
    "releases",
    "verified",
];
const RELEASE_KEYS: &[&str] = &["version", "codename", "aliases", "released", "eol", "lts", "arch", "confidence"];

/// The package managers by their names in a record.
const PACKAGE_MANAGERS: &[(&str, PackageManager)] = &[
    ("apt", PackageManager::Apt),
    ("dnf", PackageManager::Dnf),
    ("yum", PackageManager::Yum),
    ("zypper", PackageManager::Zypper),
    ("pacman", PackageManager::Pacman),
    ("apk", PackageManager::Apk),
];

/// The record as far as it can be read, and everything that is wrong with it.
pub(crate) fn record(path: &Path, text: &str) -> (Option<Record>, Vec<Diagnostic>) {
    let file = path.display().to_string();
    let named = |diagnostics| finish(diagnostics, text, &file);
    let root = match syntax::parse(text) {
        Ok(root) => root,
        Err(diagnostics) => return (None, named(diagnostics)),
    };
    let mut d = Decoder { text, diagnostics: crate::fix::diagnose(text, &root) };
    // A list without its marks repeats names and paths; that finding says more than the plain rule.
    if d.diagnostics.is_empty() {
        d.duplicates(&root);
    }
    let record = top_level(&mut d, &root, path);
    (record, named(d.diagnostics))
}

fn top_level(d: &mut Decoder<'_>, root: &Node, path: &Path) -> Option<Record> {
    let allowed: Vec<&str> = RECORD_KEYS.iter().chain(PART_KEYS).copied().collect();
    d.fields(root, "the record", &allowed)?;
    if let Some(version) = root.get("apiVersion") {
        d.word(version, "apiVersion", "unknown-version", &[("v1", ())]);
    }
    let distro = distro(d, root);
    let manager = package_manager(d, root);
    let arches = d.required(root, "arch").and_then(|n| d.arches(n));
    let confidence = d.confidence(root, Confidence::Assumed);
    let defaults = parts(d, root, confidence);
    let releases = releases(d, root, confidence);
    let verified = match root.get("verified") {
        Some(node) => crate::verified::decode(d, node),
        None => Some(Vec::new()),
    };
    Some(Record {
        path: path.to_owned(),
        text: d.text.to_owned(),
        distro: distro?,
        package_manager: manager?,
        arches: arches?,
        defaults,
        releases: releases?,
        verified: verified?,
    })
}

fn distro(d: &mut Decoder<'_>, root: &Node) -> Option<String> {
    let node = d.required(root, "distro")?;
    let name = d.string(node, "distro")?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    if !name.chars().all(plain) {
        let message = format!("`{name}` is not a distro's name");
        d.error("bad-name", node.span.clone(), message).hint =
            Some("use lower-case letters, digits, `-`, `.` and `_`".into());
        return None;
    }
    Some(name)
}

fn package_manager(d: &mut Decoder<'_>, root: &Node) -> Option<PackageManager> {
    let node = match (root.get("package-manager"), root.get("package-installer")) {
        (Some(_), Some(second)) => {
            let message = "`package-installer` is another name for `package-manager`: give one";
            d.error("duplicate-key", second.span.clone(), message);
            return None;
        }
        (None, Some(node)) => node,
        (_, None) => d.required(root, "package-manager")?,
    };
    d.word(node, "package manager", "unknown-package-manager", PACKAGE_MANAGERS)
}

/// `releases:`, or the short form `version: [...]`.
fn releases(d: &mut Decoder<'_>, root: &Node, confidence: Confidence) -> Option<Vec<ReleaseEntry>> {
    match (root.get("version"), root.get("releases")) {
        (Some(_), Some(releases)) => {
            let message = "`version` and `releases` cannot stand together";
            d.error("duplicate-key", releases.span.clone(), message).hint =
                Some("make each version an entry of `releases`".into());
            None
        }
        (None, None) => {
            let at = root.span.start;
            d.error("missing-key", at..at, "the key `releases` is missing").hint =
                Some("list the versions: `releases: [{version: 13}]`".into());
            None
        }
        (Some(versions), None) => {
            let one = |version, span| ReleaseEntry {
                version,
                codename: None,
                aliases: Vec::new(),
                released: None,
                eol: None,
                lts: None,
                arches: None,
                parts: Parts::default(),
                span,
            };
            match &versions.kind {
                Kind::List(items) => d.all(items, |d, i| Some(one(d.string(i, "version")?, i.span.clone()))),
                _ => Some(vec![one(d.string(versions, "version")?, versions.span.clone())]),
            }
        }
        (None, Some(node)) => match &node.kind {
            Kind::List(items) => d.all(items, |d, i| release(d, i, confidence)),
            _ => d.wrong(node, "releases", "a list of maps with `version`"),
        },
    }
}

fn release(d: &mut Decoder<'_>, node: &Node, inherited: Confidence) -> Option<ReleaseEntry> {
    let allowed: Vec<&str> = RELEASE_KEYS.iter().chain(PART_KEYS).copied().collect();
    d.fields(node, "a release", &allowed)?;
    let version = d.required(node, "version").and_then(|n| d.string(n, "version"));
    let confidence = d.confidence(node, inherited);
    let day = |d: &mut Decoder<'_>, key: &str| {
        let node = node.get(key)?;
        d.fact(node, confidence, |d, n| d.date(n, key))
    };
    let (released, eol, lts) = (day(d, "released"), day(d, "eol"), day(d, "lts"));
    let codename = node.get("codename").and_then(|n| d.string(n, "codename"));
    let aliases = node.get("aliases").and_then(|n| d.strings(n, "aliases"));
    let arches = node.get("arch").and_then(|n| d.arches(n));
    Some(ReleaseEntry {
        version: version?,
        codename,
        aliases: aliases.unwrap_or_default(),
        released,
        eol,
        lts,
        arches,
        parts: parts(d, node, confidence),
        span: node.span.clone(),
    })
}
