//! House rules that a program can check: the length of files, no import circles at any depth, every dependency used and
//! compiled only once, a share's name written only once, and a nightly step for everything that only a release build
//! proves.

mod sources;

use serde_json::Value;
use sources::{Source, before_tests, members, module, outside_tests, read, repository, sources};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Maximum lines of a file without a reason, not counting tests.
const MOST_LINES: usize = 400;
/// The beginning of the first line of a longer file; the reason follows.
const REASON: &str = "// Over 400 lines: ";

/// Dependencies that no code of this workspace calls: they are listed for their features, which tests need.
const FOR_THEIR_FEATURES: [&str; 3] = ["idna", "num-traits", "regex-automata"];

/// Minimum number of files in the crates, so that the rules do not pass because no files were found.
const FILES: usize = 200;

#[test]
fn no_file_is_long_without_a_reason() {
    let mut found = 0;
    let mut long = Vec::new();
    for member in members() {
        for source in sources(&member) {
            found += 1;
            long.extend(
                excess(&source.text).map(|lines| format!("{member}/src/{}: {lines} lines", source.path.display())),
            );
        }
    }
    assert!(found >= FILES, "{found} files were found, expected {FILES} or more");
    assert!(
        long.is_empty(),
        "longer than {MOST_LINES} lines, tests aside:\n{}\nsplit it where there are two ideas, or give the reason on its \
         first line: `{REASON}…`",
        long.join("\n")
    );
}

#[test]
fn file_length_excludes_tests_and_allows_a_reason_in_the_first_line() {
    let text = |first: &str, lines: usize| format!("{first}\n{}", "x();\n".repeat(lines - 1));
    assert_eq!(excess(&text("//! A module.", 400)), None);
    assert_eq!(excess(&text("//! A module.", 401)), Some(401));
    assert_eq!(excess(&text("// Over 400 lines: one table.", 401)), None);
    assert_eq!(excess(&text("// Over 400 lines: ", 401)), Some(401), "no reason is given");
    let tested = "//! A module.\nx();\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
    assert_eq!(before_tests(tested), "//! A module.\nx();\n\n");
    let apart = "#[cfg(test)]\nmod tests;\nx();\n";
    assert_eq!(before_tests(apart), apart, "its tests are in another file");
}

/// Shares are compared by their type, and the name is written only where the type defines it, as Kata and the records
/// spell it.
#[test]
fn virtio_fs_is_spelt_in_one_place() {
    let mut places = Vec::new();
    for member in members() {
        for source in sources(&member) {
            let place = format!("{member}/src/{}", source.path.display());
            places.extend(source.text.matches("\"virtio-fs\"").map(|_| place.clone()));
        }
    }
    assert_eq!(places, ["distros/model/src/share.rs"], "say `Share::VirtioFs.name()`");
}

#[test]
fn modules_have_no_circular_imports() {
    let mut imported = 0;
    let mut found = Vec::new();
    for member in members() {
        let imports = imports(&sources(&member));
        imported += imports.len();
        found.extend(circles(&imports).into_iter().map(|circle| format!("{member}/src: {circle}")));
    }
    assert!(imported > members().len(), "only {imported} modules import another one: are imports still found?");
    assert!(
        found.is_empty(),
        "modules import each other in a circle:\n{}\nmove what both need to a module that imports neither, or to the one \
         that is imported",
        found.join("\n")
    );
}

