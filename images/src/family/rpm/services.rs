//! Repositories that a service of zypper names: an index that a package of the distro installs, read as data.
//!
//! openSUSE-repos has such an index in place of repository files. The form is that of libzypp's parser and of the
//! indexes in github.com/openSUSE/openSUSE-repos, commit 12f1e14 for Leap 16.0; no real system with one has been seen.
//! The services of SLES name a server, which is not asked.

use crate::error::{Context as _, Failure};
use crate::tree;
use operator::installer::ini;
use root::Root;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Directory of the indexes: one directory per service.
pub(super) const INDEXES: &str = "/usr/share/zypp/local/service";
/// Directory of the files that register services.
pub(super) const REGISTERED: &str = "/etc/zypp/services.d";
/// Path of an index in the directory of its service.
const INDEX: &str = "repo/repoindex.xml";

/// Size limits of an index, and of a value after its variables were replaced, in bytes.
const MAX_INDEX: u64 = 1 << 20;
const MAX_VALUE: usize = 1 << 12;

/// The name of a repository, and its settings.
pub(super) type Section = (String, Vec<(String, String)>);

/// Returns the repositories of a system's services, in the form of a repository file.
///
/// A repository among `known` is left out: zypper wrote its file from the index, and that file has the admin's choices.
///
/// # Errors
/// If an index cannot be read, or is not as libzypp expects it.
pub(super) fn sections(root: &Root, folder: &Path, known: &[Section]) -> Result<Vec<Section>, Failure> {
    let mut all = Vec::new();
    for service in root.list(folder).map_err(tree::failed)? {
        let path = folder.join(&service).join(INDEX);
        if !root.has_file(&path).map_err(tree::failed)? || is_disabled(root, &service)? {
            continue;
        }
        let text = root.read_text(&path, MAX_INDEX).map_err(tree::failed)?;
        let found = of_index(&text, &service).context("reading", &root.shown(&path))?;
        all.extend(found.into_iter().filter(|(id, _)| known.iter().all(|(other, _)| other != id)));
    }
    Ok(all)
}

/// Checks whether the admin has turned a service off; one that is not registered yet is on.
fn is_disabled(root: &Root, service: &str) -> Result<bool, Failure> {
    let path = Path::new(REGISTERED).join(format!("{service}.service"));
    let settings = ini(root, &path).context("reading", &root.shown(&path))?;
    let enabled = settings.iter().rev().find(|(_, key, _)| key == "enabled");
    Ok(enabled.is_some_and(|(_, _, value)| !is_yes(value)))
}

/// Returns the repositories of an index. The names of repositories begin with the service's, as zypper writes them.
fn of_index(text: &str, service: &str) -> io::Result<Vec<Section>> {
    let document = roxmltree::Document::parse(text).map_err(io::Error::other)?;
    let index = document.root_element();
    // Every attribute of the index is a variable, and so is each repository's alias.
    let mut variables = BTreeMap::new();
    for attribute in index.attributes() {
        let value = replaced(attribute.value(), &variables)?;
        variables.insert(attribute.name().to_owned(), value);
    }
    let mut sections = Vec::new();
    for repository in index.children().filter(|node| node.tag_name().name() == "repo") {
        let alias = repository.attribute("alias").unwrap_or_default();
        let alias = replaced(alias, &variables)?;
        if alias.is_empty() {
            return Err(io::Error::other("expected an alias of each repository"));
        }
        variables.insert("alias".to_owned(), alias.clone());
        let value = |name: &str| replaced(repository.attribute(name).unwrap_or_default(), &variables);
        let enabled = value("enabled")?;
        // Unlike in a repository file, a repository is off unless its entry says otherwise.
        let enabled = if enabled.is_empty() { "0".to_owned() } else { enabled };
        let mut settings = vec![("enabled".to_owned(), enabled)];
        for (attribute, key) in [("url", "baseurl"), ("gpgkey", "gpgkey"), ("priority", "priority")] {
            let value = value(attribute)?;
            if !value.is_empty() {
                settings.push((key.to_owned(), value));
            }
        }
        let path = value("path")?;
        if !path.is_empty() {
            settings.push(("path".to_owned(), format!("repo/{path}")));
        }
        sections.push((format!("{service}:{alias}"), settings));
    }
    Ok(sections)
}

