//! A signed repository of RPMs, made by this machine's `rpmbuild`, `rpmsign` and `createrepo_c`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A package that is to be made.
#[derive(Default)]
pub(crate) struct Rpm {
    /// The name of its source package, whose other packages may be made with it.
    pub(crate) source: String,
    /// `Epoch:`, `Version:`, `Requires:` and the like.
    pub(crate) tags: Vec<String>,
    /// What stands after a section's name, and its lines: `%posttrans`.
    pub(crate) scripts: Vec<(&'static str, String)>,
    /// By path.
    pub(crate) files: BTreeMap<String, Content>,
}

/// What is at a path.
pub(crate) enum Content {
    /// What is at a path of this machine: a folder without its content, a file or a link.
    Of(PathBuf),
    Folder(u32),
    /// A folder that is the package's and not in it.
    Ghost(u32),
    File(u32, String),
    Link(&'static str),
}

/// The name of the public key in a repository's folder.
pub(crate) const KEY: &str = "RPM-GPG-KEY-shaped";

/// Makes the packages and their repository in a folder.
pub(crate) fn repository(rpms: &BTreeMap<String, Rpm>, folder: &Path) {
    let work = folder.join(".work");
    let mut sources: BTreeMap<&str, Vec<(&str, &Rpm)>> = BTreeMap::new();
    for (name, rpm) in rpms {
        sources.entry(&rpm.source).or_default().push((name, rpm));
    }
    for (source, packages) in sources {
        build(source, &packages, &work.join(source), folder);
    }
    std::fs::remove_dir_all(&work).unwrap();
    sign(folder);
    run(Command::new("createrepo_c").arg("--quiet").arg(folder));
}

/// Makes the packages of one source.
fn build(source: &str, packages: &[(&str, &Rpm)], work: &Path, to: &Path) {
    let root = work.join("root");
    std::fs::create_dir_all(&root).unwrap();
    let (mut heads, mut scripts, mut lists) = (String::new(), String::new(), String::new());
    for (name, rpm) in packages {
        // The one of the source's own name is what a specification begins with.
        let named = if *name == source { String::new() } else { format!("-n {name}") };
        let mut head = String::new();
        writeln!(head, "Summary: {name}\nAutoReqProv: no\n{}", rpm.tags.join("\n")).unwrap();
        writeln!(head, "%description {named}\n{name}").unwrap();
        match named.is_empty() {
            true => heads.insert_str(0, &head),
            false => heads.push_str(&format!("%package {named}\n{head}")),
        }
        for (section, lines) in &rpm.scripts {
            // `%transfiletriggerin -- /lib`: its package stands before what it is about.
            let (word, rest) = section.split_once(' ').unwrap_or((section, ""));
            writeln!(scripts, "{word} {named} {rest}\n{lines}").unwrap();
        }
        writeln!(lists, "%files {named}").unwrap();
        // A folder comes before what is in it.
        for (path, content) in &rpm.files {
            let at = root.join(path.trim_start_matches('/'));
            writeln!(lists, "{}\"{}\"", put(content, &at), pattern(path)).unwrap();
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
        // Folders between those that packages have.
        "_unpackaged_files_terminate_build 0".to_owned(),
    ] {
        rpmbuild.args(["--define", &define]);
    }
    run(rpmbuild.arg(&file));
    std::fs::remove_dir_all(work).unwrap();
}

/// A path as a list of files has it: what means something there stands for itself.
fn pattern(path: &str) -> String {
    path.chars().map(|c| if r#"[]{}*\"%"#.contains(c) || c.is_whitespace() { '?' } else { c }).collect()
}

/// Puts something at a path; gives what stands before it in a list of files.
pub(crate) fn put(content: &Content, at: &Path) -> &'static str {
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    let mode = |mode: u32| std::fs::set_permissions(at, std::fs::Permissions::from_mode(mode)).unwrap();
    match content {
        Content::Folder(_) | Content::Ghost(_) => std::fs::create_dir_all(at).unwrap(),
        Content::Link(target) => symlink(target, at).unwrap(),
        Content::File(_, text) => std::fs::write(at, text).unwrap(),
        Content::Of(path) if path.is_symlink() => symlink(std::fs::read_link(path).unwrap(), at).unwrap(),
        Content::Of(path) if path.is_dir() => std::fs::create_dir_all(at).unwrap(),
        Content::Of(path) => assert!(std::fs::copy(path, at).is_ok(), "copying {}", path.display()),
    }
    match content {
        Content::Folder(its_mode) | Content::Ghost(its_mode) | Content::File(its_mode, _) => mode(*its_mode),
        Content::Of(path) if !path.is_symlink() => mode(path.metadata().unwrap().permissions().mode() & 0o7777),
        Content::Of(_) | Content::Link(_) => {}
    }
    match content {
        Content::Ghost(_) => "%ghost %dir ",
        Content::Folder(_) => "%dir ",
        Content::Of(path) if path.is_dir() && !path.is_symlink() => "%dir ",
        Content::Of(_) | Content::File(..) | Content::Link(_) => "",
    }
}

/// Signs all packages by a key that nobody has afterwards.
fn sign(folder: &Path) {
    // gpg's sockets do not fit into long paths.
    let home = tempfile::tempdir().unwrap();
    let gpg = |arguments: &[&str]| {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", home.path()).args([
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
        ]);
        run(gpg.args(arguments));
    };
    let user = "shaped <shaped@b.example>";
    gpg(&["--quick-generate-key", user, "rsa2048", "sign", "never"]);
    let key = folder.join(KEY);
    gpg(&["--armor", "--output", key.to_str().unwrap(), "--export", "shaped@b.example"]);
    let packages = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let packages: Vec<PathBuf> = packages.filter(|path| path.extension().is_some_and(|e| e == "rpm")).collect();
    let mut sign = Command::new("rpmsign");
    sign.args(["--define", "__gpg /usr/bin/gpg", "--define", "_gpg_name shaped@b.example", "--addsign"]);
    run(sign.args(packages).env("GNUPGHOME", home.path()));
    let _ = Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home.path()).status();
}

pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
