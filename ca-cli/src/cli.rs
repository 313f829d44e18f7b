//! The command tree.

#[cfg(feature = "online")]
pub(crate) mod audit;
pub(crate) mod ceremony;
#[cfg(feature = "online")]
pub(crate) mod crl;
pub(crate) mod custody;
#[cfg(feature = "online")]
pub(crate) mod db;
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
use issuance::SignatureAlgorithm;
use wire::Exit;
use wire::firmware::FirmwareRule;

#[cfg(feature = "online")]
pub(crate) use revocation::Which;

use crate::cli::trust::KindName;
use crate::output::{Format, Style};
use crate::words;

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
    Cert(CertCommand),
    /// Verify a certificate: chain, validity, binding to a root of trust, assurance level.
    #[command(after_help = "\
Examples:
  ca-cli verify device.pem --trust root.pem
  ca-cli verify device.pem --trust root.pem --untrusted ca.pem --level virtual
  ca-cli verify device.pem --trust root.pem --ek-certificate ek.der -o json
  ca-cli verify device.pem --trust root.pem --untrusted ca.pem --crl 7.crl
  ca-cli verify device.pem --bundle device.bundle.tar --trust trust
A rehearsal passes with --rehearsal only.")]
    Verify(Verify),
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
    Device(DeviceCommand),
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
    Evidence(EvidenceCommand),
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
    Hsm(HsmCommand),
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

/// `ca-cli cert …`.
#[derive(Subcommand)]
pub(crate) enum CertCommand {
    /// Show a certificate in words.
    #[command(after_help = "\
Examples:
  ca-cli cert inspect device.pem
  ca-cli cert inspect device.der -o json
  openssl s_client -connect host:8443 </dev/null | ca-cli cert inspect -")]
    Inspect {
        /// PEM or DER file; `-` is standard input.
        file: PathBuf,
        /// Also show the SHA-256 fingerprint as a QR code.
        #[arg(long)]
        qr: bool,
    },
    /// Where a certificate of ours stands, and every step it took there.
    #[cfg(feature = "online")]
    #[command(after_help = "Examples:\n  ca-cli cert status 5a0102030405060708090a0b0c0d0e0f")]
    Status {
        /// Serial number (hex).
        serial: String,
        #[command(flatten)]
        admin: Admin,
    },
    /// Take out what a certificate stands on, as one archive that outlives the server.
    #[cfg(feature = "online")]
    #[command(after_help = "\
Examples:
  ca-cli cert bundle 5a0102030405060708090a0b0c0d0e0f --out device.bundle.tar
  ca-cli verify device.pem --bundle device.bundle.tar --trust trust
It holds the EK certificate: keep it as you keep serial numbers of people.")]
    Bundle {
        /// Serial number (hex).
        serial: String,
        /// Write it here; a file that is there stays.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        admin: Admin,
    },
}

/// `ca-cli evidence …`.
#[cfg(feature = "online")]
#[derive(Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Erase the evidence of certificates none of which is good any more.
    #[command(after_help = "\
Examples:
  ca-cli evidence erase 5a0102030405060708090a0b0c0d0e0f \\
    --reason 'owner asked, ticket 12'
Its digests stay, in the certificate and in the ledger, which stays provable.
There is no way back. Exit 5: a certificate that is good stands on it.")]
    Erase {
        /// Serial number (hex) of a certificate that stood on it.
        serial: String,
        /// Why, for the record.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        admin: Admin,
    },
}

