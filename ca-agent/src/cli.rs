//! The command tree.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wire::Exit;

use crate::tpm::{EkChoice, KeyAlg, Tcti};

/// The device side of Holdfast: proves keys in this device's TPM to a CA, and keeps what the CA certifies.
#[derive(Debug, Parser)]
#[command(
    name = "ca-agent",
    version,
    propagate_version = true,
    after_help = exit_codes()
)]
pub struct Cli {
    /// How the TPM is reached: device:/dev/tpmrm0, swtpm:host=127.0.0.1,port=2321, tabrmd:bus_type=system.
    #[arg(long, global = true, default_value = "device:/dev/tpmrm0", env = "CA_AGENT_TCTI")]
    pub tcti: String,
    /// Where keys and certificates are kept, mode 0700.
    #[arg(
        long,
        global = true,
        default_value = "/var/lib/holdfast-agent",
        env = "CA_AGENT_STATE_DIR"
    )]
    pub state_dir: PathBuf,
    /// How to print data.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Format,
    /// File with the password of the TPM's owner hierarchy, when one was set.
    #[arg(long, global = true)]
    pub owner_auth_file: Option<PathBuf>,
    /// File with the password of the TPM's endorsement hierarchy, when one was set.
    #[arg(long, global = true)]
    pub endorsement_auth_file: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The ones this program ends with.
fn exit_codes() -> String {
    let ours = Exit::ALL.into_iter().filter(|e| e.code() <= Exit::TryAgain.code());
    Exit::table(&ours.collect::<Vec<_>>())
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: one JSON value with a `schema` member.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show who this device is to a CA: endorsement key hash, vendor, firmware. Changes nothing.
    #[command(after_help = "Examples:\n  ca-agent identify\n  ca-agent identify --qr\n  ca-agent identify -o json")]
    Identify {
        /// Also show the hash as a QR code.
        #[arg(long)]
        qr: bool,
        /// Which endorsement, when there are several.
        #[arg(long, value_enum, default_value = "auto")]
        ek: EkChoice,
    },
    /// Prove this TPM's keys to a CA and store the certificates. Run again, it goes on where it stopped.
    #[command(after_help = "\
Examples:
  ca-agent enroll --server https://ca.example:8443 --root-sha256 2374…799f --device GW-7F3K-00412
  ca-agent enroll --server https://ca.example:8443 --root root.pem --profile service
  ca-agent enroll --server https://ca.example:8443 --root root.pem --manufacturer --device GW-7F3K-00412")]
    Enroll(Enroll),
    /// Say where this device stands.
    Status {
        /// In one line, for a console or a script.
        #[arg(long)]
        oneline: bool,
    },
    /// The certificates of this device.
    #[command(subcommand)]
    Cert(CertCommand),
    /// Look for what usually goes wrong; each red line comes with what to do.
    Doctor {
        /// Server to look at, when this device has not enrolled yet.
        #[arg(long)]
        server: Option<String>,
    },
    /// Print a completion script.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `ca-agent enroll`.
#[derive(Debug, Args)]
pub struct Enroll {
    /// URL of the CA.
    #[arg(long)]
    pub server: String,
    /// SHA-256 of the CA's root certificate, hex; pins the CA at first contact.
    #[arg(long, conflicts_with = "root")]
    pub root_sha256: Option<String>,
    /// The CA's root certificate, PEM.
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// Profile of the identity key's certificate.
    #[arg(long, default_value = "device-ldevid", conflicts_with = "manufacturer")]
    pub profile: String,
    /// Profile of the attestation key's certificate, when one is wanted.
    #[arg(long, conflicts_with = "manufacturer")]
    pub attestation_profile: Option<String>,
    /// At the maker of the device: IDevID and IAK in one conversation, keys of the TCG's templates, persistent.
    #[arg(long)]
    pub manufacturer: bool,
    /// Name the CA's inventory should have for this device.
    #[arg(long)]
    pub device: Option<String>,
    /// Which endorsement, when the TPM has several.
    #[arg(long, value_enum, default_value = "auto")]
    pub ek: EkChoice,
    /// Identity key: p-256, p-384, rsa-2048, rsa-3072.
    #[arg(long, default_value = "p-256")]
    pub key_alg: KeyAlg,
    /// Attestation key: p-256, p-384, rsa-2048[:rsassa|:rsapss], rsa-3072[…].
    #[arg(long, default_value = "p-256")]
    pub ak_alg: KeyAlg,
    /// Also keep the identity key in the TPM at this handle, for example 0x81000100. With --manufacturer: instead of
    /// 0x81020000.
    #[arg(long, value_parser = handle)]
    pub persistent: Option<u32>,
    /// With --manufacturer: where the attestation key goes, instead of 0x81020001.
    #[arg(long, value_parser = handle, requires = "manufacturer")]
    pub ak_handle: Option<u32>,
    /// How long to go on trying while the CA cannot be reached, seconds.
    #[arg(long, default_value_t = 20)]
    pub wait: u64,
}

/// `ca-agent cert …`.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Show the certificates in words.
    Show,
    /// Print the path of the identity key's certificate.
    Path,
}

/// A persistent handle (TPM 2.0 Part 2, 7.5: 81000000 to 81FFFFFF).
fn handle(text: &str) -> Result<u32, String> {
    let digits = text.trim_start_matches("0x");
    let value = u32::from_str_radix(digits, 16).map_err(|_| format!("`{text}` is not a handle in hex"))?;
    if value >> 24 == 0x81 {
        Ok(value)
    } else {
        Err(format!("`{text}` is not a persistent handle (0x81......)"))
    }
}

impl Cli {
    /// The TCTI, read.
    ///
    /// # Errors
    /// As [`Tcti`]'s `FromStr`.
    pub fn tcti(&self) -> Result<Tcti, crate::tpm::NotATcti> {
        self.tcti.parse()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_tree_is_sound_and_takes_no_secret_value() {
        super::Cli::command().debug_assert();
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let secret = ["pin", "password", "secret", "auth"].iter().any(|w| name.contains(w));
                assert!(
                    !secret || name.ends_with("_file"),
                    "--{name} would take a secret on the command line"
                );
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&super::Cli::command());
    }

    #[test]
    fn handles_are_persistent_ones() {
        assert_eq!(super::handle("0x81020000"), Ok(0x8102_0000));
        for bad in ["0x80000000", "81", "0x8102000g", "", "0x1810200000"] {
            assert!(super::handle(bad).is_err(), "{bad}");
        }
    }
}
