//! `ca-cli ceremony …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(crate) use super::custody::{Approve, CheckShare};
use crate::words;

/// The verbs of a ceremony, in the order of a year.
#[derive(Subcommand)]
pub(crate) enum CeremonyCommand {
    /// Write a new plan: one commented TOML file.
    #[command(after_help = "\
Examples:
  ca-cli ceremony new --kind root --name example-root-r1 > root.toml
  ca-cli ceremony new --kind issuing --name example-issuing-1a \\
    --issuer root.cer --request issuing.csr > issuing.toml
  ca-cli ceremony new --kind crl --name example-crl-2 \\
    --issuer root.cer --previous-crl ca.crl > crl.toml")]
    New(New),
    /// Check a plan: calendar, policy, inputs, and the bytes to be signed, shown in human words.
    #[command(
        after_help = "Examples:\n  ca-cli ceremony lint root.toml\n  ca-cli ceremony lint issuing.toml --inputs ."
    )]
    Lint {
        /// The plan.
        plan: PathBuf,
        /// Folder with the files that go in.
        #[arg(long, default_value = ".")]
        inputs: PathBuf,
        /// Also show the bytes to be signed, in hex.
        #[arg(long)]
        bytes: bool,
    },
    /// Rehearse a plan on a software token, in minutes; what comes of it is marked and refused elsewhere.
    #[command(after_help = "\
Examples:
  ca-cli ceremony rehearse root.toml --dir rehearsal
  ca-cli ceremony rehearse root.toml --dir rehearsal --resume
  ca-cli ceremony rehearse issuing.toml --dir rehearsal-2 \\
    --pin-file rehearsal/secrets/token.pin")]
    Rehearse(Rehearse),
    /// Print the script.
    #[command(after_help = "\
Examples:
  ca-cli ceremony script root.toml
  ca-cli ceremony script root.toml --html > script.html
The HTML prints itself: page x of y and the hash of the plan on every sheet.")]
    Script {
        /// The plan.
        plan: PathBuf,
        /// As HTML with a style for printing.
        #[arg(long)]
        html: bool,
        /// Of a rehearsal.
        #[arg(long)]
        rehearsal: bool,
    },
    /// Make the medium of a ceremony: plan, script, inputs, this program and all their hashes.
    #[command(after_help = "Examples:\n  ca-cli ceremony kit root.toml --dir cer-2026-12")]
    Kit {
        /// The plan.
        plan: PathBuf,
        /// Folder with the files that go in.
        #[arg(long, default_value = ".")]
        inputs: PathBuf,
        /// The medium to make.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Hold the ceremony: one step per screen, with the numbers of the printed script.
    #[command(after_help = "\
Examples:
  ca-cli ceremony run cer-2026-12 --module /usr/lib/vendor/pkcs11.so
  ca-cli ceremony run cer-2026-12 --module /usr/lib/vendor/pkcs11.so --resume
At every prompt: !deviation notes what is other than the script says;
!void takes the step before back.")]
    Run(Run),
    /// Approve a plan, or seal the record, as an officer: a signature by smart card.
    #[command(after_help = "\
Examples:
  ca-cli ceremony approve root.toml --officer 'crypto officer 1' \\
    --person 'Anna Berg' --key \"$KEY\" --out anna.approval
  ca-cli ceremony approve cer-2026-12 --seal --officer 'crypto officer 1' \\
    --person 'Anna Berg' --key \"$KEY\" --out cer-2026-12/seals/anna.approval
KEY is like pkcs11:token=anna;id=%01?module-path=/usr/lib/opensc-pkcs11.so
In a rehearsal a key in a file will do: --rehearsal --key-file anna.pem")]
    Approve(Approve),
    /// Check that the paper of a share can still be read. Nothing of it is kept.
    #[command(after_help = "Examples:\n  ca-cli ceremony check-share --ceremony example-root-r1")]
    CheckShare(CheckShare),
    /// Close the record and pack the archive, once the participants have sealed it.
    #[command(after_help = "\
Examples:
  ca-cli ceremony seal cer-2026-12                         what is to be signed
  ca-cli ceremony seal cer-2026-12 --out cer-2026-12.tar   pack it")]
    Seal {
        /// The medium.
        dir: PathBuf,
        /// The archive to write.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Of a rehearsal.
        #[arg(long)]
        rehearsal: bool,
    },
    /// Verify an archive: plan = script = transcript = outputs = certificates. Needs nothing but the archive.
    #[command(after_help = "\
Examples:
  ca-cli ceremony verify cer-2026-12.tar
  ca-cli ceremony verify rehearsal.tar --rehearsal
Without this program: docs/verify/ceremony.py")]
    Verify {
        /// The archive.
        archive: PathBuf,
        /// Accept a rehearsal. Never in production.
        #[arg(long)]
        rehearsal: bool,
    },
    /// Put what a ceremony made where a server publishes it: root certificate, CRL and record.
    #[command(after_help = "Examples:\n  ca-cli ceremony import cer-2026-12.tar \\
    --to /var/lib/holdfast/published")]
    Import {
        /// The archive.
        archive: PathBuf,
        /// Folder to put the files into.
        #[arg(long)]
        to: PathBuf,
        /// Accept a rehearsal. Never in production.
        #[arg(long)]
        rehearsal: bool,
    },
}

