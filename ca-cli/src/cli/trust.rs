//! `ca-cli trust …`.

use std::path::PathBuf;

use attest::AnchorKind;
use clap::{ArgGroup, Args, Subcommand};

use crate::words;

/// `ca-cli trust …`.
#[derive(Subcommand)]
pub(crate) enum TrustCommand {
    /// CAs of TPM vendors: trusted, known, unknown, refused.
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli trust tpm import vendor-roots/ --source 'vendor.example, 2026-11-23'
  ca-cli trust tpm list --state unknown
  ca-cli trust tpm add b413c715 --kind hardware --manufacturer IFX \\
    --why 'boards of 2026; fingerprint compared with the letter'
  ca-cli trust tpm try ek.der"
    )]
    Tpm(TpmCommand),
    /// CAs of device manufacturers, whose IAK certificates a CA takes as proof: trusted, known, unknown, refused.
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli trust iak import acme-root.pem --source 'letter of 2026-11-23'
  ca-cli trust iak add acme-root.pem --kind hardware --why 'gateways of 2026' \\
    --sha256 5947...
  ca-cli trust iak refuse --key-sha256 HASH --name unit-9 --why 'stolen IAK'"
    )]
    Iak(IakCommand),
    /// The public trust page as files, for any file server: fingerprints, CRLs, how to verify.
    #[cfg(feature = "online")]
    #[command(after_help = "\
Examples:
  ca-cli trust page --from http://127.0.0.1:8080 --out /srv/pki/trust
Byte for byte what the server shows at --from (its status listener), and the
files beside it. Run it again when a CRL, the ledger or a CA has changed.")]
    Page {
        /// Where the server shows it: http://HOST.
        #[arg(long)]
        from: String,
        /// Folder for index.html and trust/; made if it is not there.
        #[arg(long)]
        out: PathBuf,
    },
}

/// `ca-cli trust iak …`.
#[derive(Subcommand)]
pub(crate) enum IakCommand {
    /// List the CAs of the store.
    #[command(after_help = "Examples:\n  ca-cli trust iak list\n  ca-cli trust iak list --state unknown --roots")]
    List {
        /// Only those of this state.
        #[arg(long, value_enum)]
        state: Option<StateName>,
        /// Only those whose name or subject has this in it.
        #[arg(long)]
        name: Option<String>,
        /// Only self-signed ones.
        #[arg(long)]
        roots: bool,
        #[command(flatten)]
        store: IakStoreFile,
    },
    /// Take in CA certificates: a folder, zip, cabinet, PEM or DER. They are unknown until a person decides.
    #[command(after_help = "\
Examples:
  ca-cli trust iak import acme/
  ca-cli trust iak import chain.pem --source 'acme.example, 2026-11-23'")]
    Import {
        /// Folder, archive or file; what it is, is seen from its bytes.
        from: PathBuf,
        /// Where it was taken from, for the record. Without it: the path.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        store: IakStoreFile,
    },
    /// Trust a root, or say with --known that a CA is known and not trusted.
    #[command(after_help = "\
Examples:
  ca-cli trust iak add acme-root.pem --kind hardware --why 'gateways of 2026'
  ca-cli trust iak add 5947aa01 --known --why 'no contract yet'")]
    Add(Box<IakAdd>),
    /// Refuse a CA, or an IAK: by certificate, or by key.
    #[command(after_help = "\
Examples:
  ca-cli trust iak refuse acme-issuing-2 --why 'advisory 2026-7'
  ca-cli trust iak refuse --certificate-sha256 HASH --name unit-9 \\
    --why 'revoked by acme'
  ca-cli trust iak refuse --key-sha256 HASH --name unit-9 --why 'stolen'")]
    Refuse(Box<IakRefuse>),
    /// Write the store as one file for the servers: the same store gives the same bytes.
    #[command(after_help = "\
Examples:
  ca-cli trust iak export manufacturers-7.toml
  ca-cli trust iak export manufacturers-7.toml --sign trust-key.pem")]
    Export {
        /// File to make; it must not exist.
        file: PathBuf,
        /// Sign it with this private key (PEM; ECDSA or RSA): FILE.sig.
        #[arg(long)]
        sign: Option<PathBuf>,
        /// Leave out what nobody decided about.
        #[arg(long)]
        decided: bool,
        #[command(flatten)]
        store: IakStoreFile,
    },
}

