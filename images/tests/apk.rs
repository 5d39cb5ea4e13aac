//! Images of Alpine's packages by recorded calls: there is no apk where these tests run, so a stand-in records its
//! calls and prints the output of apk-tools 2.14 according to its manual and source.
//!
//! curl, the sandbox and the resulting tree are real; the verification of packages is not tested here.

#![expect(clippy::unwrap_used, reason = "helpers of a test fail by panicking, as the test does")]

use flate2::Compression;
use flate2::write::GzEncoder;
use images::base::{BaseContent, BaseError, BaseProvider, BaseTask, ReadBase};
use images::{BaseSource, ExtraPackage, Image, ImageError, ImageErrorKind, ImagePhase, Options, prepare};
use model::package_manager::PackageManager;
use signed::{has_candidate, left_overs, release, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

#[expect(dead_code, reason = "other tests sign packages")]
mod signed;

/// The part of apk(8) that is called: it selects the packages in its arguments, and installs files from the
/// repositories.
const APK: &str = r#"#!/bin/sh
echo "$*" >> /invocations
at=/var/cache/kata-qualify
installed() {
    printf 'P:%s\nV:%s\nA:x86_64\no:kq\nF:usr/share/%s\nR:mark\n\n' "$1" "$2" "$1"
}
there() {
    [ -s "$at/main/x86_64/$1" ] || { echo "ERROR: $1: No such file or directory" >&2; exit 1; }
}
# mkinitfs's trigger would make an initrd after each installation that changes a kernel.
case "$*" in
*--simulate*) ;;
*)
    case "$(< /etc/mkinitfs/mkinitfs.conf)" in
    *disable_trigger=yes*) ;;
    *) exit 4 ;;
    esac
    ;;
esac
[ -s "$at/main/x86_64/APKINDEX.tar.gz" ] && [ -s "$at/keys/a.rsa.pub" ] || exit 2
case "$*" in
*--simulate*no-such-package*)
    {
        echo 'ERROR: unable to select packages:'
        echo '  no-such-package (no such package):'
        echo '    required by: world[no-such-package]'
    } >&2
    exit 1
    ;;
*--simulate*local/kq-hello-2.0-r0.apk)
    echo '(1/2) Installing kq-new (1.0-r0)'
    echo '(2/2) Upgrading kq-hello (1.0-r0 -> 2.0-r0)'
    ;;
*--simulate*)
    echo '(1/2) Installing kq-library (1.0-r0)'
    echo '(2/2) Installing kq-hello (1.0-r0)'
    ;;
*--allow-untrusted*)
    [ -s "$at/local/kq-hello-2.0-r0.apk" ] || exit 3
    { installed kq-library 1.0-r0; installed kq-new 1.0-r0; installed kq-hello 2.0-r0; } > /lib/apk/db/installed
    ;;
*'add kq-new')
    there kq-new-1.0-r0.apk
    installed kq-new 1.0-r0 >> /lib/apk/db/installed
    ;;
*)
    there kq-library-1.0-r0.apk
    there kq-hello-1.0-r0.apk
    { installed kq-library 1.0-r0; installed kq-hello 1.0-r0; } >> /lib/apk/db/installed
    echo 1 > /usr/share/kq-hello/mark
    ;;
esac
echo 'OK: 1 MiB in 2 packages'
"#;

/// Commands that fill the tree: bash with its libraries, the stand-in, and the package database of Alpine's images.
const FILL: &str = r#"
mkdir -p usr/bin usr/lib usr/share/kq-hello etc/apk/keys var/lib var/cache tmp lib64 sbin lib/apk/db bin
for file in /usr/bin/bash $(ldd /usr/bin/bash | grep -o '/[^ ]*'); do
    mkdir -p ".$(dirname $file)"
    cp -L $file .$file
done
cp -L /usr/bin/bash bin/sh
cp ../apk sbin/apk
chmod 755 sbin/apk
echo ID=alpine > etc/os-release
echo root:x:0:0:root:/root:/bin/sh > etc/passwd
echo root:x:0: > etc/group
echo key > etc/apk/keys/a.rsa.pub
: > lib/apk/db/installed
tar -cf ../base.tar .
"#;

/// Settings in each call of the release's apk: only the harness's repositories and keys, and no network.
const SETTINGS: &str = "--no-network --no-cache --no-progress --repositories-file /dev/null \
    --keys-dir /var/cache/kata-qualify/keys --repository /var/cache/kata-qualify/main";

/// A mirror with the repository `main`, and a base.
struct Mirror {
    dir: tempfile::TempDir,
}

