//! A signed repository of RPMs, made by this machine's `rpmbuild`, `rpmsign` and `createrepo_c`.

use crate::key::{self, Key};
use crate::shape::{All, Content, Folders, Links, NewPackage, run};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs of the package `rpm`.
const RPM_PROGRAMS: &[&str] = &["rpm", "rpm2archive", "rpm2cpio", "rpmdb", "rpmkeys", "rpmquery", "rpmverify"];

/// Builds the packages and their repository in a directory, and writes the key's public part; `signs_index` also signs
/// the index.
pub(crate) fn repository(all: &All, folder: &Path, public: &Path, signs_index: bool) {
    let work = folder.join(".work");
    let mut sources: BTreeMap<&str, Vec<(&str, &NewPackage)>> = BTreeMap::new();
    for (name, new_package) in all {
        sources.entry(&new_package.source).or_default().push((name, new_package));
    }
    for (source, packages) in sources {
        build(source, &packages, &work.join(source), folder);
    }
    std::fs::remove_dir_all(&work).unwrap();
    let key = Key::new(public);
    sign(folder, &key);
    run(Command::new("createrepo_c").arg("--quiet").arg(folder));
    if signs_index {
        key.sign(&folder.join("repodata/repomd.xml"), "asc");
    }
}

/// Builds the packages of one source.
fn build(source: &str, packages: &[(&str, &NewPackage)], work: &Path, to: &Path) {
    let root = work.join("root");
    std::fs::create_dir_all(&root).unwrap();
    let (mut heads, mut scripts, mut lists) = (String::new(), String::new(), String::new());
    for (name, new_package) in packages {
        // The package with the source's own name is the main package of the spec file.
        let named = if *name == source { String::new() } else { format!("-n {name}") };
        let mut head = String::new();
        writeln!(head, "Summary: {name}\nAutoReqProv: no\n{}\n{}", tags(new_package), new_package.lines.join("\n"))
            .unwrap();
        writeln!(head, "%description {named}\n{name}").unwrap();
        match named.is_empty() {
            true => heads.insert_str(0, &head),
            false => heads.push_str(&format!("%package {named}\n{head}")),
        }
        for (section, lines) in &new_package.scripts {
            // In `%transfiletriggerin -- /lib` the package's name precedes the arguments.
            let (word, rest) = section.split_once(' ').unwrap_or((section, ""));
            writeln!(scripts, "{word} {named} {rest}\n{lines}").unwrap();
        }
        writeln!(lists, "%files {named}").unwrap();
        // A directory precedes its contents.
        for (path, content) in &new_package.files {
            content.put(&root.join(path.trim_start_matches('/')));
            writeln!(lists, "{}\"{}\"", directive(content), pattern(path)).unwrap();
        }
    }
    if !packages.iter().any(|(name, _)| *name == source) {
        let none = format!("Version: 1\nRelease: 1\nSummary: {source}\n%description\n{source}\n");
        heads.insert_str(0, &none);
    }
    let spec = format!(
        "Name: {source}\nLicense: none\n{heads}%install\nmkdir -p %{{buildroot}}\n\
        find {} -mindepth 1 -maxdepth 1 -exec mv -t %{{buildroot}} {{}} +\n{scripts}{lists}",
        root.display()
    );
    let file = work.join(format!("{source}.spec"));
    std::fs::write(&file, spec).unwrap();
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.args(["-bb", "--quiet", "--nodeps"]);
    for define in [
        format!("_topdir {}", work.join("build").display()),
        format!("_rpmdir {}", to.display()),
        "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned(),
        "_binary_payload w1.zstdio".to_owned(),
        "_build_id_links none".to_owned(),
        "__os_install_post %{nil}".to_owned(),
        "debug_package %{nil}".to_owned(),
        // Allow parent directories that belong to no package.
        "_unpackaged_files_terminate_build 0".to_owned(),
    ] {
        rpmbuild.args(["--define", &define]);
    }
    run(rpmbuild.arg(&file));
    std::fs::remove_dir_all(work).unwrap();
}

/// Returns `Epoch:`, `Version:`, `Requires:` and similar tags.
fn tags(new_package: &NewPackage) -> String {
    let (whole, release) = new_package.version.rsplit_once('-').unwrap();
    let (epoch, version) = whole.split_once(':').unwrap_or(("0", whole));
    let mut tags = format!("Version: {version}\nRelease: {release}");
    if epoch != "0" {
        tags += &format!("\nEpoch: {epoch}");
    }
    let needs = new_package.needs.iter().map(|needed| format!("\nRequires: {needed}"));
    tags.extend(needs.chain(new_package.provides.iter().map(|provided| format!("\nProvides: {provided}"))));
    tags
}

/// Returns a path as a pattern for `%files`, with special characters replaced by wildcards.
fn pattern(path: &str) -> String {
    path.chars().map(|c| if r#"[]{}*\"%"#.contains(c) || c.is_whitespace() { '?' } else { c }).collect()
}

/// Returns the directive of a path in `%files`.
fn directive(content: &Content) -> &'static str {
    match content {
        Content::Ghost(_) => "%ghost %dir ",
        Content::Folder(_) => "%dir ",
        Content::Of(path) if path.is_dir() && !path.is_symlink() => "%dir ",
        Content::Of(_) | Content::File(..) | Content::Link(_) => "",
    }
}

/// Signs all packages.
fn sign(folder: &Path, key: &Key) {
    let packages = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let packages: Vec<PathBuf> = packages.filter(|path| path.extension().is_some_and(|e| e == "rpm")).collect();
    let mut sign = Command::new("rpmsign");
    sign.args(["--define", "__gpg /usr/bin/gpg", "--define", &format!("_gpg_name {}", key::USER), "--addsign"]);
    run(sign.args(packages).env("GNUPGHOME", key.home()));
}

/// Returns Lua code that makes directories and links, so that packages can be installed in any order.
pub(crate) fn lua(folders: &[&str], links: Links) -> String {
    let folders = folders.iter().map(|folder| format!("posix.mkdir(\"{folder}\")\n"));
    let links = links.iter().map(|(link, target)| format!("posix.symlink(\"{target}\", \"{link}\")\n"));
    folders.chain(links).collect()
}

/// Adds directories that a package owns but does not contain.
pub(crate) fn ghosts(new_package: &mut NewPackage, folders: Folders) {
    new_package.files.extend(folders.iter().map(|(path, mode)| ((*path).to_owned(), Content::Ghost(*mode))));
}

/// Returns whether a file of Debian's rpm belongs to the package `rpm` of other distros, and not to a package for
/// building.
pub(crate) fn belongs_to_rpm(path: &str) -> bool {
    let is_for_building = ["brp-", "check-", "find-", "fileattrs/"];
    match (path.strip_prefix("/usr/bin/"), path.strip_prefix("/usr/lib/rpm/")) {
        (Some(program), _) => RPM_PROGRAMS.contains(&program),
        (_, Some(below)) => !is_for_building.iter().any(|part| below.starts_with(part)),
        _ => !path.starts_with("/usr/lib/x86_64-linux-gnu/rpm-plugins") && path != "/var/lib/rpm",
    }
}