/// Which store of device manufacturers.
#[derive(Args, Clone)]
pub(crate) struct IakStoreFile {
    /// The trust store.
    #[arg(long, default_value = "manufacturers.toml", env = "HOLDFAST_MANUFACTURER_STORE")]
    pub(crate) store: PathBuf,
}

/// `ca-cli trust iak add`.
#[derive(Args)]
#[command(group(ArgGroup::new("decision").required(true).args(["kind", "known"])))]
pub(crate) struct IakAdd {
    /// Name in the store, first digits of its SHA-256 (8 or more), or a certificate file.
    pub(crate) ca: String,
    /// Trust it: what kind of TPM its devices have.
    #[arg(long, value_enum)]
    pub(crate) kind: Option<KindName>,
    /// Let pass what has expired at it or below it.
    #[arg(long, conflicts_with = "known")]
    pub(crate) allow_expired: bool,
    /// Known, not trusted: devices below it are refused with that reason.
    #[arg(long)]
    pub(crate) known: bool,
    /// Why, for the record.
    #[arg(long)]
    pub(crate) why: String,
    /// SHA-256 of the certificate by another way: must be that of the CA.
    #[arg(long)]
    pub(crate) sha256: Option<String>,
    /// It was refused, and that is over.
    #[arg(long)]
    pub(crate) lift_refusal: bool,
    #[command(flatten)]
    pub(crate) who: Who,
    #[command(flatten)]
    pub(crate) store: IakStoreFile,
}

/// `ca-cli trust iak refuse`.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["ca", "certificate_sha256", "key_sha256"])))]
pub(crate) struct IakRefuse {
    /// Name in the store, first digits of its SHA-256 (8 or more), or a certificate file.
    pub(crate) ca: Option<String>,
    /// SHA-256 of a certificate: a CA's, or an IAK's.
    #[arg(long, requires = "name")]
    pub(crate) certificate_sha256: Option<String>,
    /// SHA-256 of a SubjectPublicKeyInfo, a CA's or an IAK's: every certificate of that key.
    #[arg(long, requires = "name")]
    pub(crate) key_sha256: Option<String>,
    /// Name for an entry by hash: a-z, 0-9 and -.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Why, for the record.
    #[arg(long)]
    pub(crate) why: String,
    #[command(flatten)]
    pub(crate) who: Who,
    #[command(flatten)]
    pub(crate) store: IakStoreFile,
}

