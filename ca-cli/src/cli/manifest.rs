//! `ca-cli manifest …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Admin;
use super::issuer::IssuerKey;

/// The factory's manifest: which devices a lot has, under one signature.
#[derive(Subcommand)]
pub(crate) enum ManifestCommand {
    /// Make a manifest, not signed yet: from a table, or from a lot of this CA's inventory.
    #[command(after_help = "\
Examples:
  ca-cli manifest create --lot 2026-47-B --maker 'Example GmbH' \\
    --from lot.csv --out lot.manifest
  ca-cli manifest create --lot 2026-47-B --maker 'Example GmbH' \\
    --inventory --model GW-7 --out lot.manifest
The first line of the table names its columns: serial, model, ek, and, where
wanted, was and certificates. Several values of a column stand between `;`.
  ek, was       a hash as `ca-agent identify` prints it, or a file, as
                `ca-cli device allow --ek` takes it
  certificates  PROFILE=FILE")]
    Create(Create),
    /// Make the key that signs manifests, unless it is there, and write its public half.
    #[command(after_help = "\
Examples:
  ca-cli manifest key --module M --token factory --id 0a \\
    --label manifest-1 --pin-file factory.pin --out manifest-key.pem
Never a CA's key: this one signs manifests and nothing else.")]
    Key {
        #[command(flatten)]
        key: IssuerKey,
        /// The public key to write, PEM.
        #[arg(long)]
        out: PathBuf,
    },
    /// Read a manifest whole, then sign it in the HSM.
    #[command(after_help = "\
Examples:
  ca-cli manifest sign lot.manifest --out lot.signed --module M \\
    --token factory --id 0a --label manifest-1 --pin-file factory.pin")]
    Sign {
        /// The manifest, as `create` wrote it.
        file: PathBuf,
        /// The signed manifest to write.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        key: IssuerKey,
    },
    /// Verify a manifest: every line, order, duplicates, root, signature. Needs no network and no CA.
    #[command(after_help = "\
Examples:
  ca-cli manifest verify lot.signed --signer manifest-key.pem
  ca-cli manifest verify lot.signed --signer-sha256 9f86d081...
  ca-cli manifest verify --proof GW-00412.proof --signer manifest-key.pem")]
    Verify {
        /// The signed manifest.
        #[arg(required_unless_present = "proof", conflicts_with = "proof")]
        file: Option<PathBuf>,
        /// Instead of a manifest: the proof of one device, as `prove` wrote it.
        #[arg(long)]
        proof: Option<PathBuf>,
        #[command(flatten)]
        signer: Signer,
    },
    /// Show one device of a signed manifest without the others: a small file that `verify --proof` checks.
    #[command(after_help = "\
Examples:
  ca-cli manifest prove lot.signed --device GW-00412 --out GW-00412.proof
It has the device's line, the first line, the paths from both to the root, and
the signature of the root.")]
    Prove {
        /// The signed manifest.
        file: PathBuf,
        /// Serial of the device.
        #[arg(long)]
        device: String,
        /// The proof to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Let a server expect the devices of a manifest. Begun again, it goes on where it stopped.
    #[command(after_help = "\
Examples:
  ca-cli manifest import lot.signed
  ca-cli manifest import lot.signed --all-or-nothing
The server believes the keys in [manifests] signers of server.toml, and reads
every line itself. Nothing is expected before the last line was read.")]
    Import(Import),
    /// List the manifests that a server has.
    #[command(after_help = "Examples:\n  ca-cli manifest list")]
    List {
        #[command(flatten)]
        admin: Admin,
    },
    /// Show one: whose it is, how far it got, which lines were refused.
    #[command(after_help = "Examples:\n  ca-cli manifest show 3")]
    Show {
        /// Its number.
        id: u32,
        #[command(flatten)]
        admin: Admin,
    },
    /// Take a manifest back: its devices that have not come yet are not expected any more.
    #[command(after_help = "Examples:\n  ca-cli manifest withdraw 3 --reason 'lot was stolen'")]
    Withdraw {
        /// Its number.
        id: u32,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        admin: Admin,
    },
}

/// `ca-cli manifest create`.
#[derive(Args)]
pub(crate) struct Create {
    /// Name of the lot; a signer names a lot once.
    #[arg(long)]
    pub(crate) lot: String,
    /// Who makes the devices, or hands them on.
    #[arg(long)]
    pub(crate) maker: String,
    /// For whom.
    #[arg(long)]
    pub(crate) to: Option<String>,
    /// What is said about the devices.
    #[arg(long, value_enum, default_value = "lot")]
    pub(crate) kind: KindArg,
    /// The table.
    #[arg(long, required_unless_present = "inventory", conflicts_with = "inventory")]
    pub(crate) from: Option<PathBuf>,
    /// The devices of this lot in the server's inventory, with what they were issued and is good.
    #[arg(long, requires = "model")]
    pub(crate) inventory: bool,
    /// Model of the devices, where a line of the table has none.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// The manifest to write.
    #[arg(long)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// What a manifest says about its devices.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KindArg {
    /// They are new.
    Lot,
    /// They change hands: same serials, same EKs.
    Transfer,
    /// They were repaired: same serials, other EKs; `was` names those that went.
    Repair,
}

impl From<KindArg> for manifest::Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Lot => Self::Lot,
            KindArg::Transfer => Self::Transfer,
            KindArg::Repair => Self::Repair,
        }
    }
}

/// Whose word counts.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Signer {
    /// Public key of the maker, PEM or DER.
    #[arg(long)]
    pub(crate) signer: Option<PathBuf>,
    /// SHA-256 of that key (SubjectPublicKeyInfo, DER), hex.
    #[arg(long)]
    pub(crate) signer_sha256: Option<String>,
}

/// `ca-cli manifest import`.
#[derive(Args)]
pub(crate) struct Import {
    /// The signed manifest.
    pub(crate) file: PathBuf,
    /// One bad line, and no device of the manifest is expected.
    #[arg(long)]
    pub(crate) all_or_nothing: bool,
    #[command(flatten)]
    pub(crate) admin: Admin,
}
