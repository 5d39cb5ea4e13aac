use super::gather::{History, of_history};
use super::*;
use crate::journal::Event;
use crate::matrix::Matrix;
use crate::sample::{self, BOOT, HOSTILE, Maker, QMP, RENAME, cell, fail, judged, run};
use crate::standing::Recorded;
use model::database::Database;
use model::profile::{Profile, ProfileName};
use model::test_id::TestId;
use model::verified::{Basis, Verdict, VerifiedCapability, VerifiedCause, VerifiedEntry};
use std::collections::BTreeSet;
use std::path::Path;
use suites::outcome::{Component, Outcome};

type Pages = BTreeMap<String, String>;

/// Returns the pages of a run that is compared with no record, and whose files are missing.
fn of(matrix: &Matrix) -> Pages {
    let mut matrix = matrix.clone();
    matrix.keep_files(|_| false);
    pages(&of_run(&sample::standings(&matrix), &[], &sample::catalogue()))
}

/// Returns the pages of a site of records and runs.
fn site_of(records: &[&Record], runs: &[Matrix], catalogue: &[Test], profiles: &[Profile]) -> Pages {
    let history = History::new(records, runs);
    let standings = history.standings();
    pages(&of_history(&history, &standings, catalogue, profiles))
}

/// Returns the pages of the shipped records.
fn shipped() -> Pages {
    let database = Database::embedded();
    let records: Vec<&Record> = database.records().collect();
    site_of(&records, &[], suites::catalogue::tests(), Profile::all())
}

/// Returns a run on a day of July, of release 13 under one profile.
pub(super) fn of_day(number: i64, change: impl Fn(&str) -> Option<Outcome>) -> Matrix {
    let mut maker = run(change);
    for entry in &mut maker.journal.entries {
        entry.at += jiff::SignedDuration::from_hours(24 * number);
        if let Event::RunStarted { run, .. } = &mut entry.event {
            *run = format!("run-{number}");
        }
    }
    judged(&maker)
}

/// Returns runs of three days: all pass, QMP is broken, and all pass again.
pub(super) fn three_days() -> Vec<Matrix> {
    let broken = |test: &str| (test == QMP).then(|| fail(Component::Qemu, "no <b>reply</b>"));
    vec![of_day(3, |_| None), of_day(1, |_| None), of_day(2, broken)]
}

fn snapshot(page: &str) -> String {
    page.replace("><", ">\n<")
}

#[test]
fn a_small_run_as_pages() {
    let standings = sample::small_matrix();
    let standings = sample::standings(&standings);
    let pages = pages(&of_run(&standings, &[], &sample::small_catalogue()));
    insta::assert_snapshot!("index", snapshot(&pages["index.html"]));
    insta::assert_snapshot!("cell", snapshot(&pages["pages/cell/debian-13-x86_64-container.html"]));
    // Each capability has a page; pages of new capabilities do not change this snapshot.
    let (capabilities, others): (Vec<&String>, Vec<&String>) =
        pages.keys().partition(|path| path.starts_with("pages/capability/"));
    let expected: BTreeSet<String> =
        Capability::ALL.iter().map(|capability| format!("pages/{}", Page::Capability(*capability).path())).collect();
    assert!(capabilities.iter().copied().eq(&expected), "{capabilities:?}");
    insta::assert_snapshot!("paths", others.iter().map(|path| format!("{path}\n")).collect::<String>());
}

#[test]
fn a_small_site_as_pages_and_documents() {
    let pages = site_of(&[], &three_days(), &sample::catalogue(), &sample::profiles());
    for (name, path) in [
        ("runs", "runs.html"),
        ("release", "release/debian-13-x86_64.html"),
        ("test", "test/smoke.qmp_replies_parse.html"),
        ("package", "package/qemu.html"),
        ("feed", "feed.atom"),
    ] {
        insta::assert_snapshot!(name, snapshot(&pages[path]));
    }
    for name in ["index", "changes", "release/debian-13-x86_64", "badge/debian-13-x86_64/go-3.29"] {
        let document: serde_json::Value = serde_json::from_str(&pages[&format!("api/v1/{name}.json")]).unwrap();
        insta::assert_snapshot!(
            format!("api-{}", name.replace('/', "-")),
            serde_json::to_string_pretty(&document).unwrap()
        );
    }
}

/// Returns all links of a page, and all its anchors.
fn links(page: &str) -> (Vec<String>, BTreeSet<String>) {
    let values = |name: &str| -> Vec<String> {
        let start = format!(" {name}=\"");
        let parts = page.split(start.as_str()).skip(1);
        let plain =
            |text: &str| text.replace("&amp;", "&").replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
        parts.map(|part| plain(part.split('"').next().unwrap_or_default())).collect()
    };
    ([values("href"), values("src")].concat(), values("id").into_iter().collect())
}