/// `ca-cli ceremony new`.
#[derive(Args)]
pub(crate) struct New {
    /// What it makes.
    #[arg(long, value_parser = ["root", "issuing", "cross", "crl", "restore", "destroy"])]
    pub(crate) kind: String,
    /// Name of the ceremony: small letters, digits and hyphens.
    #[arg(long)]
    pub(crate) name: String,
    /// When it is held; without it: in 30 days, with a request in 7.
    #[arg(long, value_parser = words::time)]
    pub(crate) planned: Option<i64>,
    /// Certificate of the root whose key signs, DER.
    #[arg(long)]
    pub(crate) issuer: Option<PathBuf>,
    /// Request of the issuing CA, DER.
    #[arg(long)]
    pub(crate) request: Option<PathBuf>,
    /// Certificate to be crossed, DER.
    #[arg(long)]
    pub(crate) subject: Option<PathBuf>,
    /// The CRL before, DER.
    #[arg(long)]
    pub(crate) previous_crl: Option<PathBuf>,
    /// How many officers there are.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub(crate) officers: u8,
}

/// `ca-cli ceremony rehearse`.
#[derive(Args)]
pub(crate) struct Rehearse {
    /// The plan.
    pub(crate) plan: PathBuf,
    /// Folder of the rehearsal: its token, secrets, medium and archive.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Folder with the files that go in.
    #[arg(long, default_value = ".")]
    pub(crate) inputs: PathBuf,
    /// PKCS#11 module of the software token.
    #[arg(long, default_value = "/usr/lib/softhsm/libsofthsm2.so")]
    pub(crate) module: PathBuf,
    /// The PIN of the rehearsed root's token, where the plan is for a root that was rehearsed before; for a real one another
    /// stands in.
    #[arg(long)]
    pub(crate) pin_file: Option<PathBuf>,
    /// Go on with a rehearsal that was interrupted.
    #[arg(long)]
    pub(crate) resume: bool,
}

/// `ca-cli ceremony run`.
#[derive(Args)]
pub(crate) struct Run {
    /// The medium, made by `ceremony kit`.
    pub(crate) dir: PathBuf,
    /// PKCS#11 module of the token.
    #[arg(long)]
    pub(crate) module: PathBuf,
    /// Go on after an interruption.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Printer for the sheets of shares, as a device or file; without it each officer copies from the screen.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) printer: Option<PathBuf>,
    /// Held by people on a rehearsal's medium and token.
    #[arg(long)]
    pub(crate) rehearsal: bool,
}