#[test]
fn circular_imports_are_reported_with_each_importer() {
    let circles_of = |files: &[(&str, &str)]| circles(&imports(&outside_tests(fictitious_sources(files))));
    let base = ("base/archive.rs", "use crate::{\n    error::{self, Failure},\n    tree,\n};\n");
    let error = ("error.rs", "use crate::base::BaseError;\n");
    assert_eq!(
        circles_of(&[error, base, ("base.rs", "mod archive;\n"), ("tree.rs", "")]),
        ["base/archive.rs imports error, error.rs imports base"]
    );
    let tree = ("tree.rs", "pub fn of() {\n    crate::error::none();\n}\n");
    assert_eq!(
        circles_of(&[error, ("base.rs", "use crate::{b, tree};\n"), tree, ("b.rs", "")]),
        ["base.rs imports tree, tree.rs imports error, error.rs imports base"]
    );
    // Siblings below a module count, in any form of import, and a module includes everything below it.
    let program = ("base/program.rs", "use super::{\n    Plan as _,\n    apt,\n};\n");
    for apt in [("base/apt.rs", "use super::program::{self};\n"), ("base/apt/fetch.rs", "use super::super::program;\n")]
    {
        assert_eq!(
            circles_of(&[("base.rs", ""), ("base/apt.rs", ""), program, apt]),
            [format!("{} imports base/program, base/program.rs imports base/apt", apt.0)]
        );
    }
    // A name that the parent re-exports belongs to the module that defines it.
    let parent = ("base.rs", "pub(crate) use self::program::{Installer as Tool, Other};\n");
    let plan = ("base/plan.rs", "fn of(_: super::Tool) {}\n");
    let program = ("base/program.rs", "use crate::base::plan::Plan;\n");
    assert_eq!(
        circles_of(&[parent, plan, program]),
        ["base/plan.rs imports base/program, base/program.rs imports base/plan"]
    );
    for none in [
        // Imports between a module and its children.
        ("base/archive.rs", "use super::Base;\nuse crate::base;\n"),
        ("base.rs", "use crate::base::archive::Archive;\nmod archive;\n"),
        // Comments, names of the crate's root, and names of another crate.
        ("base.rs", "/// As [`crate::error::Failure`].\nuse crate::Root;\nuse mycrate::error;\n"),
        // Tests.
        ("base.rs", "#[cfg(test)]\nmod tests {\n    use crate::error::Failure;\n}\n"),
    ] {
        assert_eq!(circles_of(&[error, none]), Vec::<String>::new(), "{none:?}");
    }
    let tests = ("base/tests.rs", "use crate::error::Failure;\n");
    let sample = ("base/sample/made.rs", "use crate::error::Failure;\n");
    let base = ("base.rs", "#[cfg(test)]\nmod tests;\n#[cfg(all(test, unix))]\npub(crate) mod sample;\n");
    assert_eq!(circles_of(&[error, base, tests, sample]), Vec::<String>::new());
}

/// `cargo test` compiles nothing again that `cargo run` has compiled: a library with other features or another profile
/// would be compiled twice, with everything that depends on it.
#[test]
fn tests_reuse_what_cargo_run_has_compiled() {
    let run = units(&["build", "--bin", "kata-qualify"]);
    let tested = units(&["test", "--workspace", "--no-run"]);
    assert!(run.len() > 100, "only {} units were found", run.len());
    let recompiled: Vec<&str> = run.difference(&tested).map(String::as_str).collect();
    assert!(
        recompiled.is_empty(),
        "compiled again for the tests:\n{}\nname the features that tests need of it among the harness's dependencies, or \
         give it the same profile in Cargo.toml",
        recompiled.join("\n")
    );
}

/// Returns what a cargo command compiles and runs: each target with its features and its profile.
fn units(command: &[&str]) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(command).args(["--offline", "--locked", "--unit-graph", "-Zunstable-options"]);
    // Only a nightly cargo prints its plan; this variable makes a released one accept the option, too.
    let output = cargo.env("RUSTC_BOOTSTRAP", "1").current_dir(repository()).output().unwrap_or_else(|e| panic!("{e}"));
    assert!(output.status.success(), "cargo: {}", String::from_utf8_lossy(&output.stderr));
    let graph: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("cargo's plan: {e}"));
    let unit = |unit: &Value| {
        let mut profile = unit["profile"].clone();
        // The profile's name is `dev` or `test`; a difference in the name alone compiles nothing again.
        if let Some(profile) = profile.as_object_mut() {
            profile.remove("name");
        }
        let (package, target) = (&unit["pkg_id"], &unit["target"]["name"]);
        format!("{package} {target} {} {} {} {profile}", unit["mode"], unit["platform"], unit["features"])
    };
    graph["units"].as_array().into_iter().flatten().map(unit).collect()
}

#[test]
fn every_dependency_is_used() {
    let root = repository();
    let mut found = 0;
    let mut unused = Vec::new();
    for member in members() {
        let manifest = read(&root.join(&member).join("Cargo.toml"));
        let code: String = sources(&member).iter().map(|source| code(&source.text)).collect();
        for name in dependencies(&manifest) {
            found += 1;
            if !uses(&code, name) && !FOR_THEIR_FEATURES.contains(&name) {
                unused.push(format!("{member}/Cargo.toml: {name}"));
            }
        }
    }
    assert!(found >= members().len(), "only {found} dependencies were found");
    assert!(
        unused.is_empty(),
        "not used in src outside tests:\n{}\nremove it from [dependencies], or move it to [dev-dependencies] if tests use \
         it",
        unused.join("\n")
    );
}

