//! The command tree.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use wire::Exit;

use crate::tpm::{EkChoice, KeyAlg};
use crate::values::{Handle, Wait};

/// Heading of the flags that every command takes.
const COMMON: &str = "For every command";

/// The device side of Holdfast: proves keys in this device's TPM to a CA, and keeps what the CA certifies.
#[derive(Debug, Parser)]
#[command(
    name = "ca-agent",
    version,
    propagate_version = true,
    after_help = exit_codes(),
    after_long_help = long_help()
)]
pub struct Cli {
    /// Configuration [default: /etc/holdfast/agent.toml, when it is there].
    #[arg(long, global = true, help_heading = COMMON, value_name = "FILE", env = "CA_AGENT_CONFIG")]
    pub config: Option<PathBuf>,
    /// How the TPM is reached: device:/dev/tpmrm0 (default), swtpm:host=127.0.0.1,port=2321, tabrmd:bus_type=system.
    #[arg(long, global = true, help_heading = COMMON, env = "CA_AGENT_TCTI")]
    pub tcti: Option<String>,
    /// Where keys and certificates are kept, mode 0700 [default: /var/lib/holdfast-agent].
    #[arg(long, global = true, help_heading = COMMON, value_name = "DIR", env = "CA_AGENT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// How to print data.
    #[arg(
        short,
        long,
        global = true, help_heading = COMMON,
        value_enum,
        value_name = "FORMAT",
        default_value = "table",
        env = "HOLDFAST_OUTPUT"
    )]
    pub output: Format,
    /// Print nothing but the answer: a hash, a name, a word.
    #[arg(short, long, global = true, help_heading = COMMON)]
    pub quiet: bool,
    /// Tell what happens, on standard error; twice: in detail. RUST_LOG says it more finely.
    #[arg(short, long, global = true, help_heading = COMMON, action = ArgAction::Count)]
    pub verbose: u8,
    /// Never ask. This program never does; for scripts that say it to every command of the house.
    #[arg(long, global = true, help_heading = COMMON)]
    pub no_input: bool,
    /// File with the password of the TPM's owner hierarchy, when one was set.
    #[arg(long, global = true, help_heading = COMMON, value_name = "FILE")]
    pub owner_auth_file: Option<PathBuf>,
    /// File with the password of the TPM's endorsement hierarchy, when one was set.
    #[arg(long, global = true, help_heading = COMMON, value_name = "FILE")]
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

fn long_help() -> String {
    format!(
        "Examples:\n  ca-agent identify\n  ca-agent enroll --server https://ca:8443 --root root.pem\n  \
         ca-agent status --oneline\n\nA flag counts before the environment, the environment before agent.toml, \
         agent.toml before the\ndefault. In agent.toml a flag is a key, with underscores.\n\n{}",
        exit_codes()
    )
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
        /// Which endorsement, when there are several [default: auto].
        #[arg(long, value_enum)]
        ek: Option<EkChoice>,
    },
    /// Prove this TPM's keys to a CA and store the certificates. Run again, it goes on where it stopped.
    #[command(after_help = "\
Examples:
  ca-agent enroll --server https://ca:8443 --root-sha256 2374...799f
  ca-agent enroll                       all in agent.toml, or as before
  ca-agent enroll --server https://ca:8443 --root root.pem --profile service
  ca-agent enroll --server https://ca:8443 --root root.pem --manufacturer
  ca-agent enroll --server https://ca:8443 --root root.pem --via iak --iak-dir /var/lib/holdfast-maker")]
    Enroll(Enroll),
    /// Renew the certificate once two thirds of its life have passed: shown in TLS, and proven by the TPM again.
    #[command(after_help = "\
Examples:
  ca-agent renew                        does nothing before it is due
  ca-agent renew --force --rekey
  ca-agent renew -o json")]
    Renew(Renew),
    /// Enroll and renew by itself, for as long as it runs; tells systemd where it stands.
    #[command(after_help = "Examples:\n  ca-agent run\n  ca-agent run --hooks /etc/holdfast/renew.d")]
    Run {
        /// Folder of the programs that are run after a change [default: /etc/holdfast/renew.d].
        #[arg(long, value_name = "DIR")]
        hooks: Option<PathBuf>,
    },
    /// Say where this device stands, from its own memory: no TPM, no server is asked.
    #[command(after_help = "\
Examples:
  ca-agent status
  ca-agent status --oneline
  ca-agent status -o json")]
    Status {
        /// In one line, for a console or a script.
        #[arg(long)]
        oneline: bool,
    },
    /// The certificates of this device.
    #[command(subcommand, after_help = "Examples:\n  ca-agent cert show\n  ca-agent cert path")]
    Cert(CertCommand),
    /// Look for what usually goes wrong; each red line comes with what to do.
    #[command(after_help = "\