/// Returns the broken links of pages, and anchors that occur twice.
fn broken(pages: &Pages) -> Vec<String> {
    let html = || pages.iter().filter(|(path, _)| path.ends_with(".html") || path.ends_with(".atom"));
    let of: BTreeMap<&str, (Vec<String>, BTreeSet<String>)> =
        html().map(|(path, page)| (path.as_str(), links(page))).collect();
    let mut wrong = Vec::new();
    for (path, (links, ids)) in &of {
        let count = pages[*path].matches(" id=\"").count();
        if count != ids.len() {
            wrong.push(format!("{path} has {count} ids, of which {} differ", ids.len()));
        }
        for link in links.iter().filter(|link| !link.starts_with("https://")) {
            let (file, place) = link.split_once('#').map_or((link.as_str(), None), |(file, place)| (file, Some(place)));
            let to = if file.is_empty() { (*path).to_owned() } else { resolved(path, file) };
            let is_there = pages.contains_key(&to)
                && place.is_none_or(|place| of.get(to.as_str()).is_some_and(|(_, ids)| ids.contains(place)));
            if !is_there {
                wrong.push(format!("{path}: {link}"));
            }
        }
    }
    wrong
}

/// Resolves a link of a page to a path below the site's directory.
fn resolved(from: &str, link: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            ".." => assert!(parts.pop().is_some(), "{from}: {link} leads out of the site"),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn no_page_has_a_broken_link() {
    let recorded = sample::recorded();
    let mut matrix = judged(&run(|_| None));
    matrix.keep_files(|_| false);
    let compared = sample::compared_with_record(&matrix, &recorded);
    let catalogue = sample::catalogue();
    for (what, pages) in [
        ("a run of all kinds", of(&sample::matrix())),
        ("a run beside its record", pages(&of_run(&compared, &[], &catalogue))),
        ("three days", site_of(&[], &three_days(), &catalogue, &sample::profiles())),
        ("the shipped records", shipped()),
        ("nothing", site_of(&[], &[], &catalogue, &sample::profiles())),
    ] {
        let wrong = broken(&pages);
        assert!(wrong.is_empty(), "{what}: {wrong:#?}");
        assert!(pages.len() > 20, "{what}: {}", pages.len());
    }
}

#[test]
fn broken_links_and_duplicate_ids_are_detected() {
    let mut pages = of(&sample::matrix());
    assert_eq!(broken(&pages), Vec::<String>::new());
    pages.remove("pages/test/smoke.guest_boots.html");
    assert!(!broken(&pages).is_empty());
    let of = |page: &str| broken(&BTreeMap::from([("a/b.html".to_owned(), page.to_owned())]));
    assert!(of("<a href=\"#x\"><p id=\"x\">").is_empty() && of("<a href=\"../a/b.html#x\"><p id=\"x\">").is_empty());
    for page in ["<a href=\"#y\"><p id=\"x\">", "<p id=\"x\"><p id=\"x\">", "<link href=\"c.css\">"] {
        assert_eq!(of(page).len(), 1, "{page}");
    }
}

#[test]
fn a_matrix_cell_shows_verdict_basis_and_day() {
    let pages = of(&judged(&run(|_| None)));
    let name = "aria-label=\"debian 13, qmp, supported, emulated, measured 2026-07-25\"";
    let link =
        format!("<a class=\"s e\" href=\"pages/cell/debian-13-x86_64-container.html#go-3.29.vmm.qmp\" {name}>yes</a>");
    assert!(pages["index.html"].contains(&link), "{}", pages["index.html"]);
}

/// After a night without a mirror there may be many such results, and readers must not search for changes below them.
#[test]
fn unjudged_results_are_collapsed_below_the_changes() {
    let index = of(&sample::matrix()).remove("index.html").unwrap();
    let (before, after) = index.split_once("<details><summary>What could not be judged (4)</summary>").unwrap();
    let changes = before.split_once("<h2 id=\"changes\">").unwrap().1;
    assert!(changes.contains("<b>new verdict</b>") && !changes.contains("<b>unjudged</b>"), "{changes}");
    let folded = after.split("</details>").next().unwrap();
    assert_eq!(folded.matches("<b>unjudged</b>").count(), 4, "{folded}");
    assert!(page::CSS.contains("td > .n { white-space: nowrap; }"), "`n/a` is one word");
}

/// If there is nothing else, the list is not folded up: a terminal shows it, too.
#[test]
fn unjudged_results_are_not_collapsed_if_there_are_no_changes() {
    let matrix = judged(&run(|test| (test == QMP).then(|| sample::error("the line ended"))));
    let (recorded, catalogue) = (sample::recorded(), sample::catalogue());
    let compared = sample::compared_with_record(&matrix, &recorded);
    let index = pages(&of_run(&compared, &[], &catalogue)).remove("index.html").unwrap();
    let changes = index.split_once("<h2 id=\"changes\">").unwrap().1.split("<h2").next().unwrap();
    assert!(
        changes.contains("None is known; what could not be judged:") && !changes.contains("<summary>What could not"),
        "{changes}"
    );
    assert_eq!(changes.matches("<b>unjudged</b>").count(), 1, "{changes}");
}

#[test]
fn a_site_is_made_from_records_without_any_run() {
    let pages = shipped();
    let index = &pages["index.html"];
    for words in ["debian 13", "Can Kata run here?", "Not run yet", "alpine", "by the records and 0 runs"] {
        assert!(index.contains(words), "{words}");
    }
    assert!(
        pages["package/qemu.html"].contains("qemu-system-x86"),
        "its component stands in for a source that nobody read"
    );
    assert!(pages["runs.html"].contains("None was given"));
    let cell = &pages["cell/debian-13-x86_64-container.html"];
    assert!(cell.contains("by the record alone") && cell.contains("test set"), "{cell}");
}

/// A run that may not be written back changes nothing, and one that may is shown with its day and the previous verdict.
#[test]
fn verdicts_are_those_of_the_last_run_that_judged_them() {
    let runs = three_days();
    let verdict = |runs: &[Matrix]| {
        let history = History::new(&[], runs);
        let standings = history.standings();
        let catalogue = sample::catalogue();
        let site = of_history(&history, &standings, &catalogue, &sample::profiles());
        let known = &site.cells[0].rows["go-3.29"].capabilities[&Capability::VmmQmp];
        (known.verdict, known.tested.unwrap().to_string(), site.changes.len(), site.runs.len())
    };
    // The first run gives a change, too: an optional capability was not known to be missing.
    assert_eq!(verdict(&runs[1..2]), (Verdict::Supported, "2026-07-26".to_owned(), 1, 1));
    assert_eq!(verdict(&runs[1..]), (Verdict::Unsupported, "2026-07-27".to_owned(), 2, 2));
    assert_eq!(verdict(&runs), (Verdict::Supported, "2026-07-28".to_owned(), 3, 3), "in the order of time");
    let mut killed = of_day(4, |test| (test == QMP).then(|| fail(Component::Qemu, "no reply")));
    killed.ending = RunEnding::Killed;
    let with = [runs, vec![killed]].concat();
    assert_eq!(verdict(&with).0, Verdict::Supported, "a run without an end does not count");
    for (candidate, shaped) in [(true, false), (false, true)] {
        let mut other = of_day(4, |test| (test == QMP).then(|| fail(Component::Qemu, "no reply")));
        (other.candidate, other.shaped) = (candidate, shaped);
        let with = [&with[..3], &[other]].concat();
        assert_eq!((verdict(&with).0, verdict(&with).2), (Verdict::Supported, 3), "{candidate} {shaped}");
    }
}

/// A change is not reported as news if the other pages do not count it.
#[test]
fn changes_of_runs_that_do_not_count_are_omitted() {
    use crate::run::RunEnding;
    let broken = |test: &str| (test == QMP).then(|| fail(Component::Qemu, "no reply"));
    // Returns the changes, the number of answers for the release, and the reasons why the last run does not count.
    let counted = |change: &dyn Fn(&mut Matrix)| {
        let mut last = of_day(4, broken);
        change(&mut last);
        let runs = [three_days(), vec![last]].concat();
        let history = History::new(&[], &runs);
        let standings = history.standings();
        let catalogue = sample::catalogue();
        let site = of_history(&history, &standings, &catalogue, &sample::profiles());
        (site.changes.len(), site.releases[0].trend["go-3.29"].len(), site.runs[0].withheld.join("; "))
    };
    assert_eq!(counted(&|_| {}), (4, 4, String::new()));
    let why = |words: &str| (3, 3, words.to_owned());
    assert_eq!(counted(&|matrix| matrix.ending = RunEnding::Killed), why("the run is not finished"));
    assert_eq!(counted(&|matrix| matrix.ending = RunEnding::Interrupted), why("the run was interrupted"));
    let add_candidate = |matrix: &mut Matrix| {
        let facts = matrix.cells[0].facts.as_mut().unwrap();
        facts.candidates.insert(Component::Qemu, "mine".to_owned().into());
    };
    let words = "debian:13/x86_64/container: replaced or added components: qemu mine; only Kata's own results count";
    assert_eq!(counted(&add_candidate), why(words));
    let (changes, _, words) = counted(&|matrix| matrix.cells[0].complete = false);
    assert_eq!((changes, words.as_str()), (3, "debian:13/x86_64/container: it is not finished"));
}

/// With a component that was brought along, other tests fail and pass than those behind the verdicts.
#[test]
fn a_cell_page_shows_the_tests_behind_its_verdicts_and_names_other_runs() {
    let fails = |test: &str| (test == QMP).then(|| fail(Component::Qemu, "seen with another QEMU"));
    let mut brought = of_day(4, fails);
    let facts = brought.cells[0].facts.as_mut().unwrap();
    facts.candidates.insert(Component::Qemu, "mine".to_owned().into());
    let mut unfinished = of_day(5, |_| None);
    unfinished.cells[0].complete = false;
    let page_of = |runs: &[Matrix]| {
        let mut pages = site_of(&[], runs, &sample::catalogue(), &sample::profiles());
        assert_eq!(broken(&pages), Vec::<String>::new());
        pages.remove("cell/debian-13-x86_64-container.html").unwrap()
    };
    let page = page_of(&[three_days(), vec![brought.clone(), unfinished]].concat());
    let others = |page: &str| {
        let list = page.split_once("<ul id=\"others\">").map(|(_, after)| after.split("</ul>").next().unwrap());
        list.unwrap_or_default().to_owned()
    };
    assert!(page.contains("tests of run run-3, ") && !page.contains("seen with another QEMU"), "{page}");
    let named = others(&page);
    assert_eq!(named.matches("href=\"../runs.html\"").count(), 2, "{named}");
    assert!(named.find(">run-5</a>") < named.find(">run-4</a>") && named.contains(">run-4</a>"), "{named}");
    assert!(named.contains(": it is not finished") && named.contains(": with qemu mine"), "{named}");
    // An older run with a component is named, too, but none whose verdicts are outdated.
    let mut again = three_days();
    let facts = again[1].cells[0].facts.as_mut().unwrap();
    facts.candidates.insert(Component::Qemu, "mine".to_owned().into());
    let named = others(&page_of(&again));
    assert!(named.contains(">run-1</a>") && !named.contains(">run-2</a>"), "{named}");
    // Without any other run, its tests are shown as those with the component.
    let page = page_of(&[brought]);
    assert!(page.contains("tests of run run-4, ") && page.contains(", with qemu mine"), "{page}");
    assert!(page.contains("seen with another QEMU") && others(&page).is_empty(), "{page}");
}

/// Such a run would replace every later run until its day.
#[test]
fn a_run_dated_in_the_future_is_listed_but_does_not_count() {
    let broken = |test: &str| (test == QMP).then(|| fail(Component::Qemu, "of a day to come"));
    let to_come = of_day(100 * 365, broken);
    let runs = [three_days(), vec![to_come]].concat();
    let with = site_of(&[], &runs, &sample::catalogue(), &sample::profiles());
    let without = site_of(&[], &runs[..3], &sample::catalogue(), &sample::profiles());
    for path in without.keys() {
        // These pages name all runs that were given.
        if !matches!(path.as_str(), "runs.html" | "api/v1/index.json") {
            assert!(!with[path].contains("of a day to come") && !with[path].contains("2126-"), "{path}");
        }
    }
    assert_eq!(with["feed.atom"], without["feed.atom"]);
    let verdicts = "api/v1/cell/debian-13-x86_64-container.json";
    assert_eq!(with[verdicts], without[verdicts]);
    assert!(with["runs.html"].contains("it ended on 2126-"), "{}", with["runs.html"]);
    assert!(with["runs.html"].contains("which is in the future"));
}

#[test]
fn the_later_of_record_and_run_counts() {
    let mut record = Database::embedded().records().find(|record| record.distro == "debian").unwrap().clone();
    record.verified = sample::recorded();
    let verdict = |day: i64| {
        let lost = of_day(day, |test| (test == QMP).then(|| fail(Component::Qemu, "no reply")));
        let pages = site_of(&[&record], &[lost], &sample::catalogue(), &sample::profiles());
        let cell: serde_json::Value =
            serde_json::from_str(&pages["api/v1/cell/debian-13-x86_64-container.json"]).unwrap();
        let changes: serde_json::Value = serde_json::from_str(&pages["api/v1/changes.json"]).unwrap();
        let found = &cell["verdicts"]["go-3.29"]["vmm.qmp"]["verdict"];
        (found.as_str().unwrap().to_owned(), changes["changes"].as_array().unwrap().len())
    };
    assert_eq!(verdict(1), ("unsupported".to_owned(), 1));
    // The change is reported, and the record has the final verdict.
    assert_eq!(verdict(-1), ("supported".to_owned(), 1));
}

/// Returns the record of Debian, in which QEMU is blamed under three profiles for a needed capability, an optional one
/// and a wish.
fn blaming_qemu() -> Record {
    let mut record = Database::embedded().records().find(|record| record.distro == "debian").unwrap().clone();
    let entry = &sample::recorded()[0];
    let lacks = |seen: &str, test: &str| VerifiedCapability {
        causes: vec![VerifiedCause::new(Component::Qemu, seen).shown_by(test.parse().unwrap())],
        ..VerifiedCapability::plain(Verdict::Unsupported)
    };
    let of = |(number, profile): (usize, Profile)| {
        let source = format!("src/runtime/q.go@3.{number}.0");
        let tdx = format!("/usr/bin/q does not offer -object tdx-guest ({source})");
        let capabilities = [
            (Capability::VmmTdx, lacks(&tdx, "smoke::qemu_has_tdx")),
            (Capability::VmmHotplugBlk, lacks("zz: no disk came", "smoke::a_disk_is_plugged")),
            (Capability::VmmNuma, lacks("no node", "smoke::there_are_nodes")),
        ];
        VerifiedEntry { profile: profile.name, capabilities: capabilities.into(), ..entry.clone() }
    };
    record.verified = sample::profiles().into_iter().enumerate().map(of).collect();
    record
}

/// A maintainer reads the first lines: they contain the failures that decide the answer, and each cause once.
#[test]
fn a_package_page_lists_each_cause_once_with_needed_ones_first() {
    let record = blaming_qemu();
    let pages = site_of(&[&record], &[], &sample::catalogue(), &sample::profiles());
    let page = &pages["package/qemu.html"];
    let place = |words: &str| {
        assert_eq!(page.matches(words).count(), 1, "{words}: {page}");
        page.find(words).unwrap()
    };
    assert!(place("no disk came") < place("no node") && place("no node") < place("-object tdx-guest"), "{page}");
    assert!(!page.contains("q.go@"), "who asks for it is on the cell's page: {page}");
    for (words, count) in [
        ("go-3.2, go-3.29, rs-4.0</span>", 1),
        ("go-3.2, go-3.29, rs-4.0, optional</span>", 1),
        ("go-3.2, go-3.29, rs-4.0, optional and no bug: a wish</span>", 1),
    ] {
        assert_eq!(page.matches(words).count(), count, "{words}: {page}");
    }
    assert_eq!(broken(&pages), Vec::<String>::new());
}

/// Records cite a file and a tag of Kata after a cause, which differ from profile to profile.
#[test]
fn a_cell_page_lists_a_shared_cause_once_with_all_its_sources() {
    let record = blaming_qemu();
    let pages = site_of(&[&record], &[], &sample::catalogue(), &sample::profiles());
    let page = &pages["cell/debian-13-x86_64-container.html"];
    assert_eq!(page.matches("does not offer -object tdx-guest").count(), 1, "{page}");
    assert!(page.contains("go-3.2, go-3.29, rs-4.0: vmm.tdx"), "{page}");
    let sources = "Kata requires it in src/runtime/q.go@3.0.0, src/runtime/q.go@3.1.0, src/runtime/q.go@3.2.0";
    assert!(page.contains(sources), "{page}");
}

#[test]
fn the_feed_is_atom_with_one_entry_for_each_change() {
    let runs = three_days();
    let feed =
        |runs: &[Matrix]| site_of(&[], runs, &sample::catalogue(), &sample::profiles()).remove("feed.atom").unwrap();
    let text = feed(&runs);
    let document = roxmltree::Document::parse(&text).unwrap();
    let root = document.root_element();
    const ATOM: &str = "http://www.w3.org/2005/Atom";
    assert!(root.has_tag_name((ATOM, "feed")));
    let one = |node: roxmltree::Node<'_, '_>, name: &str| -> String {
        let found: Vec<_> = node.children().filter(|child| child.has_tag_name((ATOM, name))).collect();
        assert_eq!(found.len(), 1, "{name} of {text}");
        found[0].text().unwrap_or_default().to_owned()
    };
    let entries: Vec<_> = root.children().filter(|child| child.has_tag_name((ATOM, "entry"))).collect();
    assert_eq!(entries.len(), 3, "{text}");
    let mut ids = BTreeSet::new();
    for node in std::iter::once(root).chain(entries.iter().copied()) {
        let id = one(node, "id");
        let uuid = id.strip_prefix("urn:uuid:").unwrap();
        assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
        assert!(ids.insert(id));
        one(node, "title");
        one(node, "updated").parse::<Timestamp>().unwrap();
    }
    assert!(root.children().any(|child| child.has_tag_name((ATOM, "author"))), "all entries are of it");
    assert!(
        one(entries[1], "title").contains("new failure: vmm.qmp was supported (2026-07-26), is unsupported"),
        "{text}"
    );
    assert!(one(entries[1], "summary").contains("no <b>reply</b>"), "{text}");
    // A further run leaves earlier entries unchanged.
    let older = feed(&runs[1..]);
    let of_broken = older.split("<entry>").nth(1).unwrap().split("</entry>").next().unwrap();
    assert!(text.contains(of_broken), "{of_broken} in {text}");
}

#[test]
fn names_from_a_journal_neither_leave_the_folder_nor_become_markup() {
    let mut maker = Maker::default();
    let bad = ["..", "../../x", "<script>alert(1)</script>", "a b\u{0}", "x\" onload=\"alert(1)", HOSTILE];
    for name in bad {
        assert!(name.parse::<ProfileName>().is_err(), "{name:?} is no profile's name");
        assert!(name.parse::<TestId>().is_err(), "{name:?} is no test's id");
    }
    // A journal may have such a name for a test, and these for a profile.
    const ODD: &str = "a::::_:";
    let profiles = ["go-3.29", "a..b", "go-3.29-"];
    maker.start(&profiles, &["13"]);
    for name in ["..:13", "d:..", ".:13", "-:13", "A:13", "d:-13", "d:a/b"] {
        assert!(format!("{name}/x86_64/container").parse::<CellId>().is_err(), "{name} is no cell's name");
    }
    // A journal may have these names for a cell.
    for name in ["a:A", "a-b:a-b", "d:~", "d:+", "13..:13.."] {
        let id: CellId = format!("{name}/x86_64/container").parse().unwrap();
        maker.push(Event::CellStarted { cell: id.clone() });
        for name in bad {
            let mut facts = sample::facts(Basis::Emulated);
            // As much of the name as a kernel's release can have.
            let word = name.replace(|c: char| c == '/' || c.is_whitespace() || c.is_control(), "");
            facts.kernel = Some(format!("6{word}").parse().unwrap());
            facts.environment.insert(name.to_owned(), name.to_owned().into());
            facts.image_manifest = Some(name.to_owned());
            facts.image_options = sample::strings(&bad);
            maker.push(Event::CellFacts { cell: id.clone(), facts });
            let failed = || fail(Component::Virtiofsd, name);
            for (test, outcome) in [(ODD, Outcome::Pass), (RENAME, failed()), (ODD, failed()), (BOOT, Outcome::Pass)] {
                maker.push(Event::TestFinished {
                    cell: id.clone(),
                    profiles: sample::profile_names(&profiles),
                    test: test.parse().unwrap(),
                    attempt: 1,
                    machine: 1,
                    guests: Vec::new(),
                    outcome,
                    millis: u64::MAX,
                    notes: sample::strings(&bad),
                    artifacts: sample::strings(&bad),
                });
            }
        }
        maker.push(Event::CellFinished { cell: id });
    }
    maker.push(Event::RunFinished { interrupted: false });
    let matrix = judged(&maker);
    for pages in [of(&matrix), site_of(&[], std::slice::from_ref(&matrix), &sample::catalogue(), &sample::profiles())] {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(dir.path());
        for (path, page) in &pages {
            folder.put(path, page).unwrap_or_else(|e| panic!("{path}: {e}"));
            if path.ends_with(".html") {
                assert_eq!(page.matches("<script").count(), 1, "{path}");
                assert!(!page.contains("\" onload") && !page.contains('\0') && !page.contains('\u{1b}'), "{path}");
                assert!(!page.contains("user:pass") && !page.contains("mirror.example"), "{path}");
            }
        }
        assert!(pages.values().any(|page| page.contains("&lt;script&gt;alert(1)")));
        roxmltree::Document::parse(pages.get("feed.atom").map_or("<x/>", String::as_str)).unwrap();
        assert_eq!(broken(&pages), Vec::<String>::new());
    }
}

#[test]
fn pages_load_nothing_external_and_contain_one_script() {
    let database = Database::embedded();
    // A known issue links to its tracker.
    let mut allowed: BTreeSet<&str> =
        database.records().flat_map(|record| &record.known_issues).map(|issue| issue.url.as_str()).collect();
    allowed.insert("https://github.com/kata-containers/kata-qualify");
    for pages in [of(&sample::matrix()), shipped()] {
        for (path, page) in pages.iter().filter(|(path, _)| path.ends_with(".html")) {
            let (links, _) = links(page);
            let elsewhere: Vec<&String> = links.iter().filter(|link| link.contains("://")).collect();
            assert!(elsewhere.iter().all(|link| allowed.contains(link.as_str())), "{path}: {elsewhere:?}");
            assert!(page.contains("default-src 'none'") && page.matches("<script").count() == 1, "{path}");
            assert!(!page.contains("style=\"") && !page.contains("@import") && !page.contains("url("), "{path}");
        }
    }
    assert!(!page::CSS.contains("url(") && !page::JS.contains("fetch(") && !page::JS.contains("innerHTML"));
}

#[test]
fn writing_a_site_twice_gives_the_same_files() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("site");
    let runs = three_days();
    let write = || write(&[], &runs, &sample::catalogue(), &sample::profiles(), &dir);
    let files = || {
        let mut all = BTreeMap::new();
        let mut folders = vec![dir.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path)
                } else {
                    all.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        all
    };
    let written = write().unwrap();
    assert_eq!((written.releases, written.withheld), (1, 0));
    let first = files();
    assert_eq!(first.len(), written.files, "{first:?}");
    // Nothing of the older site stays.
    std::fs::write(dir.join("index.html"), "older").unwrap();
    std::fs::remove_file(dir.join("runs.html")).unwrap();
    assert_ne!(files(), first);
    assert_eq!(write().unwrap(), written);
    assert_eq!(files(), first);
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1, "nothing is left beside it");
    std::fs::write(dir.join("CNAME"), "x").unwrap();
    let refused = write().unwrap_err().to_string();
    assert!(
        refused.ends_with(
            "contains CNAME, which does not belong to a site: expected an empty or absent folder, or an older site"
        ),
        "{refused}"
    );
    assert_eq!(files().len(), first.len() + 1);
}

