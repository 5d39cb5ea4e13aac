//! The commit that is built, for `--version` and for the files that a program writes.

use std::path::Path;
use std::process::Command;

/// The variable with the commit: packagers, whose sources have no git, set it for cargo; the build script, for the
/// compiler.
const VARIABLE: &str = "KATA_QUALIFY_COMMIT";
/// The value if the commit is not known.
const UNKNOWN: &str = "unknown";

/// For build scripts: sets the variable `KATA_QUALIFY_COMMIT` of the compiler, for `env!`.
///
/// The value is that of the same environment variable, else git's answer for the sources, else `unknown`. The crate is
/// compiled again when the value may have changed: with each commit, but not with each build.
pub fn set_commit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for line in instructions(std::env::var(VARIABLE).ok().as_deref(), &root, of_git) {
        println!("{line}");
    }
}

/// Returns the instructions with the packagers' commit, or else with the one that `ask` finds for the sources.
fn instructions(packagers: Option<&str>, root: &Path, ask: impl FnOnce(&Path) -> Option<Known>) -> Vec<String> {
    let mut lines = vec![format!("cargo::rerun-if-env-changed={VARIABLE}")];
    let packagers = packagers.map(str::trim).filter(|packagers| is_a_name(packagers));
    let known = match packagers {
        Some(_) => None,
        None => ask(root),
    };
    let commit = packagers.or(known.as_ref().map(|known| known.commit.as_str())).unwrap_or(UNKNOWN);
    lines.push(format!("cargo::rustc-env={VARIABLE}={commit}"));
    // With a path that does not exist, cargo would run the script at each build.
    let watched = known.iter().flat_map(|known| &known.changes_with).filter(|path| root.join(path).exists());
    lines.extend(watched.map(|path| format!("cargo::rerun-if-changed={}", root.join(path).display())));
    lines
}

/// Checks whether a text can be the name of a commit or tag, and cannot be an instruction to cargo.
fn is_a_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-+~/".contains(c);
    !text.is_empty() && text.len() <= 64 && text.chars().all(fits)
}

/// Git's answer for a checkout.
struct Known {
    commit: String,
    /// Files that are written when another commit is checked out or made.
    changes_with: Vec<String>,
}

/// Returns the commit of a directory that is a checkout's top level, not merely inside one as an unpacked archive may
/// be.
fn of_git(root: &Path) -> Option<Known> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
    git.args(["rev-parse", "--show-toplevel", "--git-path", "HEAD", "--git-path", "logs/HEAD", "--short=12", "HEAD"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let [top, head, log, commit] = text.lines().collect::<Vec<_>>()[..] else { return None };
    let is_ours = Path::new(top).canonicalize().ok()? == root.canonicalize().ok()?;
    let changes_with = vec![head.to_owned(), log.to_owned()];
    (is_ours && is_a_name(commit)).then(|| Known { commit: commit.to_owned(), changes_with })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_the_commit_is_the_packagers_or_unknown() {
        let folder = std::env::temp_dir();
        let of = |given| instructions(given, &folder, of_git);
        let watched = "cargo::rerun-if-env-changed=KATA_QUALIFY_COMMIT";
        assert_eq!(of(Some("v1.2-3\n")), [watched, "cargo::rustc-env=KATA_QUALIFY_COMMIT=v1.2-3"]);
        for nothing in [None, Some(""), Some("a\ncargo::rustc-cfg=b"), Some("a b")] {
            assert_eq!(of(nothing), [watched, "cargo::rustc-env=KATA_QUALIFY_COMMIT=unknown"], "{nothing:?}");
        }
    }

    #[test]
    fn only_existing_paths_are_watched() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ask = |_: &Path| {
            let changes_with = vec!["Cargo.toml".to_owned(), "no/logs/HEAD".to_owned()];
            Some(Known { commit: "0123456789ab".to_owned(), changes_with })
        };
        let expected = [
            "cargo::rerun-if-env-changed=KATA_QUALIFY_COMMIT".to_owned(),
            "cargo::rustc-env=KATA_QUALIFY_COMMIT=0123456789ab".to_owned(),
            format!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display()),
        ];
        assert_eq!(instructions(None, root, ask), expected);
    }
}