/// GitHub rejects a workflow that is not YAML as a whole, and only when it is to run: `run: … crash::` is a key without
/// a value there.
#[test]
fn workflows_are_yaml() {
    let mut found = 0;
    for folder in ["workflows", "actions/shard", "ISSUE_TEMPLATE"] {
        let entries = fs::read_dir(repository().join(".github").join(folder)).unwrap();
        for path in
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "yml"))
        {
            let parsed = serde_yaml::from_str::<Value>(&read(&path));
            assert!(parsed.is_ok(), "{}: {}", path.display(), parsed.unwrap_err());
            found += 1;
        }
    }
    assert!(found >= 6, "only {found} files were found");
}

/// If the reason of an ignored test names a step of `.ci/nightly`, the step exists; otherwise nothing would run the
/// test.
#[test]
fn nightly_steps_named_by_ignored_tests_exist() {
    let script = read(&repository().join(".ci/nightly"));
    let all = script.split_once("\n    all)\n").and_then(|(_, rest)| rest.split_once(";;")).unwrap_or_default().0;
    let mut named = BTreeSet::new();
    for member in members() {
        for folder in ["src", "tests"] {
            rust_files(&repository().join(&member).join(folder), &mut |text: &str| {
                let reasons = text.lines().filter(|line| line.trim_start().starts_with("#[ignore = \""));
                let steps = reasons.filter_map(|line| line.split_once(".ci/nightly ")?.1.split([' ', '"']).next());
                named.extend(steps.map(str::to_owned));
            });
        }
    }
    assert!(named.contains("large") && named.contains("faults"), "{named:?}");
    for step in named {
        assert!(script.contains(&format!("\n{step}() {{\n")), "there is no step `{step}`");
        assert!(all.lines().any(|line| line.trim() == step), "without an argument `{step}` is not run");
    }
    // Without a test of this name, the step would run none and pass.
    let sites = read(&repository().join("reports/src/views/site/tests.rs"));
    assert!(script.contains("--ignored --nocapture thousand") && sites.contains("fn a_site_of_a_thousand_targets_"));
    let races = read(&repository().join("distros/root/src/tests.rs"));
    assert!(script.contains("--ignored long_racing_renames") && races.contains("fn long_racing_renames_"));
}

/// Calls `visit` with the text of each Rust file in a directory and below.
fn rust_files(folder: &Path, visit: &mut impl FnMut(&str)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            rust_files(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&read(&path));
        }
    }
}

