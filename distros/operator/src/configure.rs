//! Kata's configuration for a machine: from a record, a profile and the installed components.
//!
//! [`plan`] is pure: it decides from facts that were gathered before ([`Inventory`]). Everything that touches files is
//! separate: the inventory ([`Inventory::gather`], [`locate`]), the configuration that Kata would read
//! ([`MergedConfiguration`]), writing ([`prepare`]) and reverting ([`revert`]).
//!
//! ```text
//! record + verified ─┐
//! profile, version ──┼─► plan ──► settings ──► drop-in or edit ──► change ──► merged again: did it take effect?
//! what is there ─────┘    │                     containerd, CRI-O
//!                         └─► fallback: next filesystem, packages, the admin's entry, build instructions
//! ```
//!
//! - `plan` is pure; `found` gathers what it needs and runs nothing, because a root may be another machine's. The two
//!   daemons called virtiofsd, and a QEMU without io_uring or without a device, are recognized by the content of their
//!   binaries.
//! - An initrd is read as the kernel unpacks it, with limits on bytes and entries, and without keeping anything: which
//!   kernels it has modules for, and whether it contains Kata's agent. An initrd for another kernel, or without an
//!   agent, is not fit for production; one without modules is noted. If its compression is not supported, its name
//!   counts.
//! - A verdict counts for a driver only if it is about the driver's packages; an admin's own daemon is not judged by
//!   the distro's.
//! - `merged` reads the configuration as the runtime would: Go and Rust merge drop-ins alike and refuse different
//!   things.
//! - If the directory also contains a configuration that is not for ordinary guests of QEMU, a copy in a directory
//!   below `/etc/kata-containers` gets the drop-in; the handler names the copy, or the runtime finds it first; `own`
//!   has the reasons. A configuration added later is a finding of `standing`. Others' drop-ins are not copied, because
//!   they may be for another VMM, but each of their keys that a copy lacks is reported.
//! - The kind of a configuration (for QEMU, for confidential guests, for guests without a share) is determined from
//!   what Kata would have without kata-osinfo's drop-in, never from the main file alone.
//! - `image` decides how guests get Kata's own image, with separate verdicts (`vmm.image.nvdimm`, `vmm.image.blk`): a
//!   QEMU that boots an initrd may still fail with the image.
//! - With an initrd `image` is emptied; `rootfs_type` and `vm_rootfs_driver` stay, because neither matters in this case
//!   and another `vm_rootfs_driver` would remove memory slots from QEMU's arguments.
//! - `containerd::loaded` is a model of how containerd 1.x, 2.0 to 2.2, and 2.3 and later read and join their files,
//!   compared with `containerd config dump` in tests. Each way of writing the handler is tried on the model, and used
//!   if the handler comes out as intended and nothing else changes. containerd before 2.0 replaces a plugin's whole
//!   section by that of an imported file, so its main file is edited; later versions get a drop-in.
//! - k3s, RKE2, k0s and MicroK8s ship a containerd of their own; `containerd::distribution` knows which files it reads,
//!   also in another data directory, and the signs that a distribution is installed. If the distribution has not
//!   written its containerd configuration yet, or rebuilds it from a template without an import of the drop-in, no file
//!   is written, because nothing would read it.
//! - A state file (`state`), readable by root alone, holds every file's text before and after, and until the call is
//!   complete also the text at its beginning. It is written first: every change can be reverted byte for byte, even
//!   after a kill or without disk space (the command's tests `configure::crash` kill at every system call). A call that
//!   fails in the middle reverts its own changes (`rollback`), or names them. After a file is exchanged for the new
//!   one, the old one is checked again, if necessary by the next call after a kill: text that others wrote up to that
//!   moment is put back (`lock`), or is set aside and named by every call (`displaced`).
//! - Values of others are compared with the plan (`theirs`): kept if nothing forces a change (the daemon's cache and
//!   options, longer deadlines), extended if they are lists, otherwise overridden. Each is reported with file and line,
//!   on stderr and in the machine-readable answer.
//! - The state is kept for each of Kata's configurations (`state`): configuring the Rust runtime keeps the Go runtime's
//!   drop-in, and `unconfigure` reverts everything. There is one handler, and the answer says which configuration it
//!   belonged to.
//! - In a file that others have edited since, only kata-osinfo's own keys are reverted, in the current text (`keys`);
//!   keys of kata-osinfo's that they changed, and files of kata-osinfo's that were changed by hand, stay unless forced.
//!   `configure` does not overwrite such a file, nor a container manager's file under kata-osinfo's name that no state
//!   lists and that has further keys. `containerd::migrated` knows where `containerd config migrate` moves the keys,
//!   and `stray` finds files that no state lists. Pure additions to a file of kata-osinfo's move to a separate file
//!   next to it, also by `configure` (`added`). With `force` they move even if keys of kata-osinfo's were changed, too,
//!   and only these changes are lost. A main file of containerd that imports kata-osinfo's drop-in by name also imports
//!   the new file (`containerd::beside`). Lists are extended and shortened in place (`lists`), and others' comments
//!   stay (`comments`). Files of kata-osinfo's that others need stay (`needed`): for a default handler, or settings of
//!   others that nothing would read any more; this is decided by comparing the result of all files before and after.
//!   All places that may contain something of kata-osinfo's are read first: if one cannot be read, nothing is reverted,
//!   just as `configure` writes nothing; with `force` everything is removed except for what the unreadable file may be
//!   about.
//! - In containerd's main file the handler is removed or kept as a whole (`containerd::migrated`), and `runc`, which is
//!   written next to it for containerd before 2.0, stays while others need it; a file without a sign of kata-osinfo's
//!   handler belongs to others entirely.
//! - Files are wholly kata-osinfo's by their names: a copy of such a file that somebody has made stays, and is reported
//!   if it is read (`stray`). A link to a removed file is removed, too (`dangling`), because no reader starts with a
//!   dangling link; it is removed only if it is still the link that was examined.
//! - The state's files are those to which their paths lead now: a file that others have moved and replaced by a link is
//!   edited where it is, and a main file of containerd's that was a link and is a regular file again counts as the same
//!   file.
//! - Diffs and findings show no password, token or login that others have set (`secrets`), and no line of a text that
//!   is not TOML.
//! - `standing` reads everything together again, based only on the state (`in_effect`): it finds later changes of
//!   others that keep the configuration from being in effect.
//! - A directory whose reader reads all files (`config.d`, `conf.d`) never contains an incomplete file: the new file is
//!   written in the parent directory. A lock on the state's directory allows one `configure` or `unconfigure` of a root
//!   at a time.
//! - `requirements` and the build instructions cite Kata's file and tag for each requirement.

