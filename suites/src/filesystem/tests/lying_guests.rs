//! Guests that lie about their actions; each must be detected by the property that it breaks.

use super::{Loopback, run_pair};
use crate::check::{Check, Stop};
use crate::filesystem::{Action, Bytes, DaemonSignal, GuestSide, Reply, perform};
use crate::outcome::{Component, Grounds};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A guest's replacement for a requested action; `None` performs the action properly.
type Lie = fn(&mut Liar, &Action) -> Option<Result<Reply, Stop>>;

struct Liar {
    honest: Loopback,
    lie: Lie,
    remembered: BTreeMap<String, Reply>,
    unsynced: Vec<Action>,
    looked_at: usize,
}

impl GuestSide for Liar {
    fn act(&mut self, action: Action) -> Result<Reply, Stop> {
        let lie = self.lie;
        lie(self, &action).unwrap_or_else(|| self.honest.act(action))
    }

    fn attempt(&mut self, action: Action, deadline: Duration) -> Result<Option<Reply>, Stop> {
        self.honest.attempt(action, deadline)
    }

    fn daemon_descriptors(&mut self) -> Result<usize, Stop> {
        Ok(16 + self.looked_at)
    }

    fn end_daemon(&mut self, by: DaemonSignal, deadline: Duration) -> Result<bool, Stop> {
        self.honest.end_daemon(by, deadline)
    }

    fn answers(&mut self) -> Result<bool, Stop> {
        Ok(true)
    }

    fn quit_vmm(&mut self, _: Duration) -> Result<bool, Stop> {
        Ok(true)
    }

    fn kill_vmm(&mut self) -> Result<(), Stop> {
        self.unsynced.clear();
        Ok(())
    }
}

fn run_with(name: &str, lie: Lie) -> Check {
    run_pair(name, |root| Liar {
        honest: Loopback::new(root),
        lie,
        remembered: BTreeMap::new(),
        unsynced: Vec::new(),
        looked_at: 0,
    })
}