impl Mirror {
    fn new() -> Mirror {
        let mirror = Mirror { dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        let repository = mirror.path().join("mirror/main/x86_64");
        std::fs::create_dir_all(&repository).unwrap();
        let mut index = String::new();
        for name in ["kq-library", "kq-hello", "kq-new"] {
            std::fs::write(repository.join(format!("{name}-1.0-r0.apk")), name).unwrap();
            index += &format!("C:Q1x=\nP:{name}\nV:1.0-r0\nA:x86_64\n\n");
        }
        let file = std::fs::File::create(repository.join("APKINDEX.tar.gz")).unwrap();
        let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(index.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, "APKINDEX", index.as_bytes()).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        let tree = mirror.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(mirror.path().join("apk"), APK).unwrap();
        run(Command::new("sh").args(["-e", "-c", FILL]).current_dir(tree));
        // This machine's programs read the directory as an unprivileged user.
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(mirror.path()));
        mirror
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn prepared(&self, cache: &Path, extra_packages: Vec<ExtraPackage>) -> Result<Image, ImageError> {
        let options = Options {
            mirror: Some(format!("file://{}", self.path().join("mirror").display())),
            base: Some(Arc::new(Made { tar: self.path().join("base.tar") })),
            extra_packages,
            ..Options::new(cache)
        };
        prepare(&release("alpine", "3.22", PackageManager::Apk), &options, &|_| {})
    }
}

/// A base that is already unpacked.
#[derive(Debug)]
struct Made {
    tar: PathBuf,
}

impl BaseProvider for Made {
    fn identity(&self) -> String {
        "sha256:made".to_owned()
    }

    fn source(&self) -> BaseSource {
        BaseSource::Cloud
    }

    fn read(&self, task: &BaseTask<'_>) -> Result<ReadBase, BaseError> {
        let tar = task.folder.join("base.tar");
        std::fs::copy(&self.tar, &tar).map_err(BaseError::new)?;
        Ok(ReadBase { content: BaseContent::Tree(tar), sha256: "0".repeat(64) })
    }

    fn accept(&self, _: &Path) -> Result<(), BaseError> {
        Ok(())
    }
}

fn invocations(image: &Image) -> String {
    std::fs::read_to_string(image.rootfs().join("invocations")).unwrap()
}

#[test]
#[cfg_attr(lacks = "apk-images", ignore = "needs root, x86_64, curl and ldd")]
fn apk_is_called_with_the_expected_arguments() {
    let mirror = Mirror::new();
    let cache = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let image = mirror.prepared(cache.path(), Vec::new()).unwrap_or_else(|e| panic!("{e}"));
    // apk selects packages, they are fetched, and apk installs them.
    let plain = format!("{SETTINGS} add --simulate e2fsprogs kq-hello\n{SETTINGS} add e2fsprogs kq-hello\n");
    assert_eq!(invocations(&image), plain);
    let package = image.manifest.package("kq-hello").unwrap();
    assert_eq!([package.version.as_str(), package.arch.as_str(), package.source.as_str()], ["1.0-r0", "x86_64", "kq"]);
    let origin = image.manifest.origins.iter().find(|o| o.package == "kq-hello").unwrap();
    assert_eq!(origin.suites, ["main"]);
    assert_eq!(image.manifest.owner("/usr/share/kq-hello/mark").unwrap().package, Some("kq-hello".parse().unwrap()));
    assert!(!image.dir.join("archives").exists(), "packages were left");
    assert!(!image.rootfs().join("var/cache/kata-qualify").exists(), "a folder for packages was left");
    assert!(!image.rootfs().join("etc/mkinitfs").exists(), "a setting of mkinitfs was left");

    // A candidate's dependencies come from the repositories, by name and verified; only the candidate is not verified.
    let candidate = mirror.path().join("kq-hello-2.0-r0.apk");
    std::fs::write(&candidate, "candidate").unwrap();
    let derived = mirror.prepared(cache.path(), vec![candidate.to_str().unwrap().parse().unwrap()]);
    let derived = derived.unwrap_or_else(|e| panic!("{e}"));
    let local = "/var/cache/kata-qualify/local/kq-hello-2.0-r0.apk";
    let bare = "--no-network --no-cache --no-progress --repositories-file /dev/null";
    assert_eq!(
        invocations(&derived),
        format!(
            "{plain}{SETTINGS} add --simulate --allow-untrusted {local}\n{SETTINGS} add kq-new\n\
             {bare} add --allow-untrusted {local}\n"
        )
    );
    has_candidate(&derived, "2.0-r0");
    assert_eq!(invocations(&image), plain, "the plain image was changed");

    let error = mirror.prepared(cache.path(), vec!["no-such-package".parse().unwrap()]).unwrap_err();
    assert_eq!(error.phase, ImagePhase::Install, "{error}");
    assert!(
        matches!(&*error.cause, ImageErrorKind::PackageMissing { package } if package == "no-such-package"),
        "{error}"
    );
    assert_eq!(left_overs(cache.path()), 0);
}