/// `ca-cli trust tpm …`.
#[derive(Subcommand)]
pub(crate) enum TpmCommand {
    /// List the CAs of the store.
    #[command(after_help = "\
Examples:
  ca-cli trust tpm list
  ca-cli trust tpm list --state unknown --name infineon
  ca-cli trust tpm list --roots -o json")]
    List {
        /// Only those of this state.
        #[arg(long, value_enum)]
        state: Option<StateName>,
        /// Only those whose name or subject has this in it.
        #[arg(long)]
        name: Option<String>,
        /// Only self-signed ones.
        #[arg(long)]
        roots: bool,
        #[command(flatten)]
        store: StoreFile,
    },
    /// Take in CA certificates: a folder, zip, cabinet, PEM or DER. They are unknown until a person decides.
    #[command(after_help = "\
Examples:
  ca-cli trust tpm import vendor-roots/
  ca-cli trust tpm import roots.pem --source 'vendor.example, roots.pem'
  ca-cli trust tpm import TrustedTpm.cab --source 'Microsoft, November 2024'
  ca-cli trust tpm import root.pem --store /etc/holdfast/trust/store.toml")]
    Import {
        /// Folder, archive or file; what it is, is seen from its bytes.
        from: PathBuf,
        /// Where it was taken from, for the record. Without it: the path.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        store: StoreFile,
    },
    /// Trust a root, or say with --known that a CA is known and not trusted.
    #[command(after_help = "\
Examples:
  ca-cli trust tpm add b413c715 --kind hardware --manufacturer IFX \\
    --why 'boards of 2026' --by 'A. Person'
  ca-cli trust tpm add root.pem --kind virtual --manufacturer GOOG \\
    --why 'our VMs' --sha256 5947...
  ca-cli trust tpm add amd-root-ca-r4-853d5c5a --known --why 'no AMD boards yet'")]
    Add(Box<Add>),
    /// Refuse a CA: nothing that leads through it or its key is believed, whatever the anchors say.
    #[command(after_help = "\
Examples:
  ca-cli trust tpm refuse b413c715 --why 'key lost, advisory 2026-7'
  ca-cli trust tpm refuse issuing.der --why 'made for tests'
  ca-cli trust tpm refuse --key-sha256 HASH --name lost-key --why 'advisory'")]
    Refuse(Box<Refuse>),
    /// Say of an EK certificate which path, anchor and maker it has here, and every reason against it.
    #[command(after_help = "\
Examples:
  ca-cli trust tpm try ek.der
  ca-cli trust tpm try ek.der --chain issuing.der -o json
  ca-cli trust tpm try ek.der --at 2030-01-01")]
    Try {
        /// EK certificate, PEM or DER; `-` is standard input.
        certificate: PathBuf,
        /// Certificates that the device brings, PEM or DER; may be repeated.
        #[arg(long)]
        chain: Vec<PathBuf>,
        /// As of this time, for example `2027-02-20`.
        #[arg(long, value_parser = words::time)]
        at: Option<i64>,
        #[command(flatten)]
        store: StoreFile,
    },
    /// Write the store as one file for the servers: the same store gives the same bytes.
    #[command(after_help = "\
Examples:
  ca-cli trust tpm export bundle.toml
  ca-cli trust tpm export bundle.toml --decided --sign trust-key.pem")]
    Export {
        /// File to make; it must not exist.
        file: PathBuf,
        /// Sign it with this private key (PEM; ECDSA or RSA): FILE.sig.
        #[arg(long)]
        sign: Option<PathBuf>,
        /// Leave out what nobody decided about.
        #[arg(long)]
        decided: bool,
        #[command(flatten)]
        store: StoreFile,
    },
    /// Fetch the CAs above an EK certificate from where it says that they are: unknown until a person decides.
    #[cfg(feature = "online")]
    #[command(after_help = "\
Examples:
  ca-cli trust tpm fetch ek.der
  ca-cli trust tpm fetch ek.der --host pki.vendor.example
  ca-cli trust tpm fetch ek.der --resolve pki.infineon.com=10.0.0.5:80")]
    Fetch(Box<Fetch>),
    /// CRLs of TPM vendors, as files.
    #[command(
        subcommand,
        after_help = "\
Examples:
  ca-cli trust tpm crl import optiga-ecc-057.crl"
    )]
    Crl(TpmCrlCommand),
    /// Check the signature of an exported store, and that it is not older than another.
    #[command(after_help = "\
Examples:
  ca-cli trust tpm verify bundle.toml --key trust-key.pub
  ca-cli trust tpm verify bundle.toml --key trust-key.pub --after last.toml")]
    Verify {
        /// The store as it was exported; FILE.sig lies beside it.
        file: PathBuf,
        /// Public key that may sign (PEM); may be repeated.
        #[arg(long, required = true)]
        key: Vec<PathBuf>,
        /// The store that is in use: the other must be newer, or the same.
        #[arg(long)]
        after: Option<PathBuf>,
    },
}

/// Which store.
#[derive(Args, Clone)]
pub(crate) struct StoreFile {
    /// The trust store.
    #[arg(long, default_value = "trust.toml", env = "HOLDFAST_TRUST_STORE")]
    pub(crate) store: PathBuf,
}

/// Who decides.
#[derive(Args, Clone)]
pub(crate) struct Who {
    /// Who decides, for the record. Without it: the uid.
    #[arg(long)]
    pub(crate) by: Option<String>,
}

