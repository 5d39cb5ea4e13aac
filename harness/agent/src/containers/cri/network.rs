//! The network of pods: the release's own CNI plugins, configured by a list of the harness's.

use serde_json::json;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directories of the plugins: Debian and openSUSE, Fedora and Alpine, Arch, and upstream's default.
const FOLDERS: [&str; 4] = ["/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin", "/usr/lib/cni/bin"];
/// Plugins that the list and containerd itself call.
const NEEDED: [&str; 3] = ["bridge", "host-local", "loopback"];

/// Returns the directory with the plugins, if it has all needed ones.
pub(super) fn plugins() -> Option<PathBuf> {
    plugins_below(Path::new("/"))
}

fn plugins_below(root: &Path) -> Option<PathBuf> {
    let mut folders = FOLDERS.iter().map(|folder| root.join(folder.trim_start_matches('/')));
    folders.find(|folder| NEEDED.iter().all(|name| folder.join(name).is_file()))
}

/// Returns the bridge's name, at most the 15 bytes of an interface name.
pub(super) fn bridge(name: &str) -> String {
    let start = name.len().saturating_sub(13);
    format!("k{}", &name[start..])
}

/// Writes the list of plugins: a bridge of the instance's own, addresses from the range for benchmarking (RFC 2544),
/// which is routed nowhere.
///
/// No test needs traffic out of a pod, so the gateway of its route does not exist: to provide a gateway, the plugin
/// would enable forwarding on the whole machine, and would not undo it.
///
/// # Errors
/// If a file cannot be written.
pub(super) fn write(folder: &Path, name: &str, addresses: &Path) -> io::Result<()> {
    let number = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    // Differs from the subnets of the parent module's `network.rs`, which are in 198.18.
    let subnet = format!("198.19.{}.0/24", number % 256);
    let list = json!({
        "cniVersion": "0.4.0",
        "name": name,
        "plugins": [{
            "type": "bridge",
            "bridge": bridge(name),
            "isGateway": false,
            "ipMasq": false,
            "ipam": {
                "type": "host-local",
                "dataDir": addresses,
                "ranges": [[{ "subnet": subnet }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    });
    fs::create_dir_all(folder)?;
    fs::write(folder.join("10-kata-qualify.conflist"), serde_json::to_vec(&list)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_folder_is_the_one_with_all_plugins() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        put("usr/lib/cni/bridge");
        assert_eq!(plugins_below(dir.path()), None);
        for name in NEEDED {
            put(&format!("usr/libexec/cni/{name}"));
        }
        assert_eq!(plugins_below(dir.path()), Some(dir.path().join("usr/libexec/cni")));
    }

    #[test]
    fn a_bridge_name_fits_the_limit_of_interface_names() {
        assert_eq!(bridge("kq12c3"), "kkq12c3");
        assert!(bridge("kq4194304c1234567").len() <= 15);
    }
}
