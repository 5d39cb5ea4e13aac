//! Prepares images of Debian's releases and prints their content: `cargo run -p images --example prepare -- CACHE
//! [--accept-expired] [--offline] [--oci] [--mirror URL] [--disk] RELEASE…`.

use images::{BaseSource, Options, prepare, prepare_disk};
use std::process::ExitCode;
use std::time::Instant;

#[path = "../tests/debian/mod.rs"]
mod debian;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(cache) = words.next() else {
        eprintln!("usage: prepare CACHE [--accept-expired] [--offline] [--oci] [--mirror URL] [--disk] RELEASE...");
        return ExitCode::from(2);
    };
    let mut options = Options::new(cache);
    let (mut failed, mut disk) = (false, false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--accept-expired" => options.accept_expired = true,
            "--offline" => options.offline = true,
            "--disk" => disk = true,
            "--oci" => options.source = BaseSource::Oci,
            "--mirror" => options.mirror = words.next(),
            version => {
                let started = Instant::now();
                let release = debian::release(version);
                let progress = |p: images::ProgressMessage| {
                    if p.detail.is_none() {
                        eprintln!("{:7.1} s  {}  {}", started.elapsed().as_secs_f64(), p.release, p.phase);
                    }
                };
                let result = match disk {
                    false => prepare(&release, &options, &progress),
                    true => prepare_disk(&release, &options, &[], &progress).map(|disk| disk.host),
                };
                match result {
                    Ok(image) => {
                        println!(
                            "{} {:?} {:.1} s {}",
                            image.release(),
                            image.origin,
                            started.elapsed().as_secs_f64(),
                            image.dir.display()
                        );
                        for origin in &image.manifest.origins {
                            println!("  {} {} {}", origin.package, origin.version, origin.suites.join(" "));
                        }
                        for owner in &image.manifest.owners {
                            let resolved = owner.resolved.as_ref().map(|path| path.as_str());
                            println!("  {} -> {resolved:?} {:?}", owner.path, owner.package);
                        }
                    }
                    Err(error) => {
                        failed = true;
                        eprintln!("{error}");
                        if let Some(hint) = error.hint() {
                            eprintln!("hint: {hint}");
                        }
                    }
                }
            }
        }
    }
    ExitCode::from(u8::from(failed))
}
