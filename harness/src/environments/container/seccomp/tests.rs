use super::refused::REFUSED;
use super::*;
use rustix::thread::UnshareFlags;
use std::collections::BTreeSet;

/// Calls that are allowed only with some arguments.
const BY_ARGUMENT: [&str; 4] = ["clone", "personality", "socket", "unshare"];

fn groups() -> impl Iterator<Item = &'static Group> {
    ALLOWED.iter().chain([&TRACING.1]).chain(ABSENT).chain(REFUSED)
}

fn decided() -> Vec<&'static str> {
    groups().flat_map(|group| group.calls).chain(&BY_ARGUMENT).copied().collect()
}

fn rules() -> Vec<Value> {
    profile()["syscalls"].as_array().unwrap().clone()
}

fn names(rule: &Value) -> Vec<String> {
    rule["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_syscall_is_decided_once_and_with_a_reason() {
    let mut seen = BTreeSet::new();
    for call in decided() {
        assert!(seen.insert(call), "{call} stands twice in the table");
    }
    groups().for_each(|group| assert!(!group.why.is_empty() && !group.calls.is_empty(), "{:?}", group.calls));
}

/// Calls missing from the tables are refused; a new call needs an entry that says whether this is intended.
#[test]
#[cfg_attr(lacks = "system-calls", ignore = "needs the kernel's headers of x86_64")]
fn every_syscall_in_the_kernel_headers_is_decided() {
    let headers = ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"];
    let text = headers.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap();
    let decided: BTreeSet<&str> = decided().into_iter().collect();
    let calls = text.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_whitespace().next());
    let forgotten: Vec<&str> = calls.filter(|call| !decided.contains(call)).collect();
    assert!(forgotten.is_empty(), "neither allowed nor refused: {forgotten:?}");
}

#[test]
fn the_profile_allows_exactly_what_the_table_allows() {
    let mut allowed = BTreeSet::new();
    for rule in rules() {
        match rule["action"].as_str().unwrap() {
            "SCMP_ACT_ALLOW" => allowed.extend(names(&rule)),
            "SCMP_ACT_ERRNO" => {
                assert_eq!((names(&rule), rule["errnoRet"].as_u64()), (vec!["clone3".to_owned()], Some(38)))
            }
            other => panic!("{other}"),
        }
    }
    let groups = ALLOWED.iter().chain([&TRACING.1]);
    let calls = groups.flat_map(|group| group.calls).chain(&BY_ARGUMENT);
    let table: BTreeSet<String> = calls.map(|call| (*call).to_owned()).collect();
    assert_eq!(allowed, table);
    assert_eq!(profile()["defaultAction"], "SCMP_ACT_ERRNO");
}

#[test]
fn syscalls_allowed_by_argument_always_check_an_argument() {
    for rule in rules() {
        for name in names(&rule).iter().filter(|name| BY_ARGUMENT.contains(&name.as_str())) {
            assert_eq!(rule["args"].as_array().map(Vec::len), Some(1), "{name}: {rule}");
        }
    }
}

/// The flags' numbers are part of the ABI; the library's names show whether a flag is missing.
#[test]
fn clone_and_unshare_allow_no_namespace_flags() {
    let in_clone = [
        UnshareFlags::NEWNS,
        UnshareFlags::NEWCGROUP,
        UnshareFlags::NEWUTS,
        UnshareFlags::NEWIPC,
        UnshareFlags::NEWUSER,
        UnshareFlags::NEWPID,
        UnshareFlags::NEWNET,
    ];
    let in_clone = in_clone.into_iter().collect::<UnshareFlags>().bits();
    assert_eq!(u64::from(in_clone), NEW_NAMESPACE);
    assert_eq!(u64::from(UnshareFlags::NEWTIME.bits()), NEW_TIME_NAMESPACE);
    let masks = |call: &str| -> Vec<(u64, u64, u64)> {
        let rules = rules().into_iter().filter(|rule| names(rule) == [call]);
        rules.map(|rule| rule["args"][0].clone()).map(|a| (u(&a["index"]), u(&a["value"]), u(&a["valueTwo"]))).collect()
    };
    assert_eq!(masks("unshare"), [(0, NEW_NAMESPACE | NEW_TIME_NAMESPACE, 0)]);
    assert_eq!(masks("clone"), [(0, NEW_NAMESPACE, 0), (1, NEW_NAMESPACE, 0)]);
}

fn u(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[test]
fn no_second_abi_is_allowed() {
    for entry in profile()["archMap"].as_array().unwrap() {
        assert_eq!(entry["subArchitectures"], serde_json::json!([]), "{entry}");
    }
}