/// Returns a run of this many releases in these environments under the first profiles, in which all tests of the
/// catalogue ran.
pub(super) fn large(
    releases: usize,
    profiles: &[&str],
    tests: &[&str],
    environments: &[model::environment::Environment],
) -> Matrix {
    let mut maker = Maker::default();
    maker.start(profiles, &[]);
    for number in 0..releases {
        for environment in environments {
            let id = CellId { environment: *environment, ..cell(&number.to_string()) };
            maker.push(Event::CellStarted { cell: id.clone() });
            maker.push(Event::CellFacts { cell: id.clone(), facts: sample::facts(Basis::Emulated) });
            for (place, test) in tests.iter().enumerate() {
                let fails = (number + place) % 37 == 0;
                let outcome =
                    if fails { fail(Component::Qemu, "expected one thing, saw another") } else { Outcome::Pass };
                maker.push(Event::TestFinished {
                    cell: id.clone(),
                    profiles: sample::profile_names(profiles),
                    test: test.parse().unwrap(),
                    attempt: 1,
                    machine: 1,
                    guests: vec![1],
                    outcome,
                    millis: 1234,
                    notes: Vec::new(),
                    artifacts: Vec::new(),
                });
            }
            maker.push(Event::CellFinished { cell: id });
        }
    }
    maker.push(Event::RunFinished { interrupted: false });
    crate::matrix::matrix(&maker.journal, suites::catalogue::tests(), Profile::all())
}

