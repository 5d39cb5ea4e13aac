//! Decoding of syntax nodes into values; collects every mistake with its place and the accepted forms.

use crate::arch::Arch;
use crate::diagnostic::{Diagnostic, Fix, MAX_FINDINGS, finish, is_direction_control};
use crate::distro::{self, DistroId, ReleaseVersion};
use crate::fact::{Confidence, Fact, PerArch};
use crate::package_manager::PackageManager;
use crate::profile::ProfileName;
use crate::suggest::{listed, nearest};
use crate::syntax::{self, MapEntry, Node, NodeKind};
use crate::test_id::TestId;
use jiff::civil::Date;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

/// Collects the mistakes of a tree and goes on after each.
pub(crate) struct Decoder<'a> {
    pub(crate) text: &'a str,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Decodes a file about one distro that is not its record: returns the distro and the value under the last of `keys`,
/// if all of it can be read, and the findings about its form. `what` names the kind of file in messages.
pub(crate) fn file_about_distro<T>(
    path: &Path,
    text: &str,
    what: &str,
    keys: &[&str],
    read: impl FnOnce(&mut Decoder<'_>, &Node) -> Option<T>,
) -> (Option<(DistroId, T)>, Vec<Diagnostic>) {
    let name = path.display().to_string();
    let root = match syntax::parse(text) {
        Ok(root) => root,
        Err(diagnostics) => return (None, finish(diagnostics, text, &name)),
    };
    let mut d = Decoder { text, diagnostics: Vec::new() };
    d.duplicates(&root);
    d.fields(&root, what, keys);
    if let Some(version) = root.get("apiVersion") {
        d.word(version, "apiVersion", "unknown-version", &[("v1", ())]);
    }
    let distro = d.distro(&root);
    let rest = keys.last().and_then(|key| d.required(&root, key)).and_then(|node| read(&mut d, node));
    (distro.zip(rest), finish(d.diagnostics, text, &name))
}

impl Decoder<'_> {
    pub(crate) fn error(
        &mut self,
        rule: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let at = self.diagnostics.len();
        self.diagnostics.push(Diagnostic::error(rule, self.text, span, message));
        &mut self.diagnostics[at]
    }

    /// Suggests a replacement for `word`. Skipped if the finding will be left out anyway, because comparing takes time.
    fn suggestion(&self, word: &str, known: &[&str]) -> Option<String> {
        (self.diagnostics.len() < MAX_FINDINGS).then(|| match nearest(word, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("known are {}", listed(known)),
        })
    }

    /// Reports that the value's form is not one of the accepted ones.
    pub(crate) fn wrong<T>(&mut self, node: &Node, what: &str, expected: &str) -> Option<T> {
        let message = format!("{what}: expected {expected}, found {}", node.describe());
        self.error("wrong-type", node.span.clone(), message);
        None
    }

    /// Returns the entries of a map whose keys must be among `allowed`.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, what: &str, allowed: &[&str]) -> Option<&'n [MapEntry]> {
        let NodeKind::Map(entries) = &node.kind else {
            return self.wrong(node, what, &format!("a map with {}", listed(allowed)));
        };
        for entry in entries {
            if !allowed.contains(&entry.key.as_str()) {
                let hint = self.suggestion(&entry.key, allowed);
                let message = format!("{what} has no key `{}`", entry.key);
                self.error("unknown-key", entry.key_span.clone(), message).hint = hint;
            }
        }
        Some(entries)
    }

    /// Returns the value of a key that must be there.
    pub(crate) fn required<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Node> {
        let found = node.get(key);
        if found.is_none() {
            let at = node.span.start;
            self.error("missing-key", at..at, format!("the key `{key}` is missing"));
        }
        found
    }

    pub(crate) fn string(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            NodeKind::Scalar(s) if !s.trim().is_empty() => self.printable(node.span.clone(), s).then(|| s.clone()),
            NodeKind::Scalar(_) => {
                let message = format!("{what}: expected text, found none");
                self.error("empty", node.span.clone(), message);
                None
            }
            _ => self.wrong(node, what, "text"),
        }
    }

    /// Rejects characters that would end a line or control a terminal where the text is shown.
    pub(crate) fn printable(&mut self, span: Range<usize>, text: &str) -> bool {
        let found = text.chars().find(|c| c.is_control() || is_direction_control(*c));
        if let Some(c) = found {
            let message = format!("the character U+{:04X} is not allowed in a record, escaped or not", c as u32);
            self.error("control-character", span, message).hint = Some("a value is one line of printable text".into());
        }
        found.is_none()
    }

    /// Reads the distro's name, which must be there.
    pub(crate) fn distro(&mut self, root: &Node) -> Option<DistroId> {
        let node = self.required(root, "distro")?;
        self.distro_id(node, "distro")
    }

    /// Reads a distro's name.
    pub(crate) fn distro_id(&mut self, node: &Node, what: &str) -> Option<DistroId> {
        let name = self.string(node, what)?;
        let id = name.parse::<DistroId>().ok();
        if id.is_none() {
            let message = format!("`{name}` is not a valid name of a distro");
            self.error("bad-name", node.span.clone(), message).hint = Some(format!("use {}", distro::ID_CHARACTERS));
        }
        id
    }

    /// Reads a name of a release.
    pub(crate) fn name(&mut self, node: &Node, what: &str) -> Option<String> {
        let name = self.string(node, what)?;
        if distro::is_release_name(&name) {
            return Some(name);
        }
        let message = format!("{what}: `{name}` is not a valid release name");
        self.error("bad-name", node.span.clone(), message).hint =
            Some(format!("use {}, at most {}", distro::VERSION_CHARACTERS, distro::MAX_WORD_BYTES));
        None
    }

    /// Reads a release's version; see [`Decoder::name`].
    pub(crate) fn version(&mut self, node: &Node, what: &str) -> Option<ReleaseVersion> {
        self.name(node, what)?.parse().ok()
    }

    /// Reads a release's version or a list of them.
    pub(crate) fn versions(&mut self, node: &Node, what: &str) -> Option<Vec<ReleaseVersion>> {
        match &node.kind {
            NodeKind::List(items) => self.all(items, |d, i| d.version(i, what)),
            _ => Some(vec![self.version(node, what)?]),
        }
    }

    /// Reads a name or a list of names; see [`Decoder::name`].
    pub(crate) fn names(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        match &node.kind {
            NodeKind::List(items) => self.all(items, |d, i| d.name(i, what)),
            _ => Some(vec![self.name(node, what)?]),
        }
    }

    /// Reads a profile's name; whether there is such a profile is not checked.
    pub(crate) fn profile(&mut self, node: &Node, what: &str) -> Option<ProfileName> {
        self.checked(node, what)
    }

    /// Reads a test's id; whether there is such a test is not checked.
    pub(crate) fn test_id(&mut self, node: &Node, what: &str) -> Option<TestId> {
        self.checked(node, what)
    }

    /// Reads a text of a type that only a check can make; its error says what was expected.
    fn checked<T: FromStr<Err: Display>>(&mut self, node: &Node, what: &str) -> Option<T> {
        match self.string(node, what)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error("bad-name", node.span.clone(), format!("{what}: {error}"));
                None
            }
        }
    }

    /// Reads a profile's name or a list of them; see [`Decoder::profile`].
    pub(crate) fn profiles(&mut self, node: &Node, what: &str) -> Option<Vec<ProfileName>> {
        match &node.kind {
            NodeKind::List(items) => self.all(items, |d, i| d.profile(i, what)),
            _ => Some(vec![self.profile(node, what)?]),
        }
    }

    /// Reads a text or a list of texts.
    pub(crate) fn strings(&mut self, node: &Node, what: &str) -> Option<Vec<String>> {
        match &node.kind {
            NodeKind::Scalar(_) => Some(vec![self.string(node, what)?]),
            NodeKind::List(items) => self.all(items, |d, i| d.string(i, what)),
            _ => self.wrong(node, what, "text or a list of texts"),
        }
    }

    /// Reads every item; returns `None` if one of them is wrong, after all were looked at.
    pub(crate) fn all<T>(
        &mut self,
        items: &[Node],
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<Vec<T>> {
        let all: Vec<Option<T>> = items.iter().map(|i| read(self, i)).collect();
        all.into_iter().collect()
    }

    /// Reads one word of a closed list.
    pub(crate) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        rule: &'static str,
        known: &[(&str, T)],
    ) -> Option<T> {
        let word = self.string(node, what)?;
        self.known(what, rule, &word, &node.span, known)
    }

    /// Returns the value that a word stands for.
    pub(crate) fn known<T: Copy>(
        &mut self,
        what: &str,
        rule: &'static str,
        word: &str,
        span: &Range<usize>,
        known: &[(&str, T)],
    ) -> Option<T> {
        let found = known.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
            let hint = self.suggestion(word, &names);
            self.error(rule, span.clone(), format!("unknown {what} `{word}`")).hint = hint;
        }
        found.map(|(_, value)| *value)
    }

    pub(crate) fn arch(&mut self, node: &Node) -> Option<Arch> {
        let word = self.string(node, "architecture")?;
        self.arch_word(&word, node.span.clone())
    }

    fn arch_word(&mut self, word: &str, span: Range<usize>) -> Option<Arch> {
        let found = Arch::ALL.iter().copied().find(|a| a.name() == word);
        if found.is_none() {
            let names: Vec<&str> = Arch::ALL.iter().map(|a| a.name()).collect();
            let hint = match PackageManager::arch_called(word) {
                Some(arch) => Some(format!("Kata's name for `{word}` is `{arch}`")),
                None => self.suggestion(word, &names),
            };
            let message = format!("unknown architecture `{word}`");
            let known = Arch::ALL.iter().find(|a| a.debian_name() == word);
            // The span of a quoted word includes the quotes; only a plain word can be replaced safely.
            let certain = known.filter(|_| self.text.get(span.clone()) == Some(word));
            let fix = certain.map(|a| Fix { start: span.start, end: span.end, replacement: a.name().to_owned() });
            let found = self.error("unknown-arch", span, message);
            found.hint = hint;
            found.fixes.extend(fix);
        }
        found
    }

    pub(crate) fn arches(&mut self, node: &Node) -> Option<Vec<Arch>> {
        match &node.kind {
            NodeKind::Scalar(_) => Some(vec![self.arch(node)?]),
            NodeKind::List(items) if !items.is_empty() => self.all(items, |d, i| d.arch(i)),
            _ => self.wrong(node, "arch", "an architecture or a list of architectures"),
        }
    }

    pub(crate) fn date(&mut self, node: &Node, what: &str) -> Option<Date> {
        let text = self.string(node, what)?;
        let date = text.parse::<Date>().ok();
        if date.is_none() {
            let message = format!("{what}: expected a date like 2025-08-09, found `{text}`");
            self.error("wrong-type", node.span.clone(), message).hint =
                Some("write `unknown` or leave the key out if the day is not known".into());
        }
        date
    }

    /// Reads the `confidence:` key of a map, or returns that of the maps around it.
    pub(crate) fn confidence(&mut self, node: &Node, inherited: Confidence) -> Confidence {
        let known: Vec<(&str, Confidence)> = Confidence::ALL.iter().map(|c| (c.name(), *c)).collect();
        node.get("confidence")
            .and_then(|n| self.word(n, "confidence", "unknown-confidence", &known))
            .unwrap_or(inherited)
    }

    /// Reads a fact: the word `unknown`, or a value by `read`.
    pub(crate) fn fact<T>(
        &mut self,
        node: &Node,
        confidence: Confidence,
        read: impl FnOnce(&mut Self, &Node) -> Option<T>,
    ) -> Option<Fact<T>> {
        let value = match is_unknown(node) {
            true => None,
            false => Some(read(self, node)?),
        };
        Some(Fact { value, confidence, span: node.span.clone(), source: 0 })
    }

    /// Reads a value, or a map of values by architecture.
    pub(crate) fn per_arch<T>(
        &mut self,
        node: &Node,
        mut read: impl FnMut(&mut Self, &Node) -> Option<T>,
    ) -> Option<PerArch<T>> {
        let NodeKind::Map(entries) = &node.kind else {
            return read(self, node).map(PerArch::All);
        };
        let mut map = BTreeMap::new();
        for entry in entries {
            let arch = self.arch_word(&entry.key, entry.key_span.clone());
            let value = match is_unknown(&entry.value) {
                true => Some(None),
                false => read(self, &entry.value).map(Some),
            };
            if let (Some(arch), Some(value)) = (arch, value) {
                map.insert(arch, value);
            }
        }
        Some(PerArch::Each(map))
    }

    /// Reports each key that a map repeats, anywhere in the tree.
    pub(crate) fn duplicates(&mut self, node: &Node) {
        if let NodeKind::List(items) = &node.kind {
            items.iter().for_each(|i| self.duplicates(i));
        }
        let mut first_at: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in node.entries() {
            match first_at.get(entry.key.as_str()) {
                // Finding the line of the first occurrence takes time; beyond the limit no findings are added.
                Some(_) if self.diagnostics.len() > MAX_FINDINGS => return,
                Some(first) => {
                    let (line, _) = crate::diagnostic::line_column(self.text, *first);
                    let message = format!("the key `{}` occurs twice in one map", entry.key);
                    self.error("duplicate-key", entry.key_span.clone(), message).hint =
                        Some(format!("the first is on line {line}; remove one"));
                }
                None => {
                    first_at.insert(&entry.key, entry.key_span.start);
                }
            }
            self.duplicates(&entry.value);
        }
    }
}

/// Whether the value is the word `unknown`.
fn is_unknown(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Scalar(s) if s == "unknown")
}