Examples:
  ca-agent doctor
  ca-agent doctor --server https://ca.example:8443
  ca-agent doctor -o json")]
    Doctor {
        /// Server to look at, instead of the one this device enrolled with.
        #[arg(long, value_name = "URL", env = "CA_AGENT_SERVER")]
        server: Option<String>,
    },
    /// Print a completion script.
    #[command(after_help = "Examples:\n  ca-agent completion bash > /etc/bash_completion.d/ca-agent")]
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// `ca-agent enroll`.
#[derive(Debug, Default, Args)]
pub struct Enroll {
    /// URL of the CA.
    #[arg(long, value_name = "URL", env = "CA_AGENT_SERVER")]
    pub server: Option<String>,
    /// SHA-256 of the CA's root certificate, hex; pins the CA at first contact.
    #[arg(long, value_name = "HEX", conflicts_with = "root")]
    pub root_sha256: Option<String>,
    /// The CA's root certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub root: Option<PathBuf>,
    /// Profile of the identity key's certificate [default: device-ldevid].
    #[arg(long, value_name = "NAME", conflicts_with = "manufacturer")]
    pub profile: Option<String>,
    /// Profile of the attestation key's certificate, when one is wanted.
    #[arg(long, value_name = "NAME", conflicts_with = "manufacturer")]
    pub attestation_profile: Option<String>,
    /// At the maker of the device: IDevID and IAK in one conversation, keys of the TCG's templates, persistent.
    #[arg(long)]
    pub manufacturer: bool,
    /// Name the CA's inventory should have for this device.
    #[arg(long, value_name = "NAME", env = "CA_AGENT_DEVICE")]
    pub device: Option<String>,
    /// Also while a certificate lives: the CA gives back the newest one of the same key.
    #[arg(long)]
    pub again: bool,
    /// What the proof stands on: the endorsement key (ek), or the manufacturer's IAK (iak), at a CA that believes him
    /// [default: as before, else ek].
    #[arg(long, value_enum, conflicts_with = "manufacturer")]
    pub via: Option<Via>,
    /// With --via iak: where the manufacturer's papers are, the state directory of `enroll --manufacturer` [default: as
    /// before].
    #[arg(long, value_name = "DIR")]
    pub iak_dir: Option<PathBuf>,
    /// Which endorsement, when the TPM has several [default: auto].
    #[arg(long, value_enum)]
    pub ek: Option<EkChoice>,
    /// Identity key: p-256 (default), p-384, rsa-2048, rsa-3072.
    #[arg(long, value_name = "ALG")]
    pub key_alg: Option<KeyAlg>,
    /// Attestation key: p-256 (default), p-384, rsa-2048[:rsassa|:rsapss], rsa-3072[...].
    #[arg(long, value_name = "ALG")]
    pub ak_alg: Option<KeyAlg>,
    /// Also keep the identity key in the TPM at this handle, for example 0x81000100. With --manufacturer: instead of
    /// 0x81020000.
    #[arg(long, value_name = "HANDLE")]
    pub persistent: Option<Handle>,
    /// With --manufacturer: where the attestation key goes, instead of 0x81020001.
    #[arg(long, value_name = "HANDLE")]
    pub ak_handle: Option<Handle>,
    /// How long to go on trying while the CA cannot be reached: 90s, 10m, or seconds [default: 20].
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Wait>,
}

/// What a proof stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The endorsement key, which its vendor certified.
    Ek,
    /// The IAK, which the manufacturer of the device certified.
    Iak,
}

/// `ca-agent renew`.
#[derive(Debug, Default, Args)]
pub struct Renew {
    /// Also before it is due.
    #[arg(long)]
    pub force: bool,
    /// On a new key, made in the same TPM (of the kind --key-alg or [enroll] says).
    #[arg(long)]
    pub rekey: bool,
    /// With --rekey: p-256 (default), p-384, rsa-2048, rsa-3072.
    #[arg(long, value_name = "ALG", requires = "rekey")]
    pub key_alg: Option<KeyAlg>,
    /// Folder of the programs that are run after the change [default: /etc/holdfast/renew.d].
    #[arg(long, value_name = "DIR")]
    pub hooks: Option<PathBuf>,
    /// How long to go on trying while the CA cannot be reached: 90s, 10m, or seconds [default: 20].
    #[arg(long, value_name = "TIME")]
    pub wait: Option<Wait>,
}

/// `ca-agent cert ...`.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Show the certificates in words.
    #[command(after_help = "Examples:\n  ca-agent cert show\n  ca-agent cert show -o json")]
    Show,
    /// Print the path of the identity key's certificate.
    #[command(after_help = "Examples:\n  openssl x509 -noout -text -in \"$(ca-agent cert path)\"")]
    Path,
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

    /// Every command with its path, the root included.
    fn commands() -> Vec<(String, clap::Command)> {
        let mut root = super::Cli::command();
        root.build();
        let mut open = vec![("ca-agent".to_owned(), root)];
        let mut found = Vec::new();
        while let Some((path, command)) = open.pop() {
            let below = command.get_subcommands().filter(|c| c.get_name() != "help");
            open.extend(below.map(|c| (format!("{path} {}", c.get_name()), c.clone())));
            found.push((path, command));
        }
        found
    }

    #[test]
    fn every_long_help_is_plain_and_has_examples() {
        for (path, mut command) in commands() {
            let help = command.render_long_help().to_string();
            assert!(help.is_ascii(), "{path}: a terminal without UTF-8 has help too");
            let (_, examples) = help
                .split_once("Examples:\n")
                .unwrap_or_else(|| panic!("{path}: no Examples"));
            assert!(
                examples.starts_with("  ") && examples.contains("ca-agent "),
                "{path}: {examples}"
            );
        }
        assert_eq!(commands().len(), 11);
    }
}