#[track_caller]
fn must_be_found(name: &str, lie: Lie, word: &str) {
    match run_with(name, lie) {
        Err(Stop::Fail { message, .. }) => assert!(message.contains(word), "{name}: expected {word:?} in {message:?}"),
        other => panic!("{name}: expected a failure that says {word:?}, got {other:?}"),
    }
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_rename_that_does_nothing_is_found() {
    let lie: Lie = |_, action| matches!(action, Action::Rename { .. }).then(|| Ok(Reply::Done));
    must_be_found("host_sees_what_the_guest_renames_and_removes", lie, "expected old to be gone");
    must_be_found("host_reads_whole_versions_while_the_guest_renames", lie, "after the last rename");
    must_be_found("synced_renames_survive_killing_the_vmm", lie, "new state");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_daemon_that_keeps_a_descriptor_for_each_known_file_is_found() {
    let lie: Lie = |liar, action| {
        liar.looked_at += usize::from(matches!(action, Action::Stat { .. }));
        None
    };
    let body = "files_that_the_guest_knows_hold_no_descriptors";
    must_be_found(body, lie, "200 descriptors more than before (16, then 216)");
    let refusal: Lie =
        |_, action| matches!(action, Action::Read { .. }).then(|| Ok(Reply::Refused { errno: "EIO".to_owned() }));
    must_be_found(body, refusal, "EIO");
    // The count is a measurement; a read that the guest refuses says nothing about descriptors.
    for (lie, expected) in [(lie, Grounds::Measured), (refusal, Grounds::Waited)] {
        let Err(Stop::Fail { grounds, message, .. }) = run_with(body, lie) else { panic!("it was found before") };
        assert_eq!(grounds, expected, "{message}");
    }
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_rename_that_unlinks_first_is_found() {
    let lie: Lie = |liar, action| match action {
        Action::Rename { to, .. } => {
            let _ = liar.honest.act(Action::Remove { path: to.clone() });
            std::thread::sleep(Duration::from_millis(20));
            None
        }
        _ => None,
    };
    must_be_found("host_reads_whole_versions_while_the_guest_renames", lie, "No such file");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn an_append_that_overwrites_is_found() {
    let lie: Lie = |liar, action| match action {
        Action::Write { path, data, append: true, sync } => {
            let (path, data) = (path.clone(), data.clone());
            Some(liar.honest.act(Action::Write { path, data, append: false, sync: *sync }))
        }
        _ => None,
    };
    must_be_found("host_sees_what_the_guest_writes", lie, "appended");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn an_open_that_does_not_truncate_is_found() {
    // The tail of the old contents stays after the written data.
    let lie: Lie = |liar, action| match action {
        Action::Write { path, data, append: false, sync } => {
            let old = std::fs::read(liar.honest.root.join(path.to_path())).unwrap_or_default();
            let mut data = data.clone();
            let tail = old.get(data.0.len()..).unwrap_or_default();
            data.0.extend_from_slice(tail);
            Some(liar.honest.act(Action::Write { path: path.clone(), data, append: false, sync: *sync }))
        }
        _ => None,
    };
    must_be_found("host_sees_what_the_guest_writes", lie, "the file overwritten");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn an_fsync_that_does_nothing_is_found() {
    // Written data is kept in memory until it is read or renamed, and lost with the VMM.
    let lie: Lie = |liar, action| match action {
        Action::Write { .. } => {
            liar.unsynced.push(action.clone());
            Some(Ok(Reply::Done))
        }
        Action::SyncDirectory { .. } => Some(Ok(Reply::Done)),
        Action::Rename { .. } => {
            for write in std::mem::take(&mut liar.unsynced) {
                if let Action::Write { path, .. } = write {
                    let empty = Action::Write { path, data: Bytes(Vec::new()), append: false, sync: false };
                    let _ = liar.honest.act(empty);
                }
            }
            None
        }
        _ => None,
    };
    must_be_found("fsync_survives_killing_the_vmm", lie, "after the VMM was killed");
    must_be_found("synced_renames_survive_killing_the_vmm", lie, "0 bytes");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_guest_that_never_drops_its_caches_is_found() {
    let lie: Lie = |liar, action| {
        let (Action::Read { path } | Action::Stat { path }) = action else { return None };
        // A name once found missing stays missing for any action; other answers are cached by action.
        let (missing, question) = (format!("{path:?}"), format!("{action:?}"));
        let known = liar.remembered.get(&missing).or_else(|| liar.remembered.get(&question));
        if let Some(reply) = known {
            return Some(Ok(reply.clone()));
        }
        let reply = liar.honest.act(action.clone());
        if let Ok(reply) = &reply {
            let key = if matches!(reply, Reply::Refused { .. }) { missing } else { question };
            liar.remembered.insert(key, reply.clone());
        }
        Some(reply)
    };
    must_be_found("guest_sees_what_the_host_writes", lie, "ENOENT");
    must_be_found("guest_sees_what_the_host_appends_and_truncates", lie, "first;");
    must_be_found("guest_sees_a_file_that_the_host_replaces", lie, "old version");
    must_be_found("guest_sees_a_swapped_symlink", lie, "after the swap");
    must_be_found("guest_sees_what_the_host_renames_and_removes", lie, "ENOENT");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_cache_that_is_valid_for_a_moment_is_found() {
    let lie: Lie = |liar, action| {
        let (Action::Read { path } | Action::Stat { path }) = action else { return None };
        let question = format!("{path:?}");
        if let Some(reply) = liar.remembered.remove(&question) {
            return Some(Ok(reply));
        }
        let reply = liar.honest.act(action.clone());
        if let Ok(reply) = &reply {
            liar.remembered.insert(question, reply.clone());
        }
        Some(reply)
    };
    must_be_found("contents_that_the_host_changes_are_never_old", lie, "at once");
    must_be_found("names_that_the_host_changes_are_never_old", lie, "at once");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn an_append_at_an_outdated_end_is_found() {
    // The guest knows only the length that it wrote itself.
    let lie: Lie = |liar, action| match action {
        Action::Write { path, data, append: true, sync } => {
            let known = match liar.remembered.get("log") {
                Some(Reply::Data { data }) => data.0.clone(),
                _ => Vec::new(),
            };
            let data = Bytes([known, data.0.clone()].concat());
            liar.remembered.insert("log".to_owned(), Reply::Data { data: data.clone() });
            Some(liar.honest.act(Action::Write { path: path.clone(), data, append: false, sync: *sync }))
        }
        _ => None,
    };
    must_be_found("host_and_guest_append_to_one_file", lie, "appended records");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn an_exclusive_creation_that_overwrites_is_found() {
    let lie: Lie = |liar, action| match action {
        Action::CreateNew { path, data } => {
            let (path, data) = (path.clone(), data.clone());
            Some(liar.honest.act(Action::Write { path, data, append: false, sync: false }))
        }
        _ => None,
    };
    must_be_found("a_name_that_the_host_has_made_is_not_made_again", lie, "expected EEXIST");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn updates_that_a_watcher_cannot_see_are_found() {
    let old_names: Lie = |liar, action| {
        let Action::List { path } = action else { return None };
        let question = format!("{path:?}");
        let reply = liar.remembered.get(&question).cloned().map_or_else(|| liar.honest.act(action.clone()), Ok);
        if let Ok(reply @ Reply::Names { names }) = &reply
            && names.contains(&Bytes::from("changed"))
        {
            liar.remembered.insert(question, reply.clone());
        }
        Some(reply)
    };
    must_be_found("guest_that_looks_again_sees_an_updated_configmap", old_names, "expected the guest to find");
    let no_times: Lie = |liar, action| {
        let Action::Stat { .. } = action else { return None };
        Some(liar.honest.act(action.clone()).map(|reply| match reply {
            Reply::Status { mut status } => {
                status.modified = 1;
                Reply::Status { status }
            }
            other => other,
        }))
    };
    must_be_found("guest_that_looks_again_sees_an_updated_configmap", no_times, "a later time");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn attributes_without_their_prefix_are_found() {
    let lie: Lie = |liar, action| match action {
        Action::SetAttribute { .. } | Action::Attribute { .. } => Some(liar.honest.perform(action)),
        _ => None,
    };
    must_be_found("mapped_attributes_have_a_prefix_on_the_host_alone", lie, "user.virtiofs.security.selinux");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn ids_that_are_not_translated_both_ways_are_found() {
    let not_to_the_host: Lie = |liar, action| match action {
        Action::CreateAs { .. } | Action::Chown { .. } => Some(liar.honest.perform(action)),
        _ => None,
    };
    let not_for_chown: Lie = |liar, action| match action {
        Action::Chown { .. } => Some(liar.honest.perform(action)),
        _ => None,
    };
    let not_to_the_guest: Lie = |liar, action| match action {
        Action::Stat { .. } => Some(liar.honest.perform(action)),
        _ => None,
    };
    let body = "ids_are_translated_both_ways";
    must_be_found(body, not_to_the_host, "created on the host: expected owner 31003:42004, saw 5003:6004");
    must_be_found(body, not_for_chown, "given on the host: expected owner 31003:42004, saw 5003:6004");
    must_be_found(body, not_to_the_guest, "created in the guest: expected owner 5003:6004, saw 31003:42004");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn writes_that_reach_the_host_at_once_or_never_are_found() {
    let at_once: Lie = |liar, action| match action {
        Action::AppendHeld { .. } => Some(liar.honest.perform(action)),
        _ => None,
    };
    let never: Lie = |liar, action| match action {
        Action::Write { sync: true, .. } => Some(liar.honest.perform(action)),
        _ => None,
    };
    let body = "writes_wait_in_the_guest_until_they_are_synced";
    must_be_found(body, at_once, "keeps no writes");
    must_be_found(body, never, "once the guest has synced a file");
}

/// A guest that does not survive its own or its daemon's end properly.
struct Bereaved {
    honest: Loopback,
    daemon_stays: bool,
    is_silent: bool,
    vmm_stays: bool,
    forgets: bool,
    serves_on: bool,
}

impl Bereaved {
    fn new(root: PathBuf) -> Bereaved {
        let honest = Loopback::new(root);
        Bereaved { honest, daemon_stays: false, is_silent: false, vmm_stays: false, forgets: false, serves_on: false }
    }

    /// Forgets all writes, as if they had never happened.
    fn forget(&mut self) {
        if let (true, Some(written)) = (self.forgets, self.honest.written.clone()) {
            let path = self.honest.root.join(written.strip_prefix("/").expect("it is absolute"));
            let length = std::fs::metadata(&path).expect("it is there").len();
            std::fs::write(&path, vec![0; usize::try_from(length).expect("it is small")]).expect("it can be written");
        }
    }
}

impl GuestSide for Bereaved {
    fn act(&mut self, action: Action) -> Result<Reply, Stop> {
        self.honest.act(action)
    }

    fn attempt(&mut self, action: Action, deadline: Duration) -> Result<Option<Reply>, Stop> {
        if self.serves_on { self.honest.act(action).map(Some) } else { self.honest.attempt(action, deadline) }
    }

    fn daemon_descriptors(&mut self) -> Result<usize, Stop> {
        Ok(16)
    }

    fn end_daemon(&mut self, by: DaemonSignal, deadline: Duration) -> Result<bool, Stop> {
        self.honest.end_daemon(by, deadline)?;
        self.forget();
        Ok(!self.daemon_stays)
    }

    fn answers(&mut self) -> Result<bool, Stop> {
        Ok(!self.is_silent)
    }

    fn quit_vmm(&mut self, _: Duration) -> Result<bool, Stop> {
        Ok(!self.vmm_stays)
    }

    fn kill_vmm(&mut self) -> Result<(), Stop> {
        let written = self.honest.written.clone();
        self.honest.kill_vmm()?;
        self.honest.written = written;
        self.forget();
        Ok(())
    }
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_bad_end_is_found_and_blames_the_component_at_fault() {
    type Way = fn(&mut Bereaved);
    let killed = "a_killed_virtiofsd_serves_nothing_and_takes_neither_guest_nor_data";
    let ways: [(&str, Way, &str, Option<Component>); 7] = [
        (killed, |guest| guest.daemon_stays = true, "still runs", None),
        (killed, |guest| guest.is_silent = true, "does not answer", Some(Component::Kernel)),
        (killed, |guest| guest.forgets = true, "is of round 0", None),
        (killed, |guest| guest.serves_on = true, "has made a new file", Some(Component::Kernel)),
        (killed, |guest| guest.vmm_stays = true, "was told to quit", Some(Component::Qemu)),
        ("a_virtiofsd_that_is_told_to_end_serves_nothing_more", |guest| guest.daemon_stays = true, "still runs", None),
        ("random_writes_survive_killing_the_vmm", |guest| guest.forgets = true, "is of round 0", None),
    ];
    for (name, way, word, expected) in ways {
        let outcome = run_pair(name, |root| {
            let mut guest = Bereaved::new(root);
            way(&mut guest);
            guest
        });
        match outcome {
            Err(Stop::Fail { message, blames, .. }) => {
                assert!(message.contains(word), "{name}: expected {word:?} in {message:?}");
                assert_eq!(blames, expected, "{name}: {message}");
            }
            other => panic!("{name}: expected a failure that says {word:?}, got {other:?}"),
        }
    }
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn modes_owners_and_mappings_that_stay_in_the_guest_are_found() {
    let lie: Lie = |_, action| match action {
        Action::Chmod { .. } | Action::Chown { .. } | Action::MmapWrite { .. } => Some(Ok(Reply::Done)),
        _ => None,
    };
    must_be_found("host_sees_the_modes_and_owners_of_the_guest", lie, "expected mode 4751");
    must_be_found("host_sees_mapped_writes_of_the_guest", lie, "after msync");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn names_and_links_that_are_translated_are_found() {
    let lossy: Lie = |liar, action| match action {
        Action::Write { path, data, append, sync } => {
            let path = Bytes(String::from_utf8_lossy(&path.0).into_owned().into_bytes());
            Some(liar.honest.act(Action::Write { path, data: data.clone(), append: *append, sync: *sync }))
        }
        _ => None,
    };
    let copied: Lie = |liar, action| match action {
        Action::Link { to, .. } => Some(liar.honest.act(Action::Write {
            path: to.clone(),
            data: Bytes(Vec::new()),
            append: false,
            sync: false,
        })),
        _ => None,
    };
    must_be_found("names_of_any_bytes_pass_both_ways", lossy, "\\xe9");
    must_be_found("links_pass_both_ways", copied, "expected one inode");
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_removed_file_that_cannot_be_used_is_found() {
    let lie: Lie = |_, action| {
        matches!(action, Action::AppendHeld { .. }).then(|| Ok(Reply::Refused { errno: "ESTALE".to_owned() }))
    };
    must_be_found("guest_keeps_an_open_file_that_the_host_removes", lie, "ESTALE");
}

/// A server that resolves links and `..` on the host, as if the guest's paths were the host's.
struct Unconfined {
    root: PathBuf,
}

impl GuestSide for Unconfined {
    fn attempt(&mut self, action: Action, _: Duration) -> Result<Option<Reply>, Stop> {
        self.act(action).map(Some)
    }

    fn daemon_descriptors(&mut self) -> Result<usize, Stop> {
        Ok(16)
    }

    fn act(&mut self, action: Action) -> Result<Reply, Stop> {
        perform(&self.root, &action).map_err(|e| Stop::error(e.to_string()))
    }

    fn end_daemon(&mut self, _: DaemonSignal, _: Duration) -> Result<bool, Stop> {
        Ok(true)
    }

    fn answers(&mut self) -> Result<bool, Stop> {
        Ok(true)
    }

    fn quit_vmm(&mut self, _: Duration) -> Result<bool, Stop> {
        Ok(true)
    }

    fn kill_vmm(&mut self) -> Result<(), Stop> {
        Ok(())
    }
}

#[test]
#[cfg_attr(lacks = "root", ignore = "needs root")]
fn a_server_that_resolves_links_on_the_host_is_found() {
    for name in
        ["symlinks_of_the_host_do_not_lead_out", "symlinks_of_the_guest_do_not_lead_out", "dot_dot_does_not_lead_out"]
    {
        match run_pair(name, |root| Unconfined { root }) {
            Err(Stop::Fail { message, .. }) => {
                assert!(message.contains("it read the host's file"), "{name}: {message}");
            }
            other => panic!("{name}: expected a failure, got {other:?}"),
        }
    }
}
