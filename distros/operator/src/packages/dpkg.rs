//! dpkg's `status` and file lists.

use super::{Budget, Damage, Entry, MAX_BYTES, QueryError, ends_with_a_line, without_version};
use root::{Root, RootError};
use std::path::{Path, PathBuf};

const STATUS: &str = "/var/lib/dpkg/status";
/// While dpkg runs, what it did since it last wrote `status`: a file for each package, in the order of their names.
const UPDATES: &str = "/var/lib/dpkg/updates";
const INFO: &str = "/var/lib/dpkg/info";

/// Packages that are configured; of what was removed the configuration is still listed.
pub(super) fn entries(root: &Root) -> Result<Vec<Entry>, QueryError> {
    let mut budget = Budget(MAX_BYTES);
    let mut texts = Vec::new();
    match budget.text(root, Path::new(STATUS)) {
        // Those of distroless images are below.
        Err(error) if error.is_missing() => {}
        text => texts.push((PathBuf::from(STATUS), text?)),
    }
    // Distroless images have one file a package instead.
    for name in root.list(Path::new("/var/lib/dpkg/status.d"))?.iter().filter(|n| !n.ends_with(".md5sums")) {
        let path = Path::new("/var/lib/dpkg/status.d").join(name);
        let text = budget.text(root, &path)?;
        texts.push((path, text));
    }
    let mut stanzas = Vec::new();
    for (path, text) in &texts {
        let parsed = match path == Path::new(STATUS) {
            true => parse(text),
            // A package's own, which dpkg did not write: it may end without a newline.
            false => stanzas_of(text),
        };
        stanzas.extend(parsed.map_err(|damage| damage.of(root, path))?);
    }
    // A hook that runs within dpkg's run asks before `status` is written.
    let is_update = |name: &&String| name.bytes().all(|b| b.is_ascii_digit());
    for name in root.list(Path::new(UPDATES))?.iter().filter(is_update) {
        let path = Path::new(UPDATES).join(name);
        let text = match budget.text(root, &path) {
            // dpkg has come to write `status` meanwhile.
            Err(error) if error.is_missing() => continue,
            text => text?,
        };
        for newer in parse(&text).map_err(|damage| damage.of(root, &path))? {
            stanzas.retain(|s| (&s.entry.name, &s.arch) != (&newer.entry.name, &newer.arch));
            stanzas.push(newer);
        }
    }
    Ok(stanzas.into_iter().filter(|s| s.installed).map(|s| s.entry).collect())
}

/// What dpkg knows of one package on one architecture.
struct Stanza {
    entry: Entry,
    arch: String,
    installed: bool,
}

impl Stanza {
    fn new() -> Stanza {
        // Distroless images' files have no state.
        Stanza { entry: Entry::default(), arch: String::new(), installed: true }
    }
}

/// The stanzas of a file that dpkg wrote.
fn parse(text: &str) -> Result<Vec<Stanza>, Damage> {
    let stanzas = stanzas_of(text)?;
    ends_with_a_line(text)?;
    Ok(stanzas)
}

/// The stanzas of a text; the last one need not have an empty line behind it, as debootstrap's first has none.
fn stanzas_of(text: &str) -> Result<Vec<Stanza>, Damage> {
    let mut stanzas = Vec::new();
    let mut stanza = Stanza::new();
    let mut begun = None;
    for (line, number) in text.lines().chain([""]).zip(1..) {
        if line.is_empty() {
            let whole = std::mem::replace(&mut stanza, Stanza::new());
            let Some(line) = begun.take() else { continue };
            if whole.entry.name.is_empty() {
                return Err(Damage { line, what: "a stanza without a package's name" });
            }
            if whole.installed && whole.entry.version.is_empty() {
                return Err(Damage { line, what: "an installed package without a version" });
            }
            stanzas.push(whole);
            continue;
        }
        // A comment, as dpkg fills a file with before it writes.
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) && begun.is_some() {
            continue;
        }
        begun = begun.or(Some(number));
        let field = line.split_once(':').map(|(name, value)| (name.trim_end(), value));
        match field.filter(|(name, _)| is_field(name)) {
            None => return Err(Damage { line: number, what: "expected a field, `Name: value`" }),
            Some(("Package", _)) if !stanza.entry.name.is_empty() => {
                return Err(Damage { line: number, what: "a second name within a stanza" });
            }
            Some(("Package", name)) => stanza.entry.name = name.trim().to_owned(),
            Some(("Version", version)) => stanza.entry.version = version.trim().to_owned(),
            Some(("Architecture", arch)) => stanza.arch = arch.trim().to_owned(),
            Some(("Status", status)) => {
                // Triggers come after a package is configured.
                let state = status.split_whitespace().last();
                stanza.installed = matches!(state, Some("installed" | "triggers-awaited" | "triggers-pending"));
            }
            Some(("Provides", list)) => {
                stanza.entry.provides = list.split(',').map(|p| without_version(p.trim()).to_owned()).collect();
            }
            Some(_) => {}
        }
    }
    Ok(stanzas)
}

