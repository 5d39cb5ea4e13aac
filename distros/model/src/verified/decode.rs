//! Decoding of the entries of `verified:`.

use super::{Basis, Verdict, VerifiedCapability, VerifiedCause, VerifiedEntry, VerifiedKata};
use crate::capability::Capability;
use crate::component::Component;
use crate::decode::Decoder;
use crate::environment::Environment;
use crate::kata_version::KataVersion;
use crate::package::{PackageName, PackageVersion};
use crate::profile::Runtime;
use crate::suggest::listed;
use crate::syntax::{MapEntry, Node, NodeKind};
use std::collections::BTreeMap;

const ENTRY_KEYS: &[&str] = &[
    "release",
    "arch",
    "profile",
    "environment",
    "basis",
    "tested",
    "harness",
    "test-set",
    "shaped",
    "kata",
    "versions",
    "capabilities",
];

const CAUSE_KEYS: &[&str] = &["component", "test", "message"];

/// Hint about a cause that is a plain text.
const NO_TEXT: &str = "qualify the release again; or convert the older form `qemu: no q35 (smoke::guest_boots)` to \
                       `{component: qemu, test: smoke::guest_boots, message: no q35}`";

/// Reads all entries; `None` if one is wrong.
pub(super) fn decode(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<VerifiedEntry>> {
    match &node.kind {
        NodeKind::Null => Some(Vec::new()),
        NodeKind::List(items) => d.all(items, entry),
        _ => d.wrong(node, "verified", "a list that the harness writes"),
    }
}

fn entry(d: &mut Decoder<'_>, node: &Node) -> Option<VerifiedEntry> {
    d.fields(node, "a verified entry", ENTRY_KEYS)?;
    let bases: Vec<(&str, Basis)> = Basis::ALL.iter().map(|b| (b.name(), *b)).collect();
    let text = |d: &mut Decoder<'_>, key: &str| d.required(node, key).and_then(|n| d.string(n, key));
    let release = d.required(node, "release").and_then(|n| d.version(n, "release"));
    let profile = d.required(node, "profile").and_then(|n| d.profile(n, "profile"));
    let places: Vec<(&str, Environment)> = Environment::ALL.iter().map(|e| (e.name(), *e)).collect();
    let environment = d.required(node, "environment");
    let environment = environment.and_then(|n| d.word(n, "environment", "unknown-environment", &places));
    let harness = text(d, "harness");
    let test_set = text(d, "test-set");
    let arch = d.required(node, "arch").and_then(|n| d.arch(n));
    let basis = d.required(node, "basis").and_then(|n| d.word(n, "basis", "unknown-basis", &bases));
    let tested = d.required(node, "tested").and_then(|n| d.date(n, "tested"));
    let shaped = flag(d, node, "shaped");
    let kata = match node.get("kata").filter(|node| !matches!(node.kind, NodeKind::Null)) {
        Some(field) => Some(kata(d, field)?),
        None => None,
    };
    let versions = match node.get("versions") {
        Some(map) => by_name(d, map, "versions", package, version),
        None => Some(BTreeMap::new()),
    };
    let capabilities = d.required(node, "capabilities");
    let capabilities = capabilities.and_then(|map| {
        let read = by_name(d, map, "capabilities", name, capability)?;
        possible(d, map, &read).then_some(read)
    });
    Some(VerifiedEntry {
        release: release?,
        arch: arch?,
        profile: profile?,
        environment: environment?,
        basis: basis?,
        tested: tested?,
        harness: harness?,
        test_set: test_set?,
        shaped: shaped?,
        kata,
        versions: versions?,
        capabilities: capabilities?,
    })
}

/// Reads the Kata that was run.
fn kata(d: &mut Decoder<'_>, node: &Node) -> Option<VerifiedKata> {
    d.fields(node, "the Kata that was run", &["version", "runtime", "brought"])?;
    let version = d.required(node, "version")?;
    let text = d.string(version, "Kata's version")?;
    let Ok(version) = text.parse::<KataVersion>() else {
        d.error("bad-version", version.span.clone(), format!("`{text}` is not a version of Kata"));
        return None;
    };
    let runtime = d.required(node, "runtime")?;
    let known: Vec<(&str, Runtime)> = Runtime::ALL.iter().map(|r| (r.name(), *r)).collect();
    let runtime = d.word(runtime, "runtime", "unknown-runtime", &known)?;
    let brought = match node.get("brought") {
        Some(map) => by_name(d, map, "brought", component, |d, n| d.string(n, "what was brought along"))?,
        None => BTreeMap::new(),
    };
    Some(VerifiedKata { version, runtime, brought })
}

/// Reads a component's name from a key.
fn component(d: &mut Decoder<'_>, entry: &MapEntry) -> Option<Component> {
    d.known("component", "unknown-component", &entry.key, &entry.key_span, &components())
}

fn components() -> Vec<(&'static str, Component)> {
    Component::ALL.iter().map(|c| (c.name(), *c)).collect()
}

fn by_name<K: Ord, T>(
    d: &mut Decoder<'_>,
    node: &Node,
    what: &str,
    mut key: impl FnMut(&mut Decoder<'_>, &MapEntry) -> Option<K>,
    mut read: impl FnMut(&mut Decoder<'_>, &Node) -> Option<T>,
) -> Option<BTreeMap<K, T>> {
    if !matches!(node.kind, NodeKind::Map(_) | NodeKind::Null) {
        return d.wrong(node, what, "a map");
    }
    let mut map = BTreeMap::new();
    for entry in node.entries() {
        if !d.printable(entry.key_span.clone(), &entry.key) {
            return None;
        }
        map.insert(key(d, entry)?, read(d, &entry.value)?);
    }
    Some(map)
}

/// Reads a package's name.
fn package(d: &mut Decoder<'_>, entry: &MapEntry) -> Option<PackageName> {
    let name = entry.key.parse::<PackageName>().ok();
    if name.is_none() {
        let message = format!("`{}` is not a package name", entry.key);
        d.error("bad-package", entry.key_span.clone(), message);
    }
    name
}

/// Reads a package's version.
fn version(d: &mut Decoder<'_>, node: &Node) -> Option<PackageVersion> {
    let text = d.string(node, "a version")?;
    let version = text.parse::<PackageVersion>().ok();
    if version.is_none() {
        d.error("bad-version", node.span.clone(), format!("`{text}` is not a package version")).hint =
            Some("write the version as the package manager does: one word".into());
    }
    version
}

/// Reads a capability's name.
fn name(d: &mut Decoder<'_>, entry: &MapEntry) -> Option<Capability> {
    let known: Vec<(&str, Capability)> = Capability::ALL.iter().map(|c| (c.name(), *c)).collect();
    d.known("capability", "unknown-capability", &entry.key, &entry.key_span, &known)
}

/// Checks that each capability has a verdict that is possible for it; anything else is an error.
///
/// A capability that is only looked up in a list was never used, and is `offered` at best; one that is used can never
/// be `offered`.
fn possible(d: &mut Decoder<'_>, map: &Node, capabilities: &BTreeMap<Capability, VerifiedCapability>) -> bool {
    let mut all = true;
    for (capability, result) in capabilities {
        let (rule, why) = match (capability.is_only_listed(), result.verdict) {
            (true, Verdict::Supported | Verdict::Partial) => {
                ("never-used", "is only looked up in a list, so it can be `offered` at most")
            }
            (false, Verdict::Offered) => (
                "never-listed",
                "is used by tests, so it cannot be `offered`, which is for what is only looked up in a list",
            ),
            _ => continue,
        };
        let span = map.get(capability.name()).map_or_else(|| map.span.clone(), |n| n.span.clone());
        d.error(rule, span, format!("`{capability}` {why}")).hint =
            Some("delete the line, or qualify the release again".to_owned());
        all = false;
    }
    all
}

/// Reads a verdict's word, or a map with `verdict`.
fn capability(d: &mut Decoder<'_>, node: &Node) -> Option<VerifiedCapability> {
    let words: Vec<(&str, Verdict)> = Verdict::ALL.iter().map(|v| (v.name(), *v)).collect();
    if let NodeKind::Scalar(_) = node.kind {
        let verdict = d.word(node, "verdict", "unknown-verdict", &words)?;
        return Some(VerifiedCapability::plain(verdict));
    }
    d.fields(node, "a capability", &["verdict", "flaky", "causes", "workaround"])?;
    let verdict = d.required(node, "verdict")?;
    let verdict = d.word(verdict, "verdict", "unknown-verdict", &words);
    let flaky = flag(d, node, "flaky");
    if let (Some(verdict), Some(true)) = (verdict, flaky)
        && !verdict.has_passed()
    {
        let span = node.get("flaky").map_or_else(|| node.span.clone(), |n| n.span.clone());
        let why = format!("`{verdict}` cannot be flaky: that is a test that failed and then passed");
        d.error("flaky-without-pass", span, why).hint = Some("delete `flaky`, or qualify the release again".to_owned());
        return None;
    }
    let causes = node.get("causes").map(|n| causes(d, n));
    let workaround = node.get("workaround").map(|n| d.string(n, "workaround"));
    Some(VerifiedCapability {
        verdict: verdict?,
        flaky: flaky?,
        causes: causes.unwrap_or_else(|| Some(Vec::new()))?,
        workaround: stated(workaround)?,
    })
}

fn causes(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<VerifiedCause>> {
    match &node.kind {
        NodeKind::List(items) => d.all(items, cause),
        _ => d.wrong(node, "causes", &format!("a list of maps with {}", listed(CAUSE_KEYS))),
    }
}

/// Reads a cause; older harnesses wrote a plain text, which is not parsed.
fn cause(d: &mut Decoder<'_>, node: &Node) -> Option<VerifiedCause> {
    if let NodeKind::Scalar(_) = node.kind {
        let message = format!("a cause: expected a map with {}, found {}", listed(CAUSE_KEYS), node.describe());
        d.error("wrong-type", node.span.clone(), message).hint = Some(NO_TEXT.to_owned());
        return None;
    }
    d.fields(node, "a cause", CAUSE_KEYS)?;
    let component = node.get("component").map(|n| d.word(n, "component", "unknown-component", &components()));
    let test = node.get("test").map(|n| d.test_id(n, "test"));
    let message = d.required(node, "message").and_then(|n| d.string(n, "message"));
    // A cause with an invalid key is dropped as a whole.
    Some(VerifiedCause { component: stated(component)?, test: stated(test)?, message: message? })
}

/// Reads a key that is `true` or `false`, which a missing key means, too.
fn flag(d: &mut Decoder<'_>, node: &Node, key: &str) -> Option<bool> {
    match node.get(key).filter(|node| !matches!(node.kind, NodeKind::Null)) {
        Some(field) => d.word(field, key, "wrong-value", &[("true", true), ("false", false)]),
        None => Some(false),
    }
}

/// Returns the value of an optional key; `None` if it is there and wrong.
fn stated<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(read) => read.map(Some),
        None => Some(None),
    }
}
