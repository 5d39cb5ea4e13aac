//! Users and groups that have other numbers on the host than in the guest.

use super::proves::IDS;
use super::user::OTHER;
use crate::check::{Check, Doing, Stop};
use crate::ensure;
use crate::environment::{Action, Pair};
use crate::row::{Row, row};
use model::profile::{DaemonSetting, TRANSLATED_GIDS, TRANSLATED_UIDS};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};

const SOURCE: &str = include_str!("ids.rs");

pub(super) static ROWS: &[Row] =
    &[row!(Pair(ids_are_translated_both_ways), IDS).only_with(&[DaemonSetting::TranslatedIds])];

/// What a translated user of the guest creates, or is given, belongs to its counterpart on the host, what belongs to
/// the counterpart is the user's in the guest, groups likewise, and other ids are the same on both sides.
///
/// With `--translate-uid` and `--translate-gid` in `virtio_fs_extra_args`
/// (src/runtime/config/configuration-qemu.toml.in@4.1.0) an admin keeps the users of pods apart from those of the node.
/// A daemon that translates in one direction alone locks a pod out of its own files, and one that confuses users with
/// groups gives them to strangers. virtiofsd has these options from 1.13 on; the daemon written in C never had them.
fn ids_are_translated_both_ways(pair: &mut Pair<'_>) -> Check {
    let in_guest = (TRANSLATED_UIDS.guest + 3, TRANSLATED_GIDS.guest + 4);
    let on_host = (TRANSLATED_UIDS.on_host(in_guest.0), TRANSLATED_GIDS.on_host(in_guest.1));
    // Without this, the share cannot be judged: here the ids may not exist.
    pair.host_writes("hosts", b"x")?;
    chown(pair.on_host("hosts"), Some(on_host.0), Some(on_host.1))
        .map_err(|e| Stop::error(format!("the host gives a file to {}:{}: {e}", on_host.0, on_host.1)))?;
    let (uid, gid) = in_guest;
    pair.done(
        &format!("creating a file as user {uid} of group {gid}"),
        Action::CreateAs { path: pair.in_guest("created"), uid, gid },
    )?;
    owned_on_host(pair, "created", on_host)?;
    owned_in_guest(pair, "created", in_guest)?;
    owned_in_guest(pair, "hosts", in_guest)?;
    pair.guest_writes("given", b"x", false)?;
    owned_on_host(pair, "given", (0, 0))?;
    for (ids, expected) in [(in_guest, on_host), ((OTHER, OTHER), (OTHER, OTHER))] {
        let (uid, gid) = ids;
        pair.done(&format!("chown to {uid}:{gid}"), Action::Chown { path: pair.in_guest("given"), uid, gid })?;
        owned_on_host(pair, "given", expected)?;
        owned_in_guest(pair, "given", ids)?;
    }
    Ok(())
}

fn owned_on_host(pair: &Pair<'_>, name: &str, expected: (u32, u32)) -> Check {
    let status = fs::metadata(pair.on_host(name)).doing(format_args!("the host, stat of {name}"))?;
    let seen = (status.uid(), status.gid());
    ensure!(
        seen == expected,
        "{name} on the host: expected owner {}:{}, saw {}:{}",
        expected.0,
        expected.1,
        seen.0,
        seen.1
    );
    Ok(())
}

fn owned_in_guest(pair: &mut Pair<'_>, name: &str, expected: (u32, u32)) -> Check {
    let status = pair.guest_stats(name)?;
    let status = status.map_err(|errno| Stop::fail(format!("the guest, stat of {name}: {errno}")))?;
    ensure!(
        (status.uid, status.gid) == expected,
        "{name} in the guest: expected owner {}:{}, saw {}:{}",
        expected.0,
        expected.1,
        status.uid,
        status.gid
    );
    Ok(())
}