/// `ca-cli trust tpm add`.
#[derive(Args)]
#[command(group(ArgGroup::new("decision").required(true).args(["kind", "known"])))]
pub(crate) struct Add {
    /// Name in the store, first digits of its SHA-256 (8 or more), or a certificate file.
    pub(crate) ca: String,
    /// Trust it: what kind of TPM it speaks for.
    #[arg(long, value_enum, requires = "manufacturer")]
    pub(crate) kind: Option<KindName>,
    /// Manufacturer it may speak for, as `IFX` or `id:49465800`; may be repeated.
    #[arg(long, conflicts_with = "known")]
    pub(crate) manufacturer: Vec<String>,
    /// Whether expiry at it or below it refuses.
    #[arg(long, conflicts_with = "known")]
    pub(crate) enforce_expiry: bool,
    /// Known, not trusted: TPMs below it are refused with that reason.
    #[arg(long)]
    pub(crate) known: bool,
    /// Why, for the record.
    #[arg(long)]
    pub(crate) why: String,
    /// SHA-256 of the certificate by another way: must be that of the CA.
    #[arg(long)]
    pub(crate) sha256: Option<String>,
    /// It was refused, and that is over.
    #[arg(long)]
    pub(crate) lift_refusal: bool,
    #[command(flatten)]
    pub(crate) who: Who,
    #[command(flatten)]
    pub(crate) store: StoreFile,
}

/// `ca-cli trust tpm crl …`.
#[derive(Subcommand)]
pub(crate) enum TpmCrlCommand {
    /// Check a CRL against the CAs of the store, and put it where the servers read it; never an older one.
    #[command(after_help = "\
Examples:
  ca-cli trust tpm crl import optiga-ecc-057.crl
  ca-cli trust tpm crl import optiga-ecc-057.crl --dir /etc/holdfast/vendor-crls")]
    Import {
        /// The CRL, PEM or DER.
        from: PathBuf,
        /// Folder that `[trust] crls` of the servers names.
        #[arg(long, default_value = "vendor-crls")]
        dir: PathBuf,
        #[command(flatten)]
        store: StoreFile,
    },
}

/// `ca-cli trust tpm fetch`.
#[cfg(feature = "online")]
#[derive(Args)]
pub(crate) struct Fetch {
    /// EK certificate, or a CA's, PEM or DER.
    pub(crate) certificate: PathBuf,
    /// Host that may be asked, beside those of the TPM makers that are known; may be repeated.
    #[arg(long)]
    pub(crate) host: Vec<String>,
    /// Ask for a host there, HOST=ADDRESS:PORT, as for a mirror of yours; may be repeated.
    #[arg(long)]
    pub(crate) resolve: Vec<String>,
    #[command(flatten)]
    pub(crate) who: Who,
    #[command(flatten)]
    pub(crate) store: StoreFile,
}

/// `ca-cli trust tpm refuse`.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["ca", "certificate_sha256", "key_sha256"])))]
pub(crate) struct Refuse {
    /// Name in the store, first digits of its SHA-256 (8 or more), or a certificate file.
    pub(crate) ca: Option<String>,
    /// SHA-256 of a certificate that is not at hand.
    #[arg(long, requires = "name")]
    pub(crate) certificate_sha256: Option<String>,
    /// SHA-256 of a SubjectPublicKeyInfo: every certificate of that key.
    #[arg(long, requires = "name")]
    pub(crate) key_sha256: Option<String>,
    /// Name for an entry by hash: a-z, 0-9 and -.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Why, for the record.
    #[arg(long)]
    pub(crate) why: String,
    #[command(flatten)]
    pub(crate) who: Who,
    #[command(flatten)]
    pub(crate) store: StoreFile,
}

/// States, as options name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StateName {
    /// An anchor.
    Trusted,
    /// Known, not trusted.
    Known,
    /// Nobody has decided.
    Unknown,
    /// Refused.
    Refused,
}

impl StateName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }
}

/// Kinds of TPM, as options name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KindName {
    /// Chips and firmware TPMs: identities become hardware-verified.
    Hardware,
    /// Virtual TPMs of a hypervisor's operator.
    Virtual,
    /// Software TPMs: refused in production.
    Software,
}

impl From<KindName> for AnchorKind {
    fn from(kind: KindName) -> Self {
        match kind {
            KindName::Hardware => Self::Hardware,
            KindName::Virtual => Self::Virtual,
            KindName::Software => Self::Software,
        }
    }
}
