//! VMMs, filesystem drivers, kernels, container managers and package suites.

use super::{CommonFields, ComponentEntry, ComponentKind, Confidence, Fact, PerArch};
use crate::component::ComponentName;
use crate::decode::Decoder;
use crate::package::PackageName;
use crate::release::{Archive, PackageSuite};
use crate::share::Share;
use crate::syntax::{Node, NodeKind};
use root::{InsidePath, NotAnInsidePath};

const SUITE_KEYS: &[&str] = &["name", "archive", "components"];
const COMPONENT_KEYS: &[&str] = &["name", "packages", "path", "confidence"];
const KERNEL_KEYS: &[&str] = &["packages", "image", "confidence"];

/// The keys that [`parts`] reads.
pub(super) const PART_KEYS: &[&str] = &[
    "suites",
    "repositories",
    "modules",
    "image",
    "image-lacks",
    "parts-from",
    "vmm",
    "fs",
    "kernel",
    "container-manager",
    "kata",
    "firmware",
    "jailer",
    "snapshotter",
];

/// Reads the fields that both the top level and a release can have.
pub(super) fn parts(d: &mut Decoder<'_>, node: &Node, confidence: Confidence) -> CommonFields {
    let c = confidence;
    let fs = node.get("fs");
    let listed = ComponentKind::LISTED.into_iter().filter_map(|kind| {
        let fact = d.fact(node.get(kind.name())?, c, |d, n| components(d, n, kind.name(), c))?;
        Some((kind, fact))
    });
    let listed = listed.collect();
    CommonFields {
        suites: node.get("suites").and_then(|n| d.fact(n, c, suites)),
        repositories: node.get("repositories").and_then(|n| d.fact(n, c, |d, n| d.strings(n, "repositories"))),
        modules: node.get("modules").and_then(|n| d.fact(n, c, |d, n| d.strings(n, "modules"))),
        image: node.get("image").and_then(|n| d.fact(n, c, |d, n| d.string(n, "image"))),
        image_lacks: node.get("image-lacks").and_then(|n| d.fact(n, c, |d, n| d.string(n, "image-lacks"))),
        parts_from: node.get("parts-from").and_then(|n| d.fact(n, c, |d, n| d.string(n, "parts-from"))),
        vmms: node.get("vmm").and_then(|n| d.fact(n, c, |d, n| components(d, n, "vmm", c))),
        filesystems: fs.and_then(|n| d.fact(n, c, |d, n| filesystems(d, n, c))),
        preferred_filesystem: fs
            .and_then(|n| n.get("preferred"))
            .and_then(|n| d.string(n, "preferred"))
            .map(|name| filesystem_name(&name)),
        kernel: node.get("kernel").and_then(|n| d.fact(n, c, |d, n| kernel(d, n, c))),
        listed,
    }
}

/// Reads one component, or a list of them.
fn components(d: &mut Decoder<'_>, node: &Node, what: &str, confidence: Confidence) -> Option<Vec<ComponentEntry>> {
    match &node.kind {
        NodeKind::Map(_) => Some(vec![component(d, node, what, confidence)?]),
        NodeKind::List(items) => d.all(items, |d, i| component(d, i, what, confidence)),
        _ => d.wrong(node, what, "a map with `name`, or a list of such maps"),
    }
}

/// Reads a list of drivers, or a map of `preferred` and `drivers`.
fn filesystems(d: &mut Decoder<'_>, node: &Node, confidence: Confidence) -> Option<Vec<ComponentEntry>> {
    let list = match &node.kind {
        NodeKind::List(_) => node,
        // `name:` at this place is a driver without its list mark: `fix` reports it with the corrected text.
        NodeKind::Map(_) if node.get("name").is_some() => return None,
        NodeKind::Map(_) => {
            d.fields(node, "fs", &["preferred", "drivers"])?;
            match node.get("drivers") {
                Some(drivers) => drivers,
                // In a release: another preferred driver among the same ones.
                None => return Some(Vec::new()),
            }
        }
        _ => {
            let expected = "a list of drivers, or a map with `preferred` and `drivers`";
            return d.wrong(node, "fs", expected);
        }
    };
    let NodeKind::List(items) = &list.kind else {
        return d.wrong(list, "drivers", "a list of drivers");
    };
    let drivers = d.all(items, |d, item| {
        let mut driver = component(d, item, "fs", confidence)?;
        driver.name = filesystem_name(driver.name.as_str());
        Some(driver)
    })?;
    if let Some(preferred) = node.get("preferred")
        && let NodeKind::Scalar(name) = &preferred.kind
        && !drivers.iter().any(|f| f.name == filesystem_name(name))
    {
        let known: Vec<&str> = drivers.iter().map(|f| f.name.as_str()).collect();
        let hint = format!("the drivers are: {}", known.join(", "));
        let message = format!("the preferred filesystem `{name}` is not among the drivers");
        d.error("unknown-filesystem", preferred.span.clone(), message).hint = Some(hint);
    }
    Some(drivers)
}