#[test]
fn a_dependency_is_used_where_a_path_begins_with_it() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\n# Why.\nserde.workspace = true\n\
        model = { workspace = true, features = [\"schema\"] }\ntokio-util = \"0.7\"\n\n[dev-dependencies]\ninsta = \"1\"\n";
    assert_eq!(dependencies(manifest), ["serde", "model", "tokio-util"]);
    for used in ["use tokio_util::io::StreamReader;", "let x = <tokio_util::X>::new();", "use tokio_util as util;"] {
        assert!(uses(used, "tokio-util"), "{used}");
    }
    for unused in ["use my_tokio_util::io;", "use crate::tokio_util::io;", "use tokio_util_more::x;", "tokio_util"] {
        assert!(!uses(unused, "tokio-util"), "{unused}");
    }
    assert!(!uses(&code("/// See serde::Serialize.\nfn x() {}\n"), "serde"));
}

/// The nightly workflow has a job for each kind of check that takes long, and its result depends on all of them.
#[test]
fn the_nightly_workflow_waits_for_all_of_its_jobs() {
    let workflow: Value = serde_yaml::from_str(&read(&repository().join(".github/workflows/nightly.yml"))).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap();
    let needed: BTreeSet<&str> =
        jobs["nightly"]["needs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let others: BTreeSet<&str> = jobs.keys().map(String::as_str).filter(|name| *name != "nightly").collect();
    assert_eq!(needed, others);
    for job in ["shaped", "slurm", "arch"] {
        assert!(others.contains(job), "{job}");
    }
    for name in &others {
        let variable = name.to_uppercase();
        assert_eq!(jobs["nightly"]["env"][&variable], format!("${{{{ needs.{name}.result }}}}"));
        let script = jobs["nightly"]["steps"][0]["run"].as_str().unwrap();
        assert!(script.contains(&format!("\"${variable}\"")), "{name}: {script}");
    }
}

/// A test that is ignored in debug builds never runs unless a step of .ci/nightly runs it in a release build.
#[test]
fn tests_that_need_a_release_build_are_run_by_nightly() {
    let nightly = read(&repository().join(".ci/nightly"));
    let mut found = Vec::new();
    for member in members() {
        let folder = repository().join(&member).join("tests");
        let Ok(files) = fs::read_dir(&folder) else { continue };
        for file in files.map(|entry| entry.unwrap_or_else(|e| panic!("listing {}: {e}", folder.display())).path()) {
            let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
            let is_release_only = |line: &str| line.trim_start().starts_with("#[cfg_attr(debug_assertions, ignore");
            if file.is_file() && read(&file).lines().any(is_release_only) {
                let package_name = package(&read(&repository().join(&member).join("Cargo.toml")));
                let is_run = nightly.lines().any(|line| is_release_of(line, &package_name, &name));
                assert!(is_run, "no step of .ci/nightly makes a release build of {package_name} for its test {name}");
                found.push(name);
            }
        }
    }
    found.sort();
    assert_eq!(found, ["hostile", "size"], "the tests that ask for a release build");
    let step = "    step x cargo test --release --locked --package p --test a --test b -- --nocapture";
    assert!(is_release_of(step, "p", "a") && is_release_of(step, "p", "b"));
    let debug = step.replace(" --release", "");
    assert!(!is_release_of(step, "p", "c") && !is_release_of(step, "q", "a") && !is_release_of(&debug, "p", "a"));
    assert!(!is_release_of(&step.replacen("    step", "    # step", 1), "p", "a"), "that is a comment");
}

/// Returns whether a line of a script is a step that runs a package's whole test file in a release build.
fn is_release_of(line: &str, package: &str, test: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().take_while(|word| *word != "--").collect();
    let has = |option: &str, value: &str| words.windows(2).any(|pair| pair == [option, value]);
    let is_step = words.first() == Some(&"step") && has("cargo", "test") && words.contains(&"--release");
    is_step && has("--package", package) && has("--test", test)
}

/// Returns the package name of a manifest.
fn package(manifest: &str) -> String {
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = "));
    name.unwrap_or_else(|| panic!("a manifest without a name")).trim_matches('"').to_owned()
}

/// For each module that imports siblings: these siblings, each with a file that imports it. A module is its path below
/// `src`.
type Imports = BTreeMap<PathBuf, BTreeMap<PathBuf, PathBuf>>;

/// An item that code names by a path.
struct Named<'c> {
    path: Vec<&'c str>,
    /// The item's local name after the import.
    name: &'c str,
}

/// Returns fictitious files of a crate.
fn fictitious_sources(files: &[(&str, &str)]) -> Vec<Source> {
    files.iter().map(|(path, text)| Source { path: PathBuf::from(path), text: (*text).to_owned() }).collect()
}

/// Returns the number of lines of a file that is too long and gives no reason in its first line.
fn excess(text: &str) -> Option<usize> {
    let lines = text.lines().count();
    let reason = text.lines().next().and_then(|first| first.strip_prefix(REASON));
    let has_reason = reason.is_some_and(|reason| !reason.trim().is_empty());
    (lines > MOST_LINES && !has_reason).then_some(lines)
}

/// Returns the text without comment lines.
fn code(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Returns the imports between sibling modules of a crate, at every depth.
///
/// From a sibling's point of view, a module includes everything below it. A module and the modules below it may import
/// each other.
fn imports(sources: &[Source]) -> Imports {
    let modules: BTreeSet<PathBuf> = sources.iter().map(|source| module(&source.path)).collect();
    let re_exports = re_exports(sources, &modules);
    let mut all = Imports::new();
    for source in sources {
        let importer = module(&source.path);
        for named in named(&code(&source.text)) {
            let imported = origin(absolute(&named.path, &importer), &re_exports);
            let common = importer.iter().zip(&imported).take_while(|(one, other)| one == other).count();
            let (Some(from), Some(to)) = (outer(&importer, common), outer(&imported, common)) else { continue };
            if modules.contains(&to) {
                all.entry(from).or_default().entry(to).or_insert_with(|| source.path.clone());
            }
        }
    }
    all
}

/// Returns the module on the way to `path` that is below `depth` others; may be the module itself.
fn outer(path: &Path, depth: usize) -> Option<PathBuf> {
    (path.iter().count() > depth).then(|| path.iter().take(depth + 1).collect())
}

/// Returns names that modules re-export (`pub use`), each with its original path.
fn re_exports(sources: &[Source], modules: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, PathBuf> {
    let mut all = BTreeMap::new();
    for source in sources {
        let (code, module) = (code(&source.text), module(&source.path));
        let mut names = Vec::new();
        for (at, keyword) in code.match_indices("use ") {
            let before = code[..at].rsplit('\n').next().unwrap_or_default();
            if before.trim_start().starts_with("pub") {
                tree(&code[at + keyword.len()..], &[], &mut names);
            }
        }
        all.extend(names.iter().map(|named| (module.join(named.name), absolute(&named.path, &module))));
    }
    all.retain(|name, _| !modules.contains(name));
    all
}

/// Returns the original path of an item that may be re-exported.
fn origin(mut path: PathBuf, re_exports: &BTreeMap<PathBuf, PathBuf>) -> PathBuf {
    let mut seen = BTreeSet::new();
    while seen.insert(path.clone()) {
        let from = path.ancestors().find_map(|part| {
            let rest = path.strip_prefix(part).ok()?;
            Some(re_exports.get(part)?.join(rest))
        });
        path = from.unwrap_or(path);
    }
    path
}

/// Resolves a path in a module's code to a path from the crate's root.
fn absolute(path: &[&str], importer: &Path) -> PathBuf {
    let mut whole = importer.to_owned();
    for name in path {
        match *name {
            "crate" => whole = PathBuf::new(),
            "super" => {
                whole.pop();
            }
            "self" => {}
            name => whole.push(name),
        }
    }
    whole
}

/// Returns the items that code names by paths into its own crate.
fn named(code: &str) -> Vec<Named<'_>> {
    let mut all = Vec::new();
    for first in ["crate::", "super::", "self::"] {
        let paths = code.match_indices(first);
        for (at, _) in paths.filter(|(at, _)| !code[..*at].ends_with(|c: char| is_in_word(c) || c == ':')) {
            tree(&code[at..], &[], &mut all);
        }
    }
    all
}

/// Parses the import tree at the beginning of a text, e.g. `a::{b, c::d}`, adds its items and returns the rest of the
/// text.
fn tree<'c>(text: &'c str, before: &[&'c str], all: &mut Vec<Named<'c>>) -> &'c str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, before, all).trim_start_matches(|c: char| c != ',' && c != '}');
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let name = word(text);
    let path = [before, &[name]].concat();
    let rest = &text[name.len()..];
    match rest.strip_prefix("::") {
        Some(next) if next.starts_with(|c: char| is_in_word(c) || c == '{') => tree(next, &path, all),
        _ => {
            all.push(Named { name: rest.strip_prefix(" as ").map_or(name, word), path });
            rest
        }
    }
}

