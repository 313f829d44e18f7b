//! Arguments of `device`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wire::firmware::FirmwareRule;

use super::trust::KindName;
use super::{Admin, replacement};
use crate::words;

/// `ca-cli device …`.
#[derive(Subcommand)]
pub(crate) enum DeviceCommand {
    /// Put a device into the inventory.
    #[command(after_help = "\
Examples:
  ca-cli device allow GW-7F3K-00412 --ek ek.pem
  ca-cli device allow GW-7F3K-00412 --ek ek.tpm2b_public
  ca-cli device allow GW-7F3K-00412 --first-contact 2h --batch 2026-47-B")]
    Allow(Allow),
    /// List devices.
    #[command(after_help = "\
Examples:
  ca-cli device find
  ca-cli device find --batch 2026-47-B --expires-before 2027-03-01
  ca-cli device find --name GW-7F3K -o json
  ca-cli device find --tpm-vendor IFX --tpm-fw '<16.13' --all -o json > ifx.json
  ca-cli revoke --from ifx.json --reason superseded --dry-run")]
    Find(Find),
    /// Show one device.
    #[command(after_help = "Examples:\n  ca-cli device show GW-7F3K-00412\n  ca-cli device show GW-7F3K-00412 -o json")]
    Show {
        /// Name.
        name: String,
        #[command(flatten)]
        admin: Admin,
    },
    /// Hold devices: nothing more is issued to them, nor renewed. Their certificates stay good: see `ca-cli hold`.
    #[command(after_help = "\
Examples:
  ca-cli device hold GW-7F3K-00412 --reason 'firmware recall 2026-12'
  ca-cli device find --tpm-vendor IFX --tpm-fw '<16.13' --all -o json > ifx.json
  ca-cli device hold --from ifx.json --reason 'firmware recall' --dry-run")]
    Hold(DeviceHold),
    /// Release devices from their hold.
    #[command(after_help = "Examples:\n  ca-cli device release GW-7F3K-00412 --reason 'TPM updated'")]
    Release(DeviceHold),
    /// Call devices to renew now what they have: on other terms, or on new keys. They hear of it when they ask, every
    /// few hours.
    #[command(after_help = "\
Examples:
  ca-cli device renew GW-7F3K-00412 --reason 'new profile'
  ca-cli device find --tpm-vendor IFX --tpm-fw '<16.13' --all -o json > ifx.json
  ca-cli device renew --from ifx.json --reason 'recall' --within 24h --dry-run")]
    Renew(DeviceRenew),
    #[cfg(feature = "online")]
    /// Ask for another TPM for a device (board swap, repair): another person approves it. Then the old identity is
    /// revoked, and the old TPM never comes back, under no name.
    #[command(after_help = "\
Examples:
  ca-cli device replace-tpm GW-7F3K-00412 --ek new.pem --reason 'board swap'
  ca-cli device replace-tpm GW-7F3K-00412 --first-contact 2h \\
    --reason 'TPM died, ticket 4711' --revocation cessationOfOperation
  ca-cli replacement approve 7
Who asks and who approves are two people of [operators] in server.toml.")]
    ReplaceTpm(replacement::ReplaceTpm),
    /// Draw the two chains that meet at a device's key: ours, and the TPM vendor's.
    #[command(after_help = "Examples:\n  ca-cli device tree GW-7F3K-00412\n  ca-cli device tree GW-7F3K-00412 -o json")]
    Tree {
        /// Name.
        name: String,
        #[command(flatten)]
        admin: Admin,
    },
}

/// `ca-cli device allow`.
#[derive(Args)]
pub(crate) struct Allow {
    /// Name, for example the product serial number.
    pub(crate) name: String,
    /// Its EK: a certificate, a public key (SubjectPublicKeyInfo), a TPM2B_PUBLIC or TPMT_PUBLIC, as a file (PEM, DER or
    /// raw); or the SHA-256 of the SubjectPublicKeyInfo in hex, as `ca-agent identify` prints it.
    #[arg(long, required_unless_present_any = ["first_contact", "iak"])]
    pub(crate) ek: Option<String>,
    /// What kind of TPM the EK is in, by your word: then it needs no EK certificate. Final for that EK.
    #[arg(long, value_enum, requires = "ek")]
    pub(crate) vouch: Option<KindName>,
    /// The manufacturer's IAK it proves itself by: its certificate, a public key or a TPMT_PUBLIC, as a file; or the SHA-256
    /// of the SubjectPublicKeyInfo in hex.
    #[arg(long)]
    pub(crate) iak: Option<String>,
    /// Bind the first genuine TPM that claims this name within this time, for example `2h`.
    #[arg(long, value_parser = words::duration)]
    pub(crate) first_contact: Option<i64>,
    /// DNS name for `service` certificates; may be repeated.
    #[arg(long)]
    pub(crate) dns: Vec<String>,
    /// SPIFFE id for `service` certificates.
    #[arg(long)]
    pub(crate) spiffe: Option<String>,
    /// Lot.
    #[arg(long)]
    pub(crate) batch: Option<String>,
    /// Why, for the record.
    #[arg(long)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `ca-cli device find`.
#[derive(Args)]
pub(crate) struct Find {
    /// Part of the name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Lot.
    #[arg(long)]
    pub(crate) batch: Option<String>,
    /// TPM manufacturer, for example `IFX` or `id:49465800`.
    #[arg(long)]
    pub(crate) tpm_vendor: Option<String>,
    /// TPM model, as its EK certificate writes it, for example `SLB9672`.
    #[arg(long)]
    pub(crate) tpm_model: Option<String>,
    /// TPM firmware: <, <=, =, >= or > and a version, for example `<16.13`; `=16` is every 16.x.
    #[arg(long, value_parser = FirmwareRule::from_text)]
    pub(crate) tpm_fw: Option<FirmwareRule>,
    /// A certificate of it ends before this day.
    #[arg(long, value_parser = words::time)]
    pub(crate) expires_before: Option<i64>,
    /// Most rows to show.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// Every row, page after page: a list to act on.
    #[arg(long, conflicts_with_all = ["limit", "cursor"])]
    pub(crate) all: bool,
    /// Cursor of the next page, as the page before printed it.
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `ca-cli device hold` and `release`.
#[derive(Args)]
pub(crate) struct DeviceHold {
    /// Name.
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    pub(crate) name: Option<String>,
    /// File with names, one on a line (of CSV the first column counts), or the JSON of `device find`; `-` is standard
    /// input.
    #[arg(long)]
    pub(crate) from: Option<PathBuf>,
    /// Why, for the record.
    #[arg(long)]
    pub(crate) reason: String,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many devices this is about, as --dry-run counted; else it is asked above 100.
    #[arg(long, value_name = "N")]
    pub(crate) yes_count: Option<usize>,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// `ca-cli device renew`.
#[derive(Args)]
pub(crate) struct DeviceRenew {
    /// Name.
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    pub(crate) name: Option<String>,
    /// A list of devices: a file with a name at the start of each line, or what `ca-cli device find -o json` printed;
    /// `-` is standard input.
    #[arg(long)]
    pub(crate) from: Option<PathBuf>,
    /// Why, for the record.
    #[arg(long)]
    pub(crate) reason: String,
    /// Each at a moment of its own within this time, so that they do not come together; at most 30 days.
    #[arg(long, default_value = "1h", value_parser = words::duration)]
    pub(crate) within: i64,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many devices this is about, as --dry-run counted; else it is asked above 100.
    #[arg(long, value_name = "N")]
    pub(crate) yes_count: Option<usize>,
    #[command(flatten)]
    pub(crate) admin: Admin,
}