/// Replaces `%{name}` by the variable; an unknown one stays, as with libzypp.
///
/// A value is a single printable line, so that it cannot turn into another setting when it is written for dnf.
fn replaced(text: &str, variables: &BTreeMap<String, String>) -> io::Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("%{") {
        let Some((name, end)) = after.split_once('}') else { break };
        out.push_str(before);
        match variables.get(name) {
            Some(value) => out.push_str(value),
            None => out.extend(["%{", name, "}"]),
        }
        if out.len() > MAX_VALUE {
            break;
        }
        rest = end;
    }
    out.push_str(rest);
    match out.len() > MAX_VALUE || out.chars().any(char::is_control) {
        true => Err(io::Error::other(format!("expected values of one line and at most {MAX_VALUE} bytes"))),
        false => Ok(out),
    }
}

/// Checks whether a setting is on.
pub(super) fn is_yes(value: &str) -> bool {
    ["1", "yes", "true", "on"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting<'a>(section: &'a Section, key: &str) -> Option<&'a str> {
        section.1.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    #[test]
    fn an_index_names_repositories_with_variables() {
        let index = "<repoindex ttl=\"0\" disturl=\"https://mirror.example\" distsub=\"%{disturl}/tw\">\n\
            <repo url=\"%{distsub}/%{alias}\" alias=\"oss\" name=\"%{alias}\" enabled=\"true\"/>\n\
            <repo url=\"%{distsub}/%{unknown}\" alias=\"debug\"/>\n\
            <repo url=\"%{disturl}\" path=\"SLES\" alias=\"path\"/>\n<other alias=\"no\"/>\n</repoindex>\n";
        let found = of_index(index, "openSUSE").unwrap();
        let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["openSUSE:oss", "openSUSE:debug", "openSUSE:path"]);
        assert_eq!(setting(&found[0], "baseurl"), Some("https://mirror.example/tw/oss"));
        assert_eq!(setting(&found[0], "enabled"), Some("true"));
        assert_eq!(setting(&found[1], "baseurl"), Some("https://mirror.example/tw/%{unknown}"));
        assert_eq!(setting(&found[1], "enabled"), Some("0"));
        assert_eq!(setting(&found[2], "path"), Some("repo/SLES"));
    }

    #[test]
    fn an_index_that_libzypp_would_not_write_is_refused() {
        let with = |repo: &str| of_index(&format!("<repoindex a=\"{}\">{repo}</repoindex>", "x".repeat(4000)), "s");
        assert!(with("<repo url=\"http://a.example\" alias=\"x\"/>").is_ok());
        assert!(with("<repo url=\"http://a.example\"/>").is_err(), "no alias");
        let injected = with("<repo url=\"http://a.example&#10;proxy=http://evil.example\" alias=\"x\"/>");
        assert!(injected.is_err(), "a second line would be another setting");
        let many = "%{a}".repeat(100_000);
        assert!(with(&format!("<repo url=\"{many}\" alias=\"x\"/>")).is_err(), "it would fill the memory");
        assert!(of_index("<repoindex", "s").is_err());
    }

    #[test]
    fn a_service_that_is_off_and_repositories_with_their_own_files_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("usr/share/zypp/local/service/openSUSE/repo");
        std::fs::create_dir_all(&folder).unwrap();
        let repo = |alias: &str| format!("<repo url=\"http://a.example/{alias}\" alias=\"{alias}\" enabled=\"1\"/>");
        let index = format!("<repoindex>{}{}</repoindex>", repo("oss"), repo("update"));
        std::fs::write(folder.join("repoindex.xml"), index).unwrap();
        let root = Root::new(dir.path()).unwrap();
        let ids = |known: &[Section]| -> Vec<String> {
            sections(&root, Path::new(INDEXES), known).unwrap().into_iter().map(|(id, _)| id).collect()
        };
        assert_eq!(ids(&[]), ["openSUSE:oss", "openSUSE:update"]);
        assert_eq!(ids(&[("openSUSE:oss".to_owned(), Vec::new())]), ["openSUSE:update"]);
        std::fs::create_dir_all(dir.path().join("etc/zypp/services.d")).unwrap();
        for (enabled, expected) in [("0", 0), ("1", 2)] {
            let text = format!("[openSUSE]\nname=openSUSE\nenabled={enabled}\n");
            std::fs::write(dir.path().join("etc/zypp/services.d/openSUSE.service"), text).unwrap();
            assert_eq!(ids(&[]).len(), expected, "enabled={enabled}");
        }
    }
}