/// `ca-cli verify`.
#[derive(Args)]
pub(crate) struct Verify {
    /// Certificate to verify, PEM or DER; `-` is standard input. Further certificates in it are path material.
    pub(crate) file: PathBuf,
    /// Whom to trust: root certificates, PEM or DER; or a folder or zip with `ca/`, `tpm/` (TPM vendors' roots), `ledger/` (keys).
    #[arg(long, required = true)]
    pub(crate) trust: Vec<PathBuf>,
    /// Evidence bundle of the certificate: every check of its enrollment is made again.
    #[arg(long)]
    pub(crate) bundle: Option<PathBuf>,
    /// Issuing CA certificates, PEM or DER.
    #[arg(long)]
    pub(crate) untrusted: Vec<PathBuf>,
    /// Lowest assurance level to accept.
    #[arg(long, value_enum, default_value = "hardware-verified")]
    pub(crate) level: Level,
    /// EK certificate of the device's TPM: must be the one the certificate names.
    #[arg(long)]
    pub(crate) ek_certificate: Option<PathBuf>,
    /// CRL of the issuing CA, PEM or DER; may be repeated: one of them must speak for the certificate, now.
    #[arg(long)]
    pub(crate) crl: Vec<PathBuf>,
    /// Verify as of this time, for example `2027-02-20` or `2027-02-20T10:00:00Z`.
    #[arg(long, value_parser = words::time)]
    pub(crate) at: Option<i64>,
    /// Accept outputs of a rehearsal. Never in production.
    #[arg(long)]
    pub(crate) rehearsal: bool,
    /// Print the clause behind each check.
    #[arg(long)]
    pub(crate) explain: bool,
}

/// Assurance levels, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Level {
    /// No binding needed: a service or server certificate will do.
    None,
    /// A software TPM: demonstrations.
    Software,
    /// A virtual TPM.
    Virtual,
    /// Hardware by the word of the device's manufacturer: his IAK certified the key.
    ManufacturerVerified,
    /// Hardware by an administrator's word.
    HardwareAllowlisted,
    /// Hardware by its vendor's certificate.
    HardwareVerified,
}

/// `ca-cli hsm …`.
#[derive(Subcommand)]
pub(crate) enum HsmCommand {
    /// Show slots, tokens, PIN warnings and a verdict per CA key type; with a key, sign and verify a probe.
    #[command(after_help = "\
Examples:
  ca-cli hsm probe --module /usr/lib/softhsm/libsofthsm2.so
  ca-cli hsm probe --module M --uri 'pkcs11:token=issuing;id=%01' \\
    --certificate issuing.pem --pin-file issuing.pin
  ca-cli hsm probe --module M --uri 'pkcs11:token=issuing;id=%01' \\
    --certificate issuing.pem --algorithm rsa3072-pss-sha256
A key that may not be a CA's is refused with the list of its attributes.")]
    Probe(HsmProbe),
}

/// `ca-cli hsm probe`.
#[derive(Args)]
pub(crate) struct HsmProbe {
    /// PKCS#11 module.
    #[arg(long)]
    pub(crate) module: PathBuf,
    /// RFC 7512 URI of a key to sign a probe with.
    #[arg(long, requires = "certificate")]
    pub(crate) uri: Option<String>,
    /// CA certificate of that key.
    #[arg(long, requires = "uri")]
    pub(crate) certificate: Option<PathBuf>,
    /// Signature algorithm, as server.toml names it. Without it: the one the certificate is signed with when it is
    /// self-signed, else the server's own default for the key (RSA: PKCS#1 v1.5).
    #[arg(long, requires = "uri", value_parser = algorithm)]
    pub(crate) algorithm: Option<SignatureAlgorithm>,
    /// File with the PIN, mode 0600. Without it the PIN is asked on the terminal.
    #[arg(long, requires = "uri")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Try the PIN although the token warns that wrong ones were tried. Only when you are sure of it.
    #[arg(long, requires = "uri", value_enum, value_name = "WARNING")]
    pub(crate) despite_warning: Option<PinWarning>,
}

/// Warnings of a token that a person may overrule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PinWarning {
    /// A wrong PIN was tried since the last good one.
    CountLow,
    /// One more wrong PIN locks the token.
    FinalTry,
}

fn algorithm(name: &str) -> Result<SignatureAlgorithm, String> {
    let names = SignatureAlgorithm::ALL.map(SignatureAlgorithm::as_str);
    SignatureAlgorithm::from_text(name).ok_or_else(|| format!("one of {}", names.join(", ")))
}

/// How to reach a server's administration socket.
#[derive(Args, Clone)]
pub(crate) struct Admin {
    /// Administration socket of the server; the peer's uid is the identity.
    #[arg(long, default_value = "/run/holdfast/admin.sock", env = "HOLDFAST_ADMIN_SOCKET")]
    pub(crate) admin: PathBuf,
}

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
