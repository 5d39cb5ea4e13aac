//! Which of a kernel's modules a guest needs, in the order in which they must be loaded.

use crate::error::{Cause, Failure, ImageError};
use crate::progress::Phase;
use rayon::prelude::*;
use root::{Root, RootError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A module that must be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Module {
    /// With underscores, as the kernel shows it: `virtio_pci`.
    pub name: String,
    /// The file, perhaps compressed: its path inside the tree, links followed there.
    pub path: PathBuf,
}

/// What became of the modules that were wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Resolution {
    /// The tree whose kernel's they are.
    pub tree: PathBuf,
    /// The wanted modules and all they depend on, each after what it needs.
    pub load_order: Vec<Module>,
    /// Wanted ones that are part of the kernel image.
    pub builtin: Vec<String>,
    /// Wanted ones that the kernel does not have: a test's business, not an error.
    pub missing: Vec<String>,
}

/// Finds the wanted modules and their dependencies; `modules_dir` is their folder as seen from inside the tree.
///
/// Reads `modules.dep`, `modules.builtin`, `modules.softdep` and, for soft dependencies, `modules.alias` (modules.dep(5),
/// modprobe.d(5)); `-` and `_` are the same in names.
/// A file that `modules.dep` names and that is not there counts as missing, as does what depends on it.
///
/// # Errors
/// When `modules.dep`, or another of these files that is there, cannot be read.
pub fn resolve(tree: &Path, modules_dir: &Path, wanted: &[String]) -> Result<Resolution, ImageError> {
    let index = Index::read(tree, modules_dir).map_err(|f| failed(modules_dir, f))?;
    let mut walk = Walk { index: &index, done: BTreeSet::new(), order: Vec::new(), steps_left: STEPS };
    let mut result = Resolution { tree: tree.to_owned(), ..Resolution::default() };
    for name in wanted {
        let name = normal(name);
        if index.builtin.contains(&name) {
            result.builtin.push(name);
        } else if !walk.visit(&name, &mut Vec::new()) {
            result.missing.push(name);
        }
    }
    result.load_order = walk.order;
    dedup(&mut result.builtin);
    dedup(&mut result.missing);
    Ok(result)
}

/// The modules' bytes, decompressed, in load order.
///
/// # Errors
/// A file that cannot be read, or is not what its name says; more bytes than a guest has room for.
pub fn load(found: &Resolution) -> Result<Vec<Vec<u8>>, ImageError> {
    load_up_to(found, MAX_MODULES)
}

fn load_up_to(found: &Resolution, most: u64) -> Result<Vec<Vec<u8>>, ImageError> {
    let root = Root::new(&found.tree).map_err(|e| failed(&found.tree, cannot(e)))?;
    let loaded = AtomicU64::new(0);
    let load = |module: &Module| {
        let bytes = decompressed(&root, &module.path)?;
        let size = bytes.len() as u64;
        if loaded.fetch_add(size, Ordering::Relaxed).saturating_add(size) > most {
            let reason = format!("it and those before it have more than {most} bytes");
            return Err(Failure::from(Cause::BadModule { path: module.path.clone(), reason }));
        }
        Ok(bytes)
    };
    found.load_order.par_iter().map(|module| load(module).map_err(|f| failed(&module.path, f))).collect()
}

fn failed(path: &Path, failure: Failure) -> ImageError {
    let folder = path.ancestors().find(|p| p.parent().is_some_and(|p| p.ends_with("modules"))).unwrap_or(path);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    ImageError::new(&format!("the guest of kernel {name}"), Phase::Record, failure)
}

fn cannot(error: RootError) -> Failure {
    Cause::Io { context: "reading the kernel's modules".to_owned(), source: io::Error::other(error) }.into()
}

/// Bytes of an index, and of a module, as its file and unpacked.
const MAX_INDEX: u64 = 64 << 20;
const MAX_MODULE: u64 = 256 << 20;
/// Bytes of all modules of a guest, which has some GiB of memory for them and all else.
const MAX_MODULES: u64 = 1 << 30;
/// How deep modules may need each other, and how many looks at one of them are taken: a kernel's ask for ten and a
/// thousand.
const DEPTH: usize = 256;
const STEPS: usize = 100_000;