/// Whether a text is a field's name: printable, and no hyphen first (Debian policy 5.1).
fn is_field(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(|b| b.is_ascii_graphic())
}

/// The name of the package whose list has one of the paths.
pub(super) fn owner(root: &Root, paths: &[String]) -> Result<Option<String>, RootError> {
    let wanted: Vec<&[u8]> = paths.iter().map(String::as_bytes).collect();
    for file in root.list(Path::new(INFO))? {
        let Some(package) = file.strip_suffix(".list") else { continue };
        let bytes = root.read(&Path::new(INFO).join(&file), MAX_BYTES)?;
        if bytes.split(|b| *b == b'\n').any(|line| wanted.contains(&line)) {
            // `libc6:amd64`.
            return Ok(Some(package.split(':').next().unwrap_or(package).to_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(status: &str, updates: &[(&str, &str)]) -> Vec<(String, String)> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("var/lib/dpkg/updates");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
        for (name, text) in updates {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let entries = entries(&Root::new(dir.path()).unwrap()).unwrap();
        entries.into_iter().map(|e| (e.name, e.version)).collect()
    }

    #[test]
    fn many_files_have_one_measure() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("var/lib/dpkg/status.d");
        std::fs::create_dir_all(&folder).unwrap();
        let format = crate::packages::Format::of(&Root::new(dir.path()).unwrap()).unwrap();
        assert_eq!(format, Some(crate::packages::Format::Dpkg));
        for name in ["a", "b", "c"] {
            let file = std::fs::File::create(folder.join(name)).unwrap();
            file.set_len(MAX_BYTES / 5 * 2).unwrap();
        }
        let error = entries(&Root::new(dir.path()).unwrap()).err().unwrap();
        assert!(matches!(error, QueryError::Read(RootError::TooLarge { .. })), "{error}");
    }

    #[test]
    fn only_what_is_installed_counts() {
        let text = "Package: a\nStatus: install ok installed\nVersion: 1:2\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\nStatus: install ok half-installed\n\nPackage: b\nStatus: install ok triggers-awaited\nVersion: 3\n";
        assert_eq!(installed(text, &[]), [("a".into(), "1:2".into()), ("b".into(), "3".into())]);
        let text = "Package: a\nVersion: 1\nProvides: b (= 1), c,\n d\nDescription: x\n y: z\n";
        let provides = parse(text).unwrap().remove(0).entry.provides;
        assert_eq!(provides[..2], ["b", "c"]);
    }

    #[test]
    fn what_dpkg_would_not_write_is_damage() {
        let sound = "Package: a\nStatus: install ok installed\nEssential : yes\nVersion: 1\nConffiles:\n /x 1\n\tnewconffile\nDescription: ü\n .\n\n\nPackage: b\nStatus: purge ok not-installed\nPriority: optional\n\n";
        assert_eq!(parse(sound).unwrap().len(), 2);
        for few in [
            "",
            "\n",
            "#padding\n#padding\n",
            "Package: dpkg\nVersion: 1\nMaintainer: unknown\nStatus: install ok installed\n",
        ] {
            assert!(parse(few).is_ok(), "{few}");
        }
        let line = |text: &str| parse(text).err().unwrap().line;
        assert_eq!(line(&sound[..sound.len() - 3]), 14, "cut off within a line");
        assert_eq!(line("Package: a\nStatus: install ok installed\n"), 1, "cut off before its version");
        assert_eq!(line("Version: 1\n\nPackage: a\nVersion: 1\n"), 1, "without a name");
        assert_eq!(line("Package:\nVersion: 1\n"), 1, "without a name");
        assert_eq!(line("Package: a\nVersion: 1\nPackage: b\nVersion: 1\n"), 3, "the line between is lost");
        assert_eq!(line("Package: a\nVersion: 1\n\n<!DOCTYPE html>\n"), 4);
        assert_eq!(line("<a href=\"http://x\">\n"), 1);
        assert_eq!(line(" y\nPackage: a\nVersion: 1\n"), 1, "what does it continue?");
        assert_eq!(
            line(&format!("Package: a\nVersion: 1\n\n{}", "\0".repeat(4096))),
            4,
            "blocks that were never written"
        );
    }

    #[test]
    fn what_dpkg_has_not_yet_written_down_counts() {
        let stanza = |arch: &str, version: &str, state: &str| {
            format!("Package: a\nArchitecture: {arch}\nStatus: install ok {state}\nVersion: {version}\n")
        };
        let status = format!("{}\n{}", stanza("amd64", "1", "installed"), stanza("i386", "1", "installed"));
        let updates = [
            ("0000", stanza("amd64", "2", "unpacked")),
            ("0001", stanza("amd64", "2", "installed")),
            ("tmp.i", stanza("i386", "3", "installed")),
        ];
        let updates = updates.each_ref().map(|(name, text)| (*name, text.as_str()));
        let now = |amd64: &str, i386: &str| [("a".to_owned(), i386.to_owned()), ("a".to_owned(), amd64.to_owned())];
        assert_eq!(installed(&status, &updates), now("2", "1"));
        assert_eq!(installed(&status, &updates[..1]), now("2", "1")[..1], "it is only unpacked");
    }
}