/// Returns the names of the newest profiles.
pub(super) fn newest(count: usize) -> Vec<&'static str> {
    let names: Vec<&str> = Profile::all().iter().rev().map(|profile| profile.name.as_str()).collect();
    names[..count].to_vec()
}

fn ids() -> Vec<&'static str> {
    suites::catalogue::tests().iter().map(|test| test.id.as_str()).collect()
}

#[test]
fn the_index_of_fifty_releases_and_four_profiles_is_small() {
    use model::environment::Environment::{Container, Vm};
    let matrix = large(50, &newest(4), &ids(), &[Container, Vm]);
    let pages = site_of(&[], &[matrix], suites::catalogue::tests(), Profile::all());
    let index = &pages["index.html"];
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    io::Write::write_all(&mut packed, index.as_bytes()).unwrap();
    let packed = packed.finish().unwrap().len();
    assert!(index.len() <= 1 << 20 && packed <= 120 << 10, "{} bytes, packed {packed}", index.len());
    assert!(index.contains("id=\"matrix-") && index.contains("class=\"sortable answers\""), "both are on it");
    let long: Vec<_> =
        pages.iter().filter(|(_, page)| page.len() > 1 << 20).map(|(path, page)| (path, page.len())).collect();
    assert!(long.is_empty(), "{long:?}");
}