/// Expands `9p` to `virtio-9p`.
fn filesystem_name(name: &str) -> ComponentName {
    match name {
        "9p" => Share::Virtio9p.into(),
        other => other.into(),
    }
}

fn component(d: &mut Decoder<'_>, node: &Node, what: &str, confidence: Confidence) -> Option<ComponentEntry> {
    d.fields(node, what, COMPONENT_KEYS)?;
    let name = d.required(node, "name")?;
    let name = d.string(name, "name")?.into();
    let confidence = d.confidence(node, confidence);
    Some(ComponentEntry { name, packages: packages(d, node, confidence), path: path(d, node, "path", confidence) })
}

fn kernel(d: &mut Decoder<'_>, node: &Node, confidence: Confidence) -> Option<ComponentEntry> {
    d.fields(node, "kernel", KERNEL_KEYS)?;
    let confidence = d.confidence(node, confidence);
    Some(ComponentEntry {
        name: "linux".into(),
        packages: packages(d, node, confidence),
        path: path(d, node, "image", confidence),
    })
}

fn packages(d: &mut Decoder<'_>, node: &Node, confidence: Confidence) -> Option<Fact<PerArch<Vec<PackageName>>>> {
    d.fact(node.get("packages")?, confidence, |d, n| {
        d.per_arch(n, |d, n| {
            // An admin's own build: no package is to be installed, even if the layer below names some.
            if matches!(&n.kind, NodeKind::Scalar(s) if s == "none") {
                return Some(Vec::new());
            }
            let texts = d.strings(n, "packages")?;
            let mut names = Vec::new();
            for text in &texts {
                match text.parse::<PackageName>() {
                    Ok(name) => names.push(name),
                    Err(_) => {
                        let message = format!("`{text}` is not a package name");
                        d.error("bad-package", n.span.clone(), message);
                    }
                }
            }
            // If all names were invalid, the list counts as missing: an empty list would mean that no package is
            // needed.
            (!names.is_empty() || texts.is_empty()).then_some(names)
        })
    })
}

/// Reads a path in a root, or a pattern of paths.
///
/// Code that opens it does so relative to the descriptor of a root, which no path can leave.
fn path(d: &mut Decoder<'_>, node: &Node, key: &str, confidence: Confidence) -> Option<Fact<PerArch<InsidePath>>> {
    d.fact(node.get(key)?, confidence, |d, n| {
        d.per_arch(n, |d, n| {
            let path = d.string(n, key)?;
            let (code, what, hint) = match path.parse::<InsidePath>() {
                Ok(path) => return Some(path),
                Err(NotAnInsidePath::Relative) => {
                    ("relative-path", "is not absolute", "write the full path, beginning with `/`")
                }
                Err(NotAnInsidePath::Climbing) => ("climbing-path", "contains `..`", "write the resolved path"),
                // A text with one is refused before.
                Err(NotAnInsidePath::Nul | NotAnInsidePath::NotText) => {
                    ("control-character", "contains a NUL", "a value is one line of printable text")
                }
            };
            let message = format!("the path `{path}` {what}");
            d.error(code, n.span.clone(), message).hint = Some(hint.into());
            None
        })
    })
}

fn suites(d: &mut Decoder<'_>, node: &Node) -> Option<Vec<PackageSuite>> {
    match &node.kind {
        NodeKind::List(items) => d.all(items, suite),
        NodeKind::Scalar(_) | NodeKind::Map(_) => Some(vec![suite(d, node)?]),
        NodeKind::Null => d.wrong(node, "suites", "a suite or a list of suites"),
    }
}

/// Reads a name, or a map with `name`; archive and components default to `main`.
fn suite(d: &mut Decoder<'_>, node: &Node) -> Option<PackageSuite> {
    let main = || vec!["main".to_owned()];
    if let NodeKind::Scalar(_) = node.kind {
        return Some(PackageSuite { name: d.string(node, "suite")?, archive: Archive::Main, components: main() });
    }
    d.fields(node, "suite", SUITE_KEYS)?;
    let name = d.required(node, "name")?;
    let known = [("main", Archive::Main), ("security", Archive::Security)];
    Some(PackageSuite {
        name: d.string(name, "name")?,
        archive: match node.get("archive") {
            Some(n) => d.word(n, "archive", "unknown-archive", &known)?,
            None => Archive::Main,
        },
        components: match node.get("components") {
            Some(n) => d.strings(n, "components")?,
            None => main(),
        },
    })
}