// Inventory.
mod copy;
mod found;
mod initrd;
mod locate;
mod located;
mod merged;
mod theirs;
mod toml;

// Planning.
mod configuration;
mod guest;
mod image;
mod inputs;
mod plan;
mod settings;
mod share;
mod version;

// Writing, and checks whether it takes effect.
mod added;
mod change;
mod comments;
mod containerd;
mod crio;
mod dangling;
pub mod displaced;
mod edit;
mod lists;
pub mod lock;
mod own;
mod prepare;
mod rollback;
mod runtime_files;
mod secrets;
pub mod state;

// Reverting, and finding what is left.
mod in_effect;
mod keys;
mod needed;
pub mod revert;
mod standing;
pub mod stray;
mod today;

pub use added::ForeignAdditions;
pub use configuration::{BlockAio, Boot, KataConfiguration, MissingComponent, Note, PlanError};
pub use containerd::{
    ContainerdConfig, ContainerdVersion, NotAContainerdVersion, find_containerd_config, kata_handler,
};
pub use edit::{DROP_IN, drop_in, edited};
pub use found::{FoundVirtiofsd, Inventory, PackageDatabase};
pub use guest::GuestKernel;
pub use initrd::Initrd;
pub use inputs::Inputs;
pub use locate::{LocateError, Sibling, locate, siblings};
pub use located::LocatedConfiguration;
pub use merged::{MergedConfiguration, NotEffective, Problem};
pub use plan::plan;
pub use prepare::{HandlerChoice, PrepareError, PreparedFiles, prepare};
pub use runtime_files::{Handler, HandlerError};
pub use secrets::hidden_diff;
pub use settings::{KeyValue, settings};
pub use share::{Blamed, PassedOver, ShareChoice, SharedFs};
pub use standing::standing;
pub use theirs::{Fate, ForeignValue};
pub use version::{knows_no_shared_fs, reads_drop_ins};
