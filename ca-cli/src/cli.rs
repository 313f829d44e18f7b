//! The command tree.

#[cfg(feature = "online")]
pub(crate) mod audit;
pub(crate) mod ceremony;
pub(crate) mod certificate;
#[cfg(feature = "online")]
pub(crate) mod crl;
pub(crate) mod custody;
#[cfg(feature = "online")]
pub(crate) mod db;
#[cfg(feature = "online")]
pub(crate) mod device;
pub(crate) mod hsm;
pub(crate) mod issuer;
pub(crate) mod ledger;
#[cfg(feature = "online")]
pub(crate) mod manifest;
#[cfg(feature = "online")]
pub(crate) mod policy;
#[cfg(feature = "online")]
pub(crate) mod replacement;
#[cfg(feature = "online")]
pub(crate) mod review;
#[cfg(feature = "online")]
pub(crate) mod revocation;
pub(crate) mod trust;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use wire::Exit;

#[cfg(feature = "online")]
pub(crate) use revocation::Which;

use crate::output::{Format, Style};

/// Exit codes, printed under the help text: every one but that of the server.
fn exit_codes() -> String {
    let ours = Exit::ALL.into_iter().filter(|e| !matches!(e, Exit::Refuses));
    Exit::table(&ours.collect::<Vec<_>>())
}

fn after_help() -> String {
    format!(
        "Examples:\n  ca-cli init\n  ca-cli verify device.pem --trust root.pem\n  ca-cli cert inspect device.pem\n\n{}",
        exit_codes()
    )
}

/// Holdfast for people: rehearsals, devices, verification.
#[derive(Parser)]
#[command(name = "ca-cli", version, after_help = after_help(), propagate_version = true)]
pub(crate) struct Cli {
    /// How to print data.
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "table",
        env = "HOLDFAST_OUTPUT"
    )]
    output: Format,
    /// Never ask: take the default, or stop with 9 where there is none.
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    pub(crate) fn style(&self) -> Style {
        Style::new(self.output)
    }
}

/// The nouns.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a rehearsal hierarchy on a software token: root, issuing CA, server certificate, server.toml.
    #[command(after_help = "\
Examples:
  ca-cli init                                 questions, each with a default
  ca-cli init --dir demo --no-input           all defaults
  ca-cli init --dir demo --answers init.toml  answers from a file
The answers of every run are kept in DIR/answers.toml, for --answers.")]
    Init(Init),
    /// Root key ceremonies: planned, rehearsed, held offline by several people, provable afterwards.
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli ceremony new --kind root --name example-root-r1 > root.toml
  ca-cli ceremony rehearse root.toml --dir rehearsal
  ca-cli ceremony verify cer-2026-12.tar"
    )]
    Ceremony(ceremony::CeremonyCommand),
    /// The issuing CA of this machine, and the ceremony that certifies it.
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli issuer request --module M --token issuing --id 01 --label issuing-1 \\
    --organization Example --common-name 'Example Issuing 1A' --out issuing.csr
  ca-cli issuer import cer-2026-12.tar --request issuing.csr --module M \\
    --token issuing --id 01 --label issuing-1 --to ca"
    )]
    Issuer(issuer::IssuerCommand),
    /// Look into certificates.
    #[command(subcommand, after_help = "Examples:\n  ca-cli cert inspect device.pem")]
    Cert(certificate::CertCommand),
    /// Verify a certificate: chain, validity, binding to a root of trust, assurance level.
    #[command(after_help = "\
Examples:
  ca-cli verify device.pem --trust root.pem
  ca-cli verify device.pem --trust root.pem --untrusted ca.pem --level virtual
  ca-cli verify device.pem --trust root.pem --ek-certificate ek.der -o json
  ca-cli verify device.pem --trust root.pem --untrusted ca.pem --crl 7.crl
  ca-cli verify device.pem --bundle device.bundle.tar --trust trust