/// If not everything fits on one page, each item is on some page, and links lead there.
#[test]
fn long_lists_continue_on_further_pages() {
    use model::environment::Environment::{Container, Host, Vm};
    let smoke: Vec<&str> = ids().into_iter().filter(|id| id.starts_with("smoke::")).collect();
    let matrix = large(150, &newest(6), &smoke, &[Container, Vm, Host]);
    let pages = site_of(&[], &[matrix], suites::catalogue::tests(), Profile::all());
    assert!(pages.values().all(|page| page.len() <= 1 << 20));
    let index = &pages["index.html"];
    assert!(index.contains("It is too long for this page"), "{}", index.len());
    let profile = newest(6)[0];
    let parts: Vec<&String> = pages
        .iter()
        .filter(|(path, _)| path.starts_with(&format!("profile/{profile}")))
        .map(|(_, page)| page)
        .collect();
    assert!(parts.len() > 1 && parts.iter().all(|page| page.contains("This list is too long for one page")));
    let rows: usize = parts.iter().map(|page| page.matches("<th scope=\"row\">").count()).sum();
    assert_eq!(rows, 450);
    assert_eq!(broken(&pages), Vec::<String>::new());
}

/// Limits for the site of a thousand targets: seconds, and bytes in addition to the run's own memory.
const MOST_OF_A_THOUSAND: (f64, u64) = (10.0, 500_000_000);

