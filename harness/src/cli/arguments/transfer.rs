//! Arguments of commands about cached images.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(in crate::cli) struct ImagesArguments {
    #[command(subcommand)]
    pub command: ImagesCommand,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ImagesCommand {
    /// Write the newest cached image of each release, and images derived from it, as one file each; prints their names
    /// and checksums as `import` expects them.
    Export {
        /// Releases: `debian:13`, `debian`, `debian:11,12`.
        #[arg(required = true, value_name = "TARGET")]
        targets: Vec<String>,
        /// The folder for the files; existing files are not replaced [default: the current folder].
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Records that replace or add to the shipped ones.
        #[arg(long, value_name = "DIR")]
        records: Option<PathBuf>,
        /// Where images are cached [default: $KATA_QUALIFY_CACHE, else ~/.cache/kata-qualify].
        #[arg(long, value_name = "DIR")]
        cache: Option<PathBuf>,
    },
    /// Add images to the cache that `export` wrote on another machine.
    Import {
        /// Files with the checksums that `export` printed, which ensure that the images are the exported ones.
        #[arg(required = true, value_name = "FILE#CHECKSUM")]
        files: Vec<String>,
        /// Where images are cached [default: $KATA_QUALIFY_CACHE, else ~/.cache/kata-qualify].
        #[arg(long, value_name = "DIR")]
        cache: Option<PathBuf>,
    },
}