struct Index {
    /// Name → file and the names it depends on, in the order of loading.
    modules: BTreeMap<String, (Option<PathBuf>, Vec<String>)>,
    builtin: BTreeSet<String>,
    /// Soft dependencies often name what a module offers and not the module: ext4 wants `crypto-crc32c`.
    aliases: BTreeMap<String, Vec<String>>,
    before: BTreeMap<String, Vec<String>>,
    after: BTreeMap<String, Vec<String>>,
}

impl Index {
    fn read(tree: &Path, inside: &Path) -> Result<Index, Failure> {
        let root = Root::new(tree).map_err(cannot)?;
        let read = |name: &str| root.read_text(&inside.join(name), MAX_INDEX);
        let text = read("modules.dep").map_err(cannot)?;
        // A file of the tree with its links followed there; where that leads nowhere it counts as missing.
        let file = |path: &str| -> Result<Option<PathBuf>, Failure> {
            let path = inside.join(path);
            match root.has_file(&path).map_err(cannot)? {
                true => Ok(Some(root.resolve(&path).map_err(cannot)?)),
                false => Ok(None),
            }
        };
        let mut modules = BTreeMap::new();
        for line in text.lines() {
            let Some((path, needs)) = line.split_once(':') else {
                continue;
            };
            // modules.dep lists what to load last first.
            let needs = needs.split_whitespace().rev().map(name_of).collect();
            modules.insert(name_of(path), (file(path)?, needs));
        }
        // Kernels without built-in modules or soft dependencies may lack these. One that is there and cannot be read is
        // no lack of the kernel's.
        let optional = |name: &str| match read(name) {
            Err(error) if error.is_unreadable() => Err(cannot(error)),
            text => Ok(text.unwrap_or_default()),
        };
        let (builtin, soft) = (optional("modules.builtin")?, optional("modules.softdep")?);
        let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in optional("modules.alias")?.lines() {
            let mut words = line.split_whitespace();
            // Patterns are for devices; a soft dependency names exactly.
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
    index: &'a Index,
    done: BTreeSet<String>,
    order: Vec<Module>,
    /// Steps that are left: lists that are not trusted may be an endless chain, or name the same modules again and again.
    steps_left: usize,
}

impl Walk<'_> {
    /// Adds a module after all it needs; false when it or something that it needs is not there.
    fn visit(&mut self, name: &str, above: &mut Vec<String>) -> bool {
        if self.done.contains(name) || self.index.builtin.contains(name) {
            return true;
        }
        // A circle of soft dependencies: a module that is being visited is loaded anyway.
        if above.iter().any(|a| a == name) {
            return true;
        }
        if self.steps_left == 0 || above.len() == DEPTH {
            return false;
        }
        self.steps_left -= 1;
        let Some((Some(path), needs)) = self.index.modules.get(name) else {
            return false;
        };
        above.push(name.to_owned());
        let none = Vec::new();
        // Soft dependencies may be missing.
        for soft in self.index.before.get(name).unwrap_or(&none) {
            self.visit_soft(soft, above);
        }
        let complete = needs.iter().all(|need| self.visit(need, above));
        if complete {
            self.done.insert(name.to_owned());
            self.order.push(Module { name: name.to_owned(), path: path.clone() });
            for soft in self.index.after.get(name).unwrap_or(&none) {
                self.visit_soft(soft, above);
            }
        }
        above.pop();
        complete
    }

    /// Adds a soft dependency if it is there: the module of that name, or every one that offers it.
    fn visit_soft(&mut self, name: &str, above: &mut Vec<String>) {
        if !self.visit(name, above) {
            let index = self.index;
            for module in index.aliases.get(name).into_iter().flatten() {
                self.visit(module, above);
            }
        }
    }
}

fn dedup(names: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    names.retain(|n| seen.insert(n.clone()));
}

/// `kernel/fs/fuse/virtiofs.ko.xz` → `virtiofs`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split_once(".ko").map_or(file, |(name, _)| name))
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn decompressed(root: &Root, path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = root.read(path, MAX_MODULE).map_err(cannot)?;
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
    let bad = |reason: String| Cause::BadModule { path: path.to_owned(), reason };
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
