//! Kata's configuration for a machine: from a record, a profile and what is installed.
//!
//! [`plan`] is pure: it decides from facts that were gathered before ([`Inventory`]).
//! Everything that touches files is apart from it: what is there ([`Inventory::gather`], [`locate`]), what Kata would
//! read ([`MergedConfiguration`]), what is written ([`prepare`]) and taken back ([`revert`]).
//!
//! ```text
//! record + verified ─┐
//! profile, version ──┼─► plan ──► settings ──► drop-in or edit ──► change ──► merged again: did it take effect?
//! what is there ─────┘    │                     containerd, CRI-O
//!                         └─► fallback: next filesystem, packages, the admin's entry, build instructions
//! ```
//!
//! - `plan` is pure; `found` gathers what it needs and runs nothing, because a root may be another machine's.
//!   The two daemons called virtiofsd, a QEMU without io_uring or without a device are told by what is in their files.
//! - An initrd is read as the kernel unpacks it, with caps on bytes and entries, and nothing is kept: for which kernels
//!   it has modules, and whether Kata's agent is in it.
//!   One for another kernel, or without an agent, is not fit for production; one without modules is noted.
//!   Its name counts where its compression is not read.
//! - A verdict counts for a driver only if it is about the driver's packages; an admin's own daemon is not judged by
//!   the distro's.
//! - `merged` reads the configuration as the runtime would: Go and Rust merge drop-ins alike and refuse different
//!   things.
//! - Where a configuration that is not for ordinary guests of QEMU lies in the same folder, a copy in a folder below
//!   `/etc/kata-containers` gets the drop-in, and is what the handler names or the runtime finds first; `own` has the
//!   reasons.
//!   One that comes later is a finding of `standing`; others' drop-ins are not copied, because they may be about another
//!   VMM, but what of them a copy lacks is told key by key.
//! - What a configuration is for (QEMU, confidential guests, guests that share nothing) is asked of what Kata would have
//!   without our drop-in, never of the main file alone.
//! - `image` decides how Kata's own image is handed over, by verdicts of its own (`vmm.image.nvdimm`, `vmm.image.blk`):
//!   that a QEMU boots an initrd says nothing about that.
//! - With an initrd `image` is emptied; `rootfs_type` and `vm_rootfs_driver` stay, because neither matters then and
//!   another `vm_rootfs_driver` would take memory slots from QEMU's arguments.
//! - `containerd::loaded` is a model of how containerd 1.x, 2.0 to 2.2, and 2.3 and later read and join their files,
//!   compared with `containerd config dump` in tests.
//!   Each way of writing the handler is tried on it, and taken if the handler comes out as intended and nothing else
//!   changes.
//!   containerd before 2.0 replaces a plugin's whole section by that of an imported file, so its main file is edited;
//!   later ones get a drop-in.
//! - k3s, RKE2, k0s and MicroK8s bring a containerd of their own; `containerd::distribution` knows what that reads, also
//!   in another folder of data, and what tells that one of them is there.
//!   Where one has not written that yet, or makes it again from a template without an import of ours, nothing is written
//!   that nobody would read.
//! - A state file (`state`), for root alone, has every file's text before and after, and until all is done what stood there when
//!   it began.
//!   It is written first: what was written can be taken back to the byte, also after a kill or without space
//!   (the command's tests `configure::crash` kill at every system call).
//!   A call that fails in the middle takes back itself what it has written (`rollback`), or names it.
//!   A file is exchanged for the new one and looked at once more, by whoever comes next after a kill: what others wrote up
//!   to that moment has its place again (`lock`), or lies aside and is named by every call (`displaced`).
//! - What others have set is compared with what was planned (`theirs`): kept where nothing forces a change (the
//!   daemon's cache and options, longer deadlines), extended where it is a list, else overridden.
//!   Each is reported with file and line, on stderr and in the answer for programs.
//! - The state is kept for each of Kata's configurations (`state`): configuring the Rust runtime leaves the Go
//!   one's drop-in, and `unconfigure` takes back everything.
//!   There is one handler, and the answer says whose it was.
//! - Of a file that others have edited since, only our own keys are taken back, in today's text (`keys`); a key of ours
//!   that they changed, and a file of ours that was changed by hand, stay unless forced; `configure` does not write over
//!   such a file, and of a container manager's none either that no state knows and that has keys besides ours.
//!   `containerd::migrated` knows where `containerd config migrate` puts them, and `stray` what no state knows.
//!   What was only added to a file of ours moves to a file of theirs beside it, by `configure`, too (`added`).
//!   By force it moves also where keys of ours were changed beside it, and only these go.
//!   A main file of containerd's that imports ours by its name imports that one as well (`containerd::beside`).
//!   Lists are made longer and shorter in place (`lists`), and others' comments stay (`comments`).
//!   What others need of ours stays (`needed`): a default handler, or lines of theirs that nothing would read any more,
//!   decided on what all files come to before and after.
//!   All places where something of ours may be are read first: where one cannot be read nothing is taken back, as nothing
//!   is written by `configure`; by force all goes but what that one may be about.
//! - Of containerd's main file the handler goes or stays as a whole (`containerd::migrated`), and `runc`, written beside it
//!   for containerd before 2.0, stays while others need it; without a sign of our handler the file is all others'.
//! - Files are wholly ours by their names: a copy that somebody has made of one stays, and is told where it is read (`stray`).
//!   A link to one that has gone goes with it (`dangling`), because no reader starts with that; it goes as it was looked at.
//! - The state's files are those that their paths lead to today: one that others have moved, with a link in its place, is
//!   edited where it is, and a main file of containerd's that was a link and is a file again is the one that it was.
//! - Diffs and findings show no password, token or login of what others have set (`secrets`), and no line of what is no
//!   TOML.
//! - `standing` reads everything together again, by the state alone (`in_effect`): what others have done since that
//!   keeps it from having an effect.
//! - A folder that its reader reads whole (`config.d`, `conf.d`) never contains an incomplete file: the new file waits
//!   in the folder above.
//!   A lock on the state's folder lets one `configure` or `unconfigure` of a root run at a time.
//! - `requirements` and the build instructions cite Kata's file and tag for each demand.

// What is there.
mod copy;
mod found;
mod initrd;
mod locate;
mod located;
mod merged;
mod theirs;
mod toml;

// What is decided.
mod configuration;
mod guest;
mod image;
mod inputs;
mod plan;
mod settings;
mod share;
mod version;

// What is written, and whether it takes effect.
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

// What is taken back, and what is still there.
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
pub use guest::Guest;
pub use initrd::Initrd;
pub use inputs::Inputs;
pub use locate::{LocateError, Sibling, locate, siblings};
pub use located::LocatedConfiguration;
pub use merged::{MergedConfiguration, NotEffective, Problem};
pub use plan::plan;
pub use prepare::{HandlerChoice, PrepareError, PreparedFiles, prepare};
pub use runtime_files::{Handler, HandlerError};
pub use secrets::hidden_diff;
pub use settings::{Setting, settings};
pub use share::{Blamed, PassedOver, ShareChoice, SharedFs};
pub use standing::standing;
pub use theirs::{Fate, ForeignValue};
pub use version::{knows_no_shared_fs, reads_drop_ins};