/// Returns a value of this process's status, `VmHWM` or `VmRSS`, in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = model::procfs::status(&status, name).unwrap();
    line.trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Requires an optimised build: `cargo test --release -p reports --lib -- --ignored thousand`.
#[test]
#[ignore = "takes minutes, in a release build: .ci/nightly large"]
fn a_site_of_a_thousand_targets_stays_within_time_and_memory_limits() {
    use model::environment::Environment::Container;
    let (profiles, ids) = (newest(4), ids());
    let matrix = large(1000, &profiles, &ids[..400.min(ids.len())], &[Container]);
    let dir = tempfile::tempdir().unwrap();
    // Resets the peak (proc(5)), so that it does not include making the journal.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    let since = std::time::Instant::now();
    let written = write(&[], &[matrix], suites::catalogue::tests(), Profile::all(), &dir.path().join("site")).unwrap();
    let (took, more) = (since.elapsed().as_secs_f64(), status("VmHWM").saturating_sub(before));
    println!(
        "{} files in {took:.1} s; {} MB more than the {} MB before",
        written.files,
        more / 1_000_000,
        before / 1_000_000
    );
    let (seconds, bytes) = MOST_OF_A_THOUSAND;
    assert!(took < seconds && more < bytes, "{took} s of {seconds}, {more} bytes of {bytes}");
    let mut folders = vec![dir.path().join("site")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => assert!(entry.metadata().unwrap().len() <= 1 << 20, "{:?}", entry.path()),
            }
        }
    }
}

