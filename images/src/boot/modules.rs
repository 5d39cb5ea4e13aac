//! Kernel modules that a guest needs, in the order in which they must be loaded.

use crate::error::{Failure, ImageError, ImageErrorKind};
use crate::progress::ImagePhase;
use rayon::prelude::*;
use root::{Root, RootError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A module that must be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Module {
    /// Name with underscores, as the kernel shows it: `virtio_pci`.
    pub name: String,
    /// Path of the file inside the tree, with links resolved there; the file may be compressed.
    pub path: PathBuf,
}

/// Result of resolving the wanted modules.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Resolution {
    /// Tree that has the kernel.
    pub tree: PathBuf,
    /// The wanted modules and all their dependencies, each after its own dependencies.
    pub load_order: Vec<Module>,
    /// Wanted modules that are built into the kernel image.
    pub builtin: Vec<String>,
    /// Wanted modules that the kernel does not have: no error here, the test decides.
    pub missing: Vec<String>,
}

/// Finds the wanted modules and their dependencies; `modules_dir` is their directory as seen from inside the tree. `A
/// or B` stands for the first of them that exists.
///
/// Reads `modules.dep`, `modules.builtin`, `modules.softdep` and, for soft dependencies, `modules.alias`
/// (modules.dep(5), modprobe.d(5)); `-` and `_` are the same in names.
/// A module whose file in `modules.dep` does not exist counts as missing, as do the modules that depend on it.
///
/// # Errors
/// If `modules.dep`, or another of these files that exists, cannot be read.
pub fn resolve(tree: &Path, modules_dir: &Path, requested: &[String]) -> Result<Resolution, ImageError> {
    let find = || {
        let root = Root::new(tree).map_err(unreadable)?;
        let index = Index::read(&root, modules_dir)?;
        let mut walk = Walk { root: &root, index: &index, done: BTreeSet::new(), order: Vec::new(), steps_left: STEPS };
        let mut result = Resolution { tree: tree.to_owned(), ..Resolution::default() };
        for names in requested {
            let mut is_there = false;
            for name in names.split(" or ").map(normal) {
                if index.builtin.contains(&name) {
                    result.builtin.push(name);
                    is_there = true;
                } else {
                    is_there = walk.visit(&name, &mut Vec::new())?;
                }
                if is_there {
                    break;
                }
            }
            if !is_there {
                result.missing.push(normal(names));
            }
        }
        result.load_order = walk.order;
        dedup(&mut result.builtin);
        dedup(&mut result.missing);
        Ok(result)
    };
    find().map_err(|failure| failed(modules_dir, failure))
}

