//! Profile values of QMP commands to a running QEMU, read from the sources of both runtimes.

use crate::checkout::Tree;
use crate::source::{item, line_of};
use crate::values::Value;
use model::profile::{JsonStyle, Profile};

/// Returns the text of a profile's value, as in the profile.
fn name_of(written: Option<JsonStyle>) -> &'static str {
    match written {
        None => "null",
        Some(JsonStyle::AsText) => "as-text",
        Some(JsonStyle::Typed) => "typed",
    }
}

/// Reads the Go runtime's values: `qmp` is govmm's file, `qemu` the file that calls it.
pub(crate) fn go(tree: &Tree, qmp: &[&'static str], qemu: &[&'static str], profile: &Profile) -> Vec<Value> {
    let find = |files: &[&'static str], names: &[&str]| {
        let (path, text) = tree.first(files)?;
        names.iter().find_map(|name| item(text, name)).map(|item| (path, item))
    };
    let value = |key, files: &[&'static str], names: &[&str], see: &dyn Fn(&str) -> String, expected: &str| {
        let found = find(files, names);
        let path = found.as_ref().map_or(files[0], |(path, _)| path);
        Value::new(key, path, found.as_ref().map(|(_, item)| (see(item.text), Some(item.line))), expected)
    };
    let threads = |text: &str| match text.contains("ExecQueryCpusFast(") {
        true => "query-cpus-fast".to_owned(),
        false if text.contains("ExecQueryCpus(") => "query-cpus".to_owned(),
        false => "?".to_owned(),
    };
    let switch = |text: &str| match (text.contains("\"] = \"on\""), text.contains("\"] = true")) {
        (true, false) => "as-text".to_owned(),
        (false, true) => "typed".to_owned(),
        _ => "?".to_owned(),
    };
    let ids = |text: &str| match text.lines().next().unwrap_or_default() {
        head if head.contains("coreID, threadID int,") => "typed".to_owned(),
        head if head.contains("coreID, threadID, romfile string)") => "as-text".to_owned(),
        _ => "?".to_owned(),
    };
    // The caller decides whether the number of queues is passed, govmm in which form.
    let none =
        find(qemu, &["qemu.hotplugAddBlockDevice"]).is_some_and(|(_, item)| item.text.contains("romFile, 0, true"));
    let queues = |text: &str| match text {
        _ if none => "null".to_owned(),
        text if text.contains("[\"num-queues\"] = strconv.Itoa(queues)") => "as-text".to_owned(),
        text if text.contains("[\"num-queues\"] = queues") => "typed".to_owned(),
        _ => "?".to_owned(),
    };
    let expected_qmp = &profile.qmp;
    vec![
        value("threads", qemu, &["qemu.GetThreadIDs", "qemu.getThreadIDs"], &threads, expected_qmp.threads.name()),
        value("switches", qmp, &["QMP.ExecuteSCSIDeviceAdd"], &switch, name_of(Some(expected_qmp.switches))),
        value("switches", qmp, &["QMP.ExecuteNetPCIDeviceAdd"], &switch, name_of(Some(expected_qmp.switches))),
        value("cpu-ids", qmp, &["QMP.ExecuteCPUDeviceAdd"], &ids, name_of(Some(expected_qmp.cpu_ids))),
        value(
            "num-queues",
            qmp,
            &["QMP.executePCIDeviceAdd", "QMP.ExecutePCIDeviceAdd"],
            &queues,
            name_of(expected_qmp.num_queues),
        ),
    ]
}

/// Reads runtime-rs's values; runtime-rs builds dictionaries: `.insert("mq".to_owned(), true.into())`.
pub(crate) fn rs(tree: &Tree, qmp: &'static str, profile: &Profile) -> Vec<Value> {
    let text = tree.first(&[qmp]).map(|(_, text)| text).unwrap_or_default();
    let expected_qmp = &profile.qmp;
    let written = |key, name: &str, typed: &str, expected| {
        let at = line_of(text, &format!("insert(\"{name}\""));
        let line = at.and_then(|at| text.lines().nth(at - 1)).unwrap_or_default();
        let seen = match at {
            None => "null",
            Some(_) if line.contains(typed) => "typed",
            Some(_) => "?",
        };
        Value::new(key, qmp, Some((seen, at)), name_of(expected))
    };
    let threads = line_of(text, "query_cpus_fast");
    let seen = if threads.is_some() { "query-cpus-fast" } else { "?" };
    vec![
        Value::new("threads", qmp, Some((seen, threads)), expected_qmp.threads.name()),
        written("switches", "share-rw", ", true.into())", Some(expected_qmp.switches)),
        written("switches", "mq", ", true.into())", Some(expected_qmp.switches)),
        written("cpu-ids", "core-id", ", core_id.into())", Some(expected_qmp.cpu_ids)),
        written("num-queues", "num-queues", "", expected_qmp.num_queues),
    ]
}