/// Returns the first word of a text.
fn word(text: &str) -> &str {
    text.split(|c: char| !is_in_word(c)).next().unwrap_or_default()
}

fn is_in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the import circles, at least one of those that share modules: `base.rs imports error, error.rs imports
/// base`.
fn circles(imports: &Imports) -> Vec<String> {
    let shortest_paths = imports.keys().filter_map(|start| {
        let path = circle(imports, start)?;
        // Only from its first module, so that each circle is reported once.
        (path.iter().min() == Some(&start.as_path())).then_some(path)
    });
    let step = |from: &Path, to: &Path| format!("{} imports {}", imports[from][to].display(), to.display());
    shortest_paths
        .map(|path| {
            let next = path.iter().cycle().skip(1);
            path.iter().zip(next).map(|(from, to)| step(from, to)).collect::<Vec<_>>().join(", ")
        })
        .collect()
}

/// Returns the shortest circle of imports through a module.
fn circle<'i>(imports: &'i Imports, start: &'i Path) -> Option<Vec<&'i Path>> {
    let mut queue = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(path) = queue.pop_front() {
        let last = path.last()?;
        for next in imports.get(*last).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(path);
            }
            if seen.insert(next) {
                queue.push_back(path.iter().copied().chain([next.as_path()]).collect());
            }
        }
    }
    None
}

/// Returns the names in a manifest's `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<&str> {
    let section = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let names = section.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| !name.is_empty() && !name.starts_with('#')).collect()
}

/// Returns whether a path in the code begins with a dependency's name.
fn uses(code: &str, dependency: &str) -> bool {
    let name = dependency.replace('-', "_");
    code.match_indices(name.as_str()).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let begins = !before.ends_with(|c: char| is_in_word(c) || c == ':');
        let is_imported = before.ends_with("use ") && !after.starts_with(is_in_word);
        begins && (after.starts_with("::") || is_imported)
    })
}