/// Passes each module's decompressed bytes to `take`, in load order.
///
/// Only the modules that are being decompressed are in memory.
///
/// # Errors
/// If a file cannot be read or its format does not match its name, if the modules exceed the room of a guest, or if
/// `take` fails.
pub(crate) fn load(found: &Resolution, take: impl FnMut(&Module, &[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    load_up_to(found, MAX_MODULES, take)
}

fn load_up_to(
    found: &Resolution,
    limit: u64,
    mut take: impl FnMut(&Module, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let root = Root::new(&found.tree).map_err(unreadable)?;
    let mut remaining = limit;
    for some in found.load_order.chunks(2 * rayon::current_num_threads()) {
        let loaded: Vec<Vec<u8>> =
            some.par_iter().map(|module| decompressed(&root, &module.path)).collect::<Result<_, _>>()?;
        for (module, bytes) in some.iter().zip(&loaded) {
            remaining = remaining.checked_sub(bytes.len() as u64).ok_or_else(|| {
                let reason = format!("it and those before it have more than {limit} bytes");
                ImageErrorKind::BadModule { path: module.path.clone(), reason }
            })?;
            take(module, bytes)?;
        }
    }
    Ok(())
}

/// Makes an error with the kernel's name, from the path of one of its modules or of their directory.
pub(crate) fn failed(path: &Path, failure: Failure) -> ImageError {
    let folder = path.ancestors().find(|p| p.parent().is_some_and(|p| p.ends_with("modules"))).unwrap_or(path);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    ImageError::new(format!("the guest of kernel {name}").as_str(), ImagePhase::Record, failure)
}

fn unreadable(error: RootError) -> Failure {
    ImageErrorKind::Io { context: "reading the kernel's modules".to_owned(), source: io::Error::other(error) }.into()
}

/// Size limits of an index, and of a module's file, both compressed and unpacked, in bytes.
const MAX_INDEX: u64 = 64 << 20;
const MAX_MODULE: u64 = 256 << 20;
/// Size limit of all modules of a guest, in bytes; the guest has some GiB of memory in total.
const MAX_MODULES: u64 = 1 << 30;
/// Maximum depth of dependencies and maximum number of visits; a real kernel needs about ten and a thousand.
const DEPTH: usize = 256;
const STEPS: usize = 100_000;

struct Index {
    /// For each module its file, which may be missing, and its dependencies in load order.
    modules: BTreeMap<String, (PathBuf, Vec<String>)>,
    builtin: BTreeSet<String>,
    /// Soft dependencies often name an alias instead of a module: ext4 wants `crypto-crc32c`.
    aliases: BTreeMap<String, Vec<String>>,
    before: BTreeMap<String, Vec<String>>,
    after: BTreeMap<String, Vec<String>>,
}

impl Index {
    fn read(root: &Root, inside: &Path) -> Result<Index, Failure> {
        let read = |name: &str| root.read_text(&inside.join(name), MAX_INDEX).map_err(unreadable);
        // Kernels without built-in modules or soft dependencies may lack the other files.
        let read_if_there = |name: &str| match root.has_file(&inside.join(name)).map_err(unreadable)? {
            true => read(name),
            false => Ok(String::new()),
        };
        let text = read("modules.dep")?;
        let mut modules = BTreeMap::new();
        for line in text.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            // modules.dep lists the dependencies in reverse load order.
            let needs = needs.split_whitespace().rev().map(name_of).collect();
            modules.insert(name_of(path), (inside.join(path), needs));
        }
        let builtin = read_if_there("modules.builtin")?;
        let soft = read_if_there("modules.softdep")?;
        let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in read_if_there("modules.alias")?.lines() {
            let mut words = line.split_whitespace();
            // Patterns are for devices; a soft dependency uses exact names.
            if let (Some("alias"), Some(alias), Some(module)) = (words.next(), words.next(), words.next())
                && !alias.contains(['*', '?', '['])
            {
                aliases.entry(normal(alias)).or_default().push(normal(module));
            }
        }
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        for line in soft.lines() {
            let mut words = line.split_whitespace();
            if words.next() != Some("softdep") {
                continue;
            }
            let Some(name) = words.next().map(normal) else {
                continue;
            };
            let mut side: Option<&mut BTreeMap<String, Vec<String>>> = None;
            for word in words {
                match word {
                    "pre:" => side = Some(&mut before),
                    "post:" => side = Some(&mut after),
                    other => {
                        if let Some(map) = side.as_deref_mut() {
                            map.entry(name.clone()).or_default().push(normal(other));
                        }
                    }
                }
            }
        }
        Ok(Index { modules, builtin: builtin.lines().map(name_of).collect(), aliases, before, after })
    }
}

struct Walk<'a> {
    root: &'a Root,
    index: &'a Index,
    done: BTreeSet<String>,
    order: Vec<Module>,
    /// Remaining visits: untrusted lists may form an endless chain, or name the same modules again and again.
    steps_left: usize,
}

impl Walk<'_> {
    /// Adds a module after its dependencies; returns false if the module or a dependency is missing.
    fn visit(&mut self, name: &str, above: &mut Vec<String>) -> Result<bool, Failure> {
        if self.done.contains(name) || self.index.builtin.contains(name) {
            return Ok(true);
        }
        // A cycle of soft dependencies: a module that is being visited is loaded anyway.
        if above.iter().any(|a| a == name) {
            return Ok(true);
        }
        if self.steps_left == 0 || above.len() == DEPTH {
            return Ok(false);
        }
        self.steps_left -= 1;
        let Some((path, needs)) = self.index.modules.get(name) else {
            return Ok(false);
        };
        // Links are resolved inside the tree; a module whose link leads nowhere is missing.
        if !self.root.has_file(path).map_err(unreadable)? {
            return Ok(false);
        }
        above.push(name.to_owned());
        let none = Vec::new();
        // Soft dependencies may be missing.
        for soft in self.index.before.get(name).unwrap_or(&none) {
            self.visit_soft(soft, above)?;
        }
        let mut complete = true;
        for need in needs {
            complete = complete && self.visit(need, above)?;
        }
        if complete {
            self.done.insert(name.to_owned());
            let path = self.root.resolve(path).map_err(unreadable)?;
            self.order.push(Module { name: name.to_owned(), path });
            for soft in self.index.after.get(name).unwrap_or(&none) {
                self.visit_soft(soft, above)?;
            }
        }
        above.pop();
        Ok(complete)
    }

    /// Adds a soft dependency if it exists: the module of that name, or else every module with that alias.
    fn visit_soft(&mut self, name: &str, above: &mut Vec<String>) -> Result<(), Failure> {
        if !self.visit(name, above)? {
            let index = self.index;
            for module in index.aliases.get(name).into_iter().flatten() {
                self.visit(module, above)?;
            }
        }
        Ok(())
    }
}

fn dedup(names: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    names.retain(|n| seen.insert(n.clone()));
}

/// Returns `virtiofs` for `kernel/fs/fuse/virtiofs.ko.xz`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split_once(".ko").map_or(file, |(name, _)| name))
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn decompressed(root: &Root, path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = root.read(path, MAX_MODULE).map_err(unreadable)?;
    let mut out = Vec::new();
    let whole = MAX_MODULE + 1;
    let read = match path.extension().and_then(|e| e.to_str()) {
        Some("xz") => liblzma::read::XzDecoder::new(bytes.as_slice()).take(whole).read_to_end(&mut out).map(drop),
        Some("gz") => flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(whole).read_to_end(&mut out).map(drop),
        Some("zst") => zstd::stream::Decoder::new(bytes.as_slice())
            .and_then(|decoder| decoder.take(whole).read_to_end(&mut out))
            .map(drop),
        _ => {
            out = bytes;
            Ok(())
        }
    };
    let bad = |reason: String| ImageErrorKind::BadModule { path: path.to_owned(), reason };
    read.map_err(|e| bad(e.to_string()))?;
    if out.len() as u64 > MAX_MODULE {
        return Err(bad(format!("it has more than {MAX_MODULE} bytes")).into());
    }
    if !out.starts_with(b"\x7fELF") {
        return Err(bad("expected an ELF object".to_owned()).into());
    }
    Ok(out)
}

#[cfg(test)]
pub(crate) mod tests;
