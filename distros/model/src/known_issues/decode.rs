//! Decoding of the entries of `known-issues:`.

use super::{KnownFailure, KnownIssue, KnownIssuesFile, VersionRange};
use crate::component::Component;
use crate::decode::{Decoder, file_about_distro};
use crate::diagnostic::{Diagnostic, line_column};
use crate::environment::Environment;
use crate::package::{PackageName, PackageVersion};
use crate::source::SourceLocation;
use crate::syntax::{Node, NodeKind};
use std::path::Path;

pub(crate) const KEYS: &[&str] = &["apiVersion", "distro", "known-issues"];

pub(crate) const ENTRY_KEYS: &[&str] =
    &["id", "signature", "test", "package", "versions", "profiles", "environments", "url", "owner", "expires"];

/// Decodes a file: its content if all of it can be read, and the findings about its form.
pub(super) fn file(path: &Path, text: &str) -> (Option<KnownIssuesFile>, Vec<Diagnostic>) {
    let name = path.display().to_string();
    let issues = |d: &mut Decoder<'_>, node: &Node| match &node.kind {
        NodeKind::Null => Some(Vec::new()),
        NodeKind::List(items) => d.all(items, |d, item| entry(d, item, &name)),
        _ => d.wrong(node, "known-issues", "a list"),
    };
    let (file, diagnostics) = file_about_distro(path, text, "a file of known issues", KEYS, issues);
    (file.map(|(distro, issues)| KnownIssuesFile { distro, issues }), diagnostics)
}

fn entry(d: &mut Decoder<'_>, node: &Node, file: &str) -> Option<KnownIssue> {
    d.fields(node, "a known issue", ENTRY_KEYS)?;
    let id = d.required(node, "id").and_then(|n| d.name(n, "id"));
    let failure = failure(d, node);
    let package = d.required(node, "package").and_then(|n| package(d, n));
    let versions = d.required(node, "versions").and_then(|n| versions(d, n));
    let profiles = node.get("profiles").map_or(Some(Vec::new()), |n| d.profiles(n, "profiles"));
    let environments = node.get("environments").map_or(Some(Vec::new()), |n| environments(d, n));
    let url = d.required(node, "url").and_then(|n| url(d, n));
    let owner = d.required(node, "owner").and_then(|n| d.string(n, "owner"));
    let expires = d.required(node, "expires").and_then(|n| d.date(n, "expires"));
    let (line, _) = line_column(d.text, node.span.start);
    Some(KnownIssue {
        id: id?,
        failure: failure?,
        package: package?,
        versions: versions?,
        profiles: profiles?,
        environments: environments?,
        url: url?,
        owner: owner?,
        expires: expires?,
        origin: SourceLocation { file: file.to_owned(), line },
        span: node.span.clone(),
    })
}

/// Reads a signature or a test.
fn failure(d: &mut Decoder<'_>, node: &Node) -> Option<KnownFailure> {
    match (node.get("signature"), node.get("test")) {
        (Some(field), None) => {
            let signature = d.string(field, "signature")?;
            let component = signature.split_once(": ").map(|(component, _)| component);
            if !Component::ALL.iter().any(|known| component == Some(known.name())) {
                d.error(
                    "bad-signature",
                    field.span.clone(),
                    format!("`{signature}` is not the signature of a failure"),
                )
                .hint = Some("copy it from results.json: it begins with the component, `virtiofsd: …`".into());
                return None;
            }
            Some(KnownFailure::Signature(signature))
        }
        (None, Some(field)) => d.test_id(field, "test").map(KnownFailure::Test),
        (both, _) => {
            let span = both.map_or(node.span.start..node.span.start, |field| field.span.clone());
            d.error("wrong-failure", span, "a known issue must have either a `signature` or a `test`").hint = Some(
                "a `signature` matches one cause under all profiles; a `test` matches every failure of that test"
                    .into(),
            );
            None
        }
    }
}

fn package(d: &mut Decoder<'_>, node: &Node) -> Option<PackageName> {
    let text = d.string(node, "package")?;
    let name = text.parse::<PackageName>().ok();
    if name.is_none() {
        d.error("bad-package", node.span.clone(), format!("`{text}` is not a package name"));
    }
    name
}

/// Reads the word `all`, or a map with `from`, `before` or both.
fn versions(d: &mut Decoder<'_>, node: &Node) -> Option<VersionRange> {
    const FORM: &str = "`all`, or a map with `from` (the first bad version), `before` (the first good one) or both";
    match &node.kind {
        NodeKind::Scalar(word) if word == "all" => Some(VersionRange::default()),
        NodeKind::Map(entries) if !entries.is_empty() => {
            d.fields(node, "versions", &["from", "before"])?;
            let from = node.get("from").map_or(Some(None), |n| version(d, n).map(Some));
            let before = node.get("before").map_or(Some(None), |n| version(d, n).map(Some));
            Some(VersionRange { from: from?, before: before? })
        }
        _ => d.wrong(node, "versions", FORM),
    }
}

fn version(d: &mut Decoder<'_>, node: &Node) -> Option<PackageVersion> {
    let text = d.string(node, "a version")?;
    let version = text.parse::<PackageVersion>().ok();
    if version.is_none() {
        d.error("bad-version", node.span.clone(), format!("`{text}` is not a package version"));
    }
    version
}

fn environments(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<Environment>> {
    let known: Vec<(&str, Environment)> = Environment::ALL.iter().map(|e| (e.name(), *e)).collect();
    match &node.kind {
        NodeKind::List(items) => d.all(items, |d, n| d.word(n, "environment", "unknown-environment", &known)),
        _ => d.word(node, "environment", "unknown-environment", &known).map(|one| vec![one]),
    }
}

fn url(d: &mut Decoder<'_>, node: &Node) -> Option<String> {
    let text = d.string(node, "url")?;
    if text.starts_with("https://") && !text.contains([' ', '<', '>', '"']) {
        return Some(text);
    }
    d.error("bad-url", node.span.clone(), format!("`{text}` is not the address of a report")).hint =
        Some("give the address where the fault is reported, beginning with https://".into());
    None
}