A rehearsal passes with --rehearsal only.")]
    Verify(certificate::Verify),
    /// Whom we believe about roots of trust.
    #[command(
        subcommand,
        after_help = "Examples:\n  ca-cli trust tpm list\n  ca-cli trust tpm try ek.der"
    )]
    Trust(trust::TrustCommand),
    /// The inventory of devices.
    #[cfg(feature = "online")]
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli device allow GW-7F3K-00412 --ek ek.pem
  ca-cli device find
  ca-cli device tree GW-7F3K-00412"
    )]
    Device(device::DeviceCommand),
    /// TPMs that are to be replaced: what one person asked for, and another decides.
    #[cfg(feature = "online")]
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli device replace-tpm GW-7F3K-00412 --ek new.pem --reason 'board swap'
  ca-cli replacement list
  ca-cli replacement approve 7"
    )]
    Replacement(replacement::ReplacementCommand),
    /// TPMs whose vendor nobody decided about, and that wait for people.
    #[cfg(feature = "online")]
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli enrollment review
  ca-cli enrollment approve 7 --reason 'EK read on the bench, ticket 12'"
    )]
    Enrollment(review::EnrollmentCommand),
    /// The factory's manifest: which devices a lot has, under one signature.
    #[cfg(feature = "online")]
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli manifest create --lot 2026-47-B --maker 'Example GmbH' \\
    --from lot.csv --out lot.manifest
  ca-cli manifest verify lot.signed --signer manifest-key.pem
  ca-cli manifest import lot.signed"
    )]
    Manifest(manifest::ManifestCommand),
    /// Revoke certificates, for good.
    #[cfg(feature = "online")]
    #[command(after_help = "\
Examples:
  ca-cli revoke 5a0102030405060708090a0b0c0d0e0f --reason superseded
  ca-cli revoke GW-7F3K-00412 --reason keyCompromise --comment 'lost at sea'
  ca-cli device find --batch 2026-47-B --all -o json > list.json
  ca-cli revoke --from list.json --reason keyCompromise --dry-run
  ca-cli revoke --from list.json --reason keyCompromise --yes-count 498
What is revoked already is a success: the same command again goes on where it
stopped. A key of keyCompromise is blocked for ever.")]
    Revoke(revocation::Revoke),
    /// Put certificates on hold: not believed until they are released or revoked.
    #[cfg(feature = "online")]
    #[command(after_help = "\
Examples:
  ca-cli hold GW-7F3K-00412 --comment 'lost in transport'
  ca-cli hold --from list.csv --dry-run")]
    Hold(Which),
    /// Release certificates from their hold.
    #[cfg(feature = "online")]
    #[command(after_help = "Examples:\n  ca-cli release GW-7F3K-00412 --comment 'found again'")]
    Release(Which),
    /// Certificate revocation lists.
    #[cfg(feature = "online")]
    #[command(subcommand, after_help = "Examples:\n  ca-cli crl list\n  ca-cli crl publish")]
    Crl(crl::CrlCommand),
    /// What certificates stand on, and for how long it is kept.
    #[cfg(feature = "online")]
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli evidence erase 5a0102030405060708090a0b0c0d0e0f \\
    --reason 'owner asked, ticket 12'"
    )]
    Evidence(certificate::EvidenceCommand),
    /// The ledger, as a stranger reads it: every certificate, for all to see.
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli ledger head --from http://pki.example.net/ledger --key ledger.vkey
  ca-cli ledger proof device.pem --from /srv/pki/ledger --key ledger.vkey
  ca-cli ledger watch --state seen --from /srv/pki/ledger --key ledger.vkey"
    )]
    Ledger(ledger::LedgerCommand),
    /// The database as a whole: back it up, put it back, check it, move it.
    #[cfg(feature = "online")]
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli db backup --database sqlite:///var/lib/holdfast/ca.db --out ca.backup
  ca-cli db verify --database sqlite:///var/lib/holdfast/ca.db
  ca-cli db move --database sqlite:///var/lib/holdfast/ca.db \\
    --to postgres://ca@db.example.net/ca --to-password-file db.password"
    )]
    Db(db::DbCommand),
    /// Hardware security modules.
    #[command(
        subcommand,
        after_help = "Examples:\n  ca-cli hsm probe --module /usr/lib/softhsm/libsofthsm2.so"
    )]
    Hsm(hsm::HsmCommand),
    /// The audit record; and an audit of the CA, drawn from its ledger.
    #[cfg(feature = "online")]
    #[command(
        subcommand,
        after_help = "Examples:\n  ca-cli audit show\n  ca-cli audit show GW-7F3K-00412\n  ca-cli audit verify 2027.export --trust trust"
    )]
    Audit(audit::AuditCommand),
    /// Try a policy before it is in force.
    #[cfg(feature = "online")]
    #[command(
        subcommand,
        after_help = "Examples:\n  ca-cli policy test --against last:200 --policy new-policy"
    )]
    Policy(policy::PolicyCommand),
    /// Check a running server and this machine; each red line comes with what to do.
    #[cfg(feature = "online")]
    #[command(after_help = "\