/// Writes a site for manual inspection: `REPORTS_SAMPLE=folder cargo test -p reports -- --ignored sample_site`.
#[test]
#[ignore = "writes a sample for people to look at: by hand, with REPORTS_SAMPLE"]
fn write_a_sample_site_for_manual_inspection() {
    let folder = std::env::var_os("REPORTS_SAMPLE").expect("REPORTS_SAMPLE names the folder to write to");
    let folder = Path::new(&folder);
    write(&[], &three_days(), &sample::catalogue(), &sample::profiles(), &folder.join("site")).unwrap();
    for (path, page) in of(&sample::matrix()) {
        let file = folder.join("run").join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, page).unwrap();
    }
}

#[test]
fn api_documents_match_their_schema() {
    let pages = site_of(&[], &three_days(), &sample::catalogue(), &sample::profiles());
    let document =
        |name: &str| -> serde_json::Value { serde_json::from_str(&pages[&format!("api/v1/{name}.json")]).unwrap() };
    let all = serde_json::json!({
        "index": document("index"),
        "release": document("release/debian-13-x86_64"),
        "cell": document("cell/debian-13-x86_64-container"),
        "changes": document("changes"),
        "badge": document("badge/debian-13-x86_64/go-3.29"),
    });
    let schema: serde_json::Value = serde_json::from_str(&crate::schema::site().unwrap()).unwrap();
    assert_eq!(document("schema"), schema);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&all).map(|e| format!("{}: {e}", e.instance_path)).collect();
    assert!(errors.is_empty(), "{errors:?}");
    // Every path in a document leads to an existing document or page.
    for release in all["index"]["releases"].as_array().unwrap() {
        for key in ["document", "page"] {
            let path = resolved("api/v1/index.json", release[key].as_str().unwrap());
            assert!(pages.contains_key(&path), "{path}");
        }
    }
    for cell in all["release"]["cells"].as_array().unwrap() {
        for key in ["document", "page"] {
            let path = resolved("api/v1/release/x.json", cell[key].as_str().unwrap());
            assert!(pages.contains_key(&path), "{path}");
        }
    }
    let badge = resolved("api/v1/release/x.json", all["release"]["badges"]["go-3.29"].as_str().unwrap());
    assert!(pages.contains_key(&badge), "{badge}");
    let mut wrong = all.clone();
    wrong["cell"]["verdicts"]["go-3.29"]["vmm.qmp"]["verdict"] = "good".into();
    assert!(!validator.is_valid(&wrong));
}

/// For a run that is compared with a base run, the recorded verdicts are the base run's.
#[test]
fn a_candidate_run_is_shown_compared_with_its_base_run() {
    let base = crate::standing::BaseRun::new(judged(&run(|_| None)));
    let matrix = judged(&run(|test| (test == QMP).then(|| fail(Component::Qemu, "no reply"))));
    let standings = Standings::new(&matrix, base.recorded(), false);
    let catalogue = sample::catalogue();
    let index = pages(&of_run(&standings, &[], &catalogue)).remove("index.html").unwrap();
    assert!(index.contains("Compared with the base run") && index.contains("new failure"), "{index}");
    assert!(index.contains("unsupported, emulated, new failure, measured"), "{index}");
    let alone = Standings::new(&matrix, Recorded::default(), false);
    let index = pages(&of_run(&alone, &[], &catalogue)).remove("index.html").unwrap();
    assert!(!index.contains("new failure"), "{index}");
}