Examples:
  ca-cli doctor
  ca-cli doctor --admin /run/holdfast/admin.sock -o json")]
    Doctor(Admin),
    /// Print a completion script.
    #[command(after_help = "Examples:\n  ca-cli completion bash > /etc/bash_completion.d/ca-cli")]
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write a man page for each command.
    #[command(after_help = "Examples:\n  ca-cli man /usr/local/share/man/man1")]
    Man {
        /// Folder to write to.
        dir: PathBuf,
    },
}

/// `ca-cli init`.
#[derive(Args)]
pub(crate) struct Init {
    /// Folder to make; it must not hold a hierarchy already.
    #[arg(long, default_value = "holdfast")]
    pub(crate) dir: PathBuf,
    /// Answers as TOML instead of questions.
    #[arg(long)]
    pub(crate) answers: Option<PathBuf>,
}

/// How to reach a server's administration socket.
#[derive(Args, Clone)]
pub(crate) struct Admin {
    /// Administration socket of the server; the peer's uid is the identity.
    #[arg(long, default_value = "/run/holdfast/admin.sock", env = "HOLDFAST_ADMIN_SOCKET")]
    pub(crate) admin: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Every command with its path, the root included.
    fn commands() -> Vec<(String, clap::Command)> {
        let mut root = Cli::command();
        root.build();
        let mut open = vec![("ca-cli".to_owned(), root)];
        let mut found = Vec::new();
        while let Some((path, command)) = open.pop() {
            let below = command.get_subcommands().filter(|c| c.get_name() != "help");
            open.extend(below.map(|c| (format!("{path} {}", c.get_name()), c.clone())));
            found.push((path, command));
        }
        found
    }

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_option_takes_a_secret() {
        for (path, command) in commands() {
            for argument in command.get_arguments() {
                let name = argument.get_id().as_str();
                let secret = ["pin", "password", "passphrase", "secret", "token", "auth"]
                    .iter()
                    .any(|word| name.split(['-', '_']).any(|part| part == *word));
                // A PKCS#11 token, by its label.
                let label = argument.get_value_names().is_some_and(|names| names == ["LABEL"]);
                assert!(
                    !secret || label || name.ends_with("_file") || name.ends_with("_fd"),
                    "{path} --{name}"
                );
                let env = argument.get_env().map(|e| e.to_string_lossy().to_ascii_uppercase());
                assert!(
                    !env.is_some_and(|e| e.contains("PIN") || e.contains("PASS")),
                    "{path} --{name}"
                );
            }
        }
    }

    #[test]
    fn every_long_help_is_plain_and_has_examples() {
        for (path, mut command) in commands() {
            let help = command.render_long_help().to_string();
            assert!(help.is_ascii(), "{path}: a terminal without UTF-8 has help too");
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(after.lines().all(|l| l.chars().count() <= 80), "{path}: {after}");
            let (_, examples) = help
                .split_once("Examples:\n")
                .unwrap_or_else(|| panic!("{path}: no Examples"));
            assert!(examples.starts_with("  ca-cli "), "{path}: {examples}");
        }
    }
}
